"""The errors that end a worker, or its work on one issue or trajectory."""

import errno
from typing import Any

from routines.commands.terminal import CommandError

# Errors of this machine that pass: no room, too many files or processes, no memory.
PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM}


class CannotWork(CommandError):
    """The worker cannot go on until somebody changes something; the message says what."""

    exit_code = 2


class RequestRefused(Exception):
    """The server refused a request for a reason that a repetition would not change."""

    def __init__(self, status: int, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.details = details


class MachineNotReady(Exception):
    """The machine of the worker cannot do the work at the moment; the message says why. A later try may succeed."""


class Stopped(Exception):
    """The worker was told to stop while it waited for a server or its own machine."""
