"""
The keys of the vault: a file of lines `<key id> <base64 of 32 bytes>`, readable by its owner alone.

The first line is the current key, which encrypts new secrets; the others decrypt older ones. Every process sees a
change of the file at its next use. In memory a key exists only as its cipher, which does not print it.
"""

import os
import re
import secrets
import stat
from base64 import b64decode, b64encode
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LINE = re.compile(rb"([a-z0-9]{1,32}) ([A-Za-z0-9+/]{43}=)")
KEY_BYTES = 32
OTHERS = stat.S_IRWXG | stat.S_IRWXO
CLOSED = "The secrets cannot be opened now"

Ciphers = dict[str, AESGCM]  # by key id, the current one first
Seen = tuple[int, int, int, int]  # tells one state of the file from another


class VaultClosed(Exception):
    """The secrets cannot be opened now. The message adds the reason, if there is one."""

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(f"{CLOSED}: {reason}" if reason else CLOSED)


class CannotRetire(Exception):
    """The key cannot be taken out of the ring, or not be forgotten. The message says why."""


class KeyRing:
    """The key file at `path`; with None every use raises VaultClosed. Only one process at a time may change it."""

    def __init__(self, path: Path | str | None) -> None:
        self.path = Path(path) if path is not None else None
        self._read: tuple[Seen, Ciphers] | None = None

    def ids(self) -> list[str]:
        """Return the ids of all keys, the current one first."""
        return list(self._read_ciphers())

    def current(self) -> tuple[str, AESGCM]:
        """Return the id and the cipher of the current key, which encrypts new secrets."""
        return next(iter(self._read_ciphers().items()))

    def cipher(self, key_id: str) -> AESGCM:
        """Return the cipher of this key. Raises VaultClosed when the file does not have it."""
        # A missing key is looked up again in the file: its times may be too coarse to show that it has changed.
        cipher = self._read_ciphers().get(key_id) or self._read_ciphers(anew=True).get(key_id)
        if cipher is None:
            raise VaultClosed(f"key {key_id} is not in {self.path}")
        return cipher

    def create(self) -> bool:
        """Create the file with one new key. Returns False, and changes nothing, when a file is there."""
        return self._write([_new_key()[1]], replace=False)

    def add(self) -> str:
        """Put a new key in front, which makes it the current one, and return its id."""
        key_id, line = _new_key()
        self._write([line, *self._read_lines()])
        return key_id

    def retire(self, key_id: str) -> None:
        """Remove a key for good. Raises CannotRetire for the current key and for one that is not there."""
        ids = self.ids()
        if key_id not in ids:
            raise CannotRetire(f"Key {key_id} is not in {self.path}")
        if key_id == ids[0]:
            raise CannotRetire(f"Key {key_id} is the current one: rotate first")
        self._write([line for line in self._read_lines() if not line.startswith(key_id.encode() + b" ")])

    def _require_path(self) -> Path:
        if self.path is None:
            raise VaultClosed("ROUTINES_KEY_FILE is not set")
        return self.path

    def _read_ciphers(self, *, anew: bool = False) -> Ciphers:
        read = self._read
        try:
            state = _file_state(self._require_path().stat())
            if anew or read is None or read[0] != state:
                read = self._read = state, _parse_keys(self._read_lines())
        except OSError as error:
            raise VaultClosed(f"{self.path} cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise VaultClosed(f"{self.path} {error}") from None
        return read[1]

    def _read_lines(self) -> list[bytes]:
        path = self._require_path()
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ValueError("is not a file")
        if mode & OTHERS:
            raise ValueError(f"is open to others (mode {stat.S_IMODE(mode):04o}): chmod 600 it")
        return [line for line in path.read_bytes().splitlines() if line]

    def _write(self, lines: list[bytes], *, replace: bool = True) -> bool:
        path = self._require_path()
        try:
            return _put(path.resolve(), b"\n".join(lines) + b"\n", replace=replace)
        except OSError as error:
            raise VaultClosed(f"{path} cannot be written ({error.strerror})") from None


def _parse_keys(lines: list[bytes]) -> Ciphers:
    """Return the ciphers of the lines. Raises ValueError, whose message quotes no line, because a line may be a key."""
    ciphers: Ciphers = {}
    for number, line in enumerate(lines, 1):
        match = LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"is malformed: key {number} is not `<key id> <base64 of 32 bytes>`")
        if (key_id := match[1].decode()) in ciphers:
            raise ValueError(f"is malformed: key {key_id} is there twice")
        ciphers[key_id] = AESGCM(b64decode(match[2]))
    if not ciphers:
        raise ValueError("holds no key")
    return ciphers


def _file_state(info: os.stat_result) -> Seen:
    return info.st_mtime_ns, info.st_ino, info.st_size, info.st_mode


def _new_key() -> tuple[str, bytes]:
    key_id = "k" + secrets.token_hex(4)
    return key_id, key_id.encode() + b" " + b64encode(secrets.token_bytes(KEY_BYTES))


def _put(path: Path, content: bytes, *, replace: bool) -> bool:
    """
    Write the whole file or nothing of it, also when the power fails.

    Returns False when a file is there and is not to be replaced.
    """
    if path.exists() and not replace:
        return False
    temporary_path = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(temporary_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            if replace and os.geteuid() == 0:  # when root changes the keys, the file keeps its owner
                os.fchown(file.fileno(), path.stat().st_uid, path.stat().st_gid)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary_path.replace(path)
        else:
            path.hardlink_to(temporary_path)
    except FileExistsError:
        return False
    finally:
        temporary_path.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return True
