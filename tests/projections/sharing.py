"""Tests that leave their database as it was have the same one."""

from typing import NamedTuple

import pytest

from projections.engine.table import Connection
from routines.bootstrap import System

SHARED = pytest.mark.usefixtures("shared")


class Shared(NamedTuple):
    """A database that tests share, with what they reach it by."""

    admin_url: str
    system: System
    conn: Connection
