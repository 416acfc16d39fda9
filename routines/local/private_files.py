"""Files, directories and locks that are ours alone, whoever was there before us."""

import fcntl
import os
import pwd
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from routines.errors import CannotStart
from routines.local.accounts import Account

OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
FLOCK_FIELDS = 6
POLL_S = 0.02


class LockHolder(msgspec.Struct, frozen=True):
    """The process that has a lock."""

    pid: int
    name: str
    account: str
    is_ours: bool

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name} of {self.account})"


class Locked(CannotStart):
    """Somebody else has the lock; `holder` is None when nobody can say who"""

    def __init__(self, path: Path, holder: LockHolder | None) -> None:
        who = holder or "a process that cannot be seen from here"
        super().__init__(f"{path} is locked by {who}: end that, or take another directory")
        self.holder = holder


def make_own(directory: Path) -> None:
    """Make the directory, or refuse one that is somebody else's."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(f"cannot keep data in {directory}: {error.strerror}") from None
    for owner in (directory.stat().st_uid, directory.lstat().st_uid):
        if owner != os.geteuid():
            raise CannotStart(
                f"{directory} belongs to {name_of(owner)}, who could put anything there: take another directory, "
                f"start as {name_of(owner)}, or give the directory with all that is in it to {name_of(os.geteuid())}"
            )


def close_to_others(directory: Path, marker: str) -> None:
    """
    Make a directory of ours private, unless it holds something else than ours (it is not empty and has no `marker`).

    Such a directory has other users, as /srv does; it is refused where they may write.
    """
    if (directory / marker).exists() or not any(directory.iterdir()):
        directory.chmod(0o700)
    elif directory.stat().st_mode & OTHERS_WRITE:
        raise CannotStart(f"others may write in {directory}: take another directory")


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a file that only we can read and write, made where there is none; refuses any other file."""
    try:
        file = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(f"cannot open {path}: {error.strerror}") from None
    info = os.fstat(file)
    if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1 or info.st_uid != os.geteuid():
        os.close(file)
        raise CannotStart(f"{path} is in the way: it is not a file of {name_of(os.geteuid())} alone; remove it")
    os.fchmod(file, 0o600)
    return file


@contextmanager
def locked(path: Path, patience_s: float) -> Iterator[int]:
    """
    The lock file while we alone hold it. Raises Locked after so many seconds, at once if a stranger holds it.

    Whoever can open a file can lock it: until the file was closed to them, strangers could.
    """
    file = open_private(path, os.O_RDWR)
    try:
        end = time.monotonic() + patience_s
        while not _try_lock(file):
            holder = _holder(file)
            if time.monotonic() >= end or (holder is not None and not holder.is_ours):
                raise Locked(path, holder)
            time.sleep(POLL_S)
        yield file
    finally:
        os.close(file)


def hand_over(directory: Path, account: Account) -> None:
    """
    Give the directory and all files in it that belong to its owner, or to root, to the account.

    By descriptors, never by paths: the owner so far may still be at work there, and must not lead us elsewhere.
    """
    owners = {directory.stat().st_uid, 0}
    for _, _, names, at in os.fwalk(directory):
        for name in names:
            with suppress(OSError):  # a link, or gone meanwhile
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
                try:
                    info = os.fstat(file)
                    if stat.S_ISREG(info.st_mode) and info.st_nlink == 1 and info.st_uid in owners:
                        os.fchown(file, account.uid, account.gid)
                finally:
                    os.close(file)
        if os.fstat(at).st_uid in owners:
            os.fchown(at, account.uid, account.gid)


def give_file(path: Path, account: Account) -> None:
    """Give a private file of root's to the account; any other, and one that cannot be given, stays as it is."""
    with suppress(OSError):
        file = os.open(path.resolve(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            info = os.fstat(file)
            if stat.S_ISREG(info.st_mode) and info.st_nlink == 1 and info.st_uid == 0 and not info.st_mode & OTHERS:
                os.fchown(file, account.uid, account.gid)
        finally:
            os.close(file)


def name_of(uid: int) -> str:
    """What an account is called."""
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"user id {uid}"


def _try_lock(file: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _holder(file: int) -> LockHolder | None:
    """Whom Linux names for the lock in /proc/locks: `1: FLOCK ADVISORY WRITE <pid> <device>:<inode> 0 EOF`."""
    with suppress(OSError):
        info = os.fstat(file)
        place = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            of_file = len(fields) >= FLOCK_FIELDS and fields[FLOCK_FIELDS - 1] == place
            if of_file and fields[1] == "FLOCK" and int(fields[4]) > 0:
                process = Path("/proc", fields[4])
                uid = process.stat().st_uid
                name = (process / "comm").read_text().strip()
                return LockHolder(int(fields[4]), name, name_of(uid), uid in (0, os.geteuid()))
    return None
