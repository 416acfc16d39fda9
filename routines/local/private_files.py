"""Files, directories and locks that belong to this account alone, even where others could write before."""

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
    """The process that holds a lock; `is_ours` says that it runs as our account or as root."""

    pid: int
    name: str
    account: str
    is_ours: bool

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name} of {self.account})"


class Locked(CannotStart):
    """Another process holds the lock; `holder` is None when that process cannot be seen from here."""

    def __init__(self, path: Path, holder: LockHolder | None) -> None:
        holder_text = holder or "a process that cannot be seen from here"
        super().__init__(f"{path} is locked by {holder_text}: end that, or take another directory")
        self.holder = holder


def make_own(directory: Path) -> None:
    """Make the directory unless it exists. Raises CannotStart when it belongs to another account or cannot be made."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(f"cannot keep data in {directory}: {error.strerror}; take another directory") from None
    for owner in (directory.stat().st_uid, directory.lstat().st_uid):
        if owner != os.geteuid():
            raise CannotStart(
                f"{directory} belongs to {name_of(owner)}, who could put anything there: take another directory, "
                f"start as {name_of(owner)}, or give the directory with all that is in it to {name_of(os.geteuid())}"
            )


def close_to_others(directory: Path, marker: str) -> None:
    """
    Make our directory private if it is empty or holds the file `marker`, which shows that only we use it.

    A directory that others may at most pass through stays so: Postgres may be running below it, for a system that another
    call has started, and ends when it cannot reach its files. Any directory that is not ours alone has further users, as
    /srv has, and keeps its mode. Raises CannotStart if they may write in it.
    """
    if (directory / marker).exists() or not any(directory.iterdir()):
        if directory.stat().st_mode & OTHERS & ~stat.S_IXGRP:
            directory.chmod(0o700)
    elif directory.stat().st_mode & OTHERS_WRITE:
        raise CannotStart(f"others may write in {directory}: chmod go-w it, or take another directory")


def open_private(path: Path, flags: int) -> int:
    """Open or make a file that only we can use, and return its descriptor. Raises CannotStart for any other file."""
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
def lock_file(path: Path, patience_s: float) -> Iterator[int]:
    """
    Lock the file and yield its descriptor. Raises Locked after `patience_s`, at once if another account holds the lock.

    Other accounts may hold it because whoever can open a file can lock it, and they could before the file was private.
    """
    file = open_private(path, os.O_RDWR)
    try:
        end = time.monotonic() + patience_s
        while not _try_lock(file):
            holder = _find_holder(file)
            if time.monotonic() >= end or (holder is not None and not holder.is_ours):
                raise Locked(path, holder)
            time.sleep(POLL_S)
        yield file
    finally:
        os.close(file)


def hand_over(directory: Path, account: Account) -> None:
    """
    Give the account the directory and all files in it that belong to its owner or to root.

    Works by descriptors and never by paths: a process of the present owner may still change links there.
    """
    owners = {directory.stat().st_uid, 0}
    for _, _, names, parent in os.fwalk(directory):
        for name in names:
            with suppress(OSError):  # the file is a link, or no longer there
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
                try:
                    info = os.fstat(file)
                    if stat.S_ISREG(info.st_mode) and info.st_nlink == 1 and info.st_uid in owners:
                        os.fchown(file, account.uid, account.gid)
                finally:
                    os.close(file)
        if os.fstat(parent).st_uid in owners:
            os.fchown(parent, account.uid, account.gid)


def give_file(path: Path, account: Account) -> None:
    """Give the account a private file of root. Leaves any other file, and one that cannot be given, as it is."""
    with suppress(OSError):
        file = os.open(path.resolve(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            info = os.fstat(file)
            if stat.S_ISREG(info.st_mode) and info.st_nlink == 1 and info.st_uid == 0 and not info.st_mode & OTHERS:
                os.fchown(file, account.uid, account.gid)
        finally:
            os.close(file)


def name_of(uid: int) -> str:
    """Return the name of the account, or `user id N` where it has none."""
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"user id {uid}"


def _try_lock(file: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _find_holder(file: int) -> LockHolder | None:
    """Return the holder by /proc/locks of Linux: `1: FLOCK ADVISORY WRITE <pid> <device>:<inode> 0 EOF`."""
    with suppress(OSError):
        info = os.fstat(file)
        place = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            is_this_file = len(fields) >= FLOCK_FIELDS and fields[FLOCK_FIELDS - 1] == place
            if is_this_file and fields[1] == "FLOCK" and int(fields[4]) > 0:
                process = Path("/proc", fields[4])
                uid = process.stat().st_uid
                name = (process / "comm").read_text().strip()
                return LockHolder(int(fields[4]), name, name_of(uid), uid in (0, os.geteuid()))
    return None
