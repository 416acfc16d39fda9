"""
What this key has signed last, in a file beside it and not in the database.

Whoever sets the database back, or exchanges it, cannot set this back as well. So a log that has lost or changed what was
signed is noticed before another history is signed under the same name.
"""

import fcntl
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from application.proof import log_key
from application.proof.log_key import CannotSign
from domain.proof.checkpoints import Head

# Two lines of this form, which are written in turns: a crash in the midst of one leaves the other.
LINE = re.compile(rb"(\d{19}) ([A-Za-z0-9+/]{43}=) ([0-9a-f]{16})\n")
LINE_BYTES = 19 + 1 + 44 + 1 + 16 + 1
MODE = 0o600


class SignedHeads:
    """The file of the last signed head, locked: one process at a time signs with a key."""

    def __init__(self, path: Path, file: int) -> None:
        self._path, self._file = path, file

    def last(self) -> Head | None:
        """Return the last signed head; None if nothing was signed yet. Raises CannotSign."""
        content = os.pread(self._file, 2 * LINE_BYTES + 1, 0)
        heads = [head for head in map(_parse_head, (content[:LINE_BYTES], content[LINE_BYTES:])) if head is not None]
        if content and not heads:
            raise CannotSign(f"{self._path} is damaged: it does not say what was signed last. {WAY_OUT}")
        return max(heads, key=lambda head: head.size, default=None)

    def note(self, head: Head) -> None:
        """Note on the disk that this head is about to be signed."""
        content = os.pread(self._file, 2 * LINE_BYTES, 0)
        first = _parse_head(content[:LINE_BYTES])
        second = _parse_head(content[LINE_BYTES:])
        is_first_newer = first is not None and (second is None or first.size >= second.size)
        line = b"%019d %b" % (head.size, b64encode(head.root))
        line += b" " + sha256(line).hexdigest()[:16].encode() + b"\n"
        os.pwrite(self._file, line, LINE_BYTES if is_first_newer else 0)
        os.fsync(self._file)


WAY_OUT = (
    "Nothing more is signed under this name, because nobody could tell which history is the true one. Put the true "
    "database back; or, if what is lost is lost for good (a restored backup), begin a new name: `routines audit new-key`"
)


def path_beside(key_file: Path) -> Path:
    """Return the file that says what the key of a file has signed last."""
    return key_file.with_name(key_file.name + ".signed")


def create(key_file: Path) -> None:
    """Make the file, empty, unless it is there. Raises OSError."""
    os.close(os.open(path_beside(key_file), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, MODE))


@contextmanager
def open_heads(key_file: Path) -> Iterator[SignedHeads]:
    """Yield what the key of a file has signed last, and keep others from signing meanwhile. Raises CannotSign."""
    path = path_beside(key_file)
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        log_key.read(key_file)  # where the key is missing as well, or cannot be read, that is what to say
        raise CannotSign(
            f"{path} is not there, so it is not known what was signed last. Put it back; or, if it is lost, begin a new "
            "name: `routines audit new-key`"
        ) from None
    except OSError as error:
        raise CannotSign(f"{path} cannot be opened for writing ({error.strerror})") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield SignedHeads(path, file)
    finally:
        os.close(file)


def _parse_head(line: bytes) -> Head | None:
    match = LINE.fullmatch(line)
    if match is None or sha256(line[: LINE_BYTES - 18]).hexdigest()[:16].encode() != match[3]:
        return None
    return Head(size=int(match[1]), root=b64decode(match[2]))
