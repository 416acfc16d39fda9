"""
The key that signs checkpoints: a file of one line, readable by its owner alone, as Go's sumdb writes private keys.

`PRIVATE+KEY+<name>+<id>+<base64 of 1 and 32 bytes>`. The name is that of the log: its checkpoints begin with it. A log
that has lost what was signed gets another name, and with it another key.
"""

import os
import re
import secrets
import stat
from base64 import b64decode, b64encode
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.proof.checkpoints import ED25519, ORIGIN, Head, checkpoint_text, key_id, note_of, verifier_key

LINE = re.compile(r"PRIVATE\+KEY\+([\w./-]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})\n?", re.ASCII)
MOST_NAME = 200  # characters
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class CannotSign(Exception):
    """Nothing can be signed, or must not be. The message says why, and what to do."""


class LogKey:
    """A key and its name. It never prints the key."""

    def __init__(self, name: str, private_key: Ed25519PrivateKey) -> None:
        self.name = name
        self._private_key = private_key
        self._public_bytes = private_key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"LogKey({self.name})"

    def verifier_key(self, origin: str) -> str:
        """Return the text that verifiers of this origin need."""
        return verifier_key(origin, self._public_bytes)

    def sign(self, origin: str, head: Head) -> str:
        """Return the checkpoint of a tree, signed. It is the same text each time."""
        text = checkpoint_text(origin, head)
        return note_of(text, origin, self._public_bytes, self._private_key.sign(text.encode()))


def read(path: Path) -> LogKey:
    """Return the key of a file. Raises CannotSign, whose message quotes nothing of the file."""
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii")
    except FileNotFoundError:
        raise CannotSign(f"{path} is not there: put the key back, or make another: `routines audit new-key`") from None
    except (OSError, UnicodeError) as error:
        raise CannotSign(f"{path} cannot be read ({getattr(error, 'strerror', 'it is no text')})") from None
    if mode & OTHERS:
        raise CannotSign(f"{path} is open to others (mode {stat.S_IMODE(mode):04o}): chmod 600 it")
    match = LINE.fullmatch(text)
    seed = b64decode(match[3]) if match else b""
    if match is None or seed[:1] != ED25519:
        raise CannotSign(f"{path} is not a key as `routines audit new-key` writes it")
    private_key = Ed25519PrivateKey.from_private_bytes(seed[1:])
    if key_id(match[1], private_key.public_key().public_bytes_raw()).hex() != match[2]:
        raise CannotSign(f"{path} is damaged: its key is not the one that it names")
    return LogKey(match[1], private_key)


def new_name() -> str:
    """Return a name that no other log has."""
    return f"routines-log/{secrets.token_hex(8)}"


def is_name(text: str) -> bool:
    """
    Return whether a log may have this name: parts of letters, digits, dots, dashes and underlines, between slashes.

    None is `companies`: what follows that is the name of a company's part of a log. None is dots alone: the files of its
    checkpoints lie below a directory of its name.
    """
    parts = text.split("/")
    return (
        len(text) <= MOST_NAME
        and ORIGIN.fullmatch(text) is not None
        and "companies" not in parts
        and all(part.strip(".") for part in parts)
    )


def create(path: Path, name: str) -> bool:
    """Make a new key in a file. Returns False, and changes nothing, when the file is there. Raises OSError."""
    private_key = Ed25519PrivateKey.generate()
    number = key_id(name, private_key.public_key().public_bytes_raw()).hex()
    line = f"PRIVATE+KEY+{name}+{number}+{b64encode(ED25519 + private_key.private_bytes_raw()).decode()}\n"
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(file, "w") as key_file:
        key_file.write(line)
        key_file.flush()
        os.fsync(key_file.fileno())
    return True
