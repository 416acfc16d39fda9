"""The errors that end a worker, or its work on one issue or trajectory."""

from typing import Any

from routines.commands.terminal import Trouble


class CannotWork(Trouble):
    """The worker cannot go on until somebody changes something; the message says what."""

    exit_code = 2


class Refused(Exception):
    """The server refused a request for a reason that a repetition would not change."""

    def __init__(self, status: int, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.details = details


class Stopped(Exception):
    """The worker was told to stop while it waited for a server in trouble."""
