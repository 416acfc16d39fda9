"""What the machine does to a system that starts on it."""

import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path


def refuse(error):
    def call(*_, **__):
        raise error

    return call


@contextmanager
def open_to_others(directory):
    """Nobody is kept out by the directories above, which pytest has closed."""
    above = [path for path in directory.parents if Path(tempfile.gettempdir()) in path.parents]
    modes = [stat.S_IMODE(path.stat().st_mode) for path in above]
    for path in above:
        path.chmod(0o755)
    try:
        yield
    finally:
        for path, mode in zip(above, modes, strict=True):
            path.chmod(mode)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)
