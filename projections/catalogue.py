"""All read models, for the projector, rebuilds and health."""

from projections.directory import directory
from projections.issues import issues
from projections.routines import routines
from projections.run_history import run_history
from projections.triggers_due import triggers_due

ALL = (directory, issues, routines, run_history, triggers_due)
