"""Why a worker does not go on."""

from typing import Any

from routines.commands.terminal import Trouble


class CannotWork(Trouble):
    """Nothing can be done until somebody changes something; the message says what"""

    exit_code = 2


class Refused(Exception):
    """The server said no, for a reason that asking again will not change"""

    def __init__(self, status: int, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.details = details


class Stopped(Exception):
    """We were told to stop while the server was in trouble"""
