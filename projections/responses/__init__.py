"""The JSON objects that clients read (contract 2 to 7), a module per subject. Whoever answers with them imports them from here."""

from projections.responses.board import *
from projections.responses.body import *
from projections.responses.issues import *
from projections.responses.keys import *
from projections.responses.routines import *
from projections.responses.runs import *
from projections.responses.triggers import *
