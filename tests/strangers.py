"""Other accounts of this machine, and what they try; for tests that run as root."""

import fcntl
import json
import os
import signal
from contextlib import contextmanager

from routines.local.accounts import Account

NOBODY = Account("nobody", 65534, 65534)
STRANGER = Account("daemon", 1, 1)  # Debian and most others have these two
PARTS = Account("bin", 2, 2)


def as_account(account, function, *arguments):
    """What the function returns when a process of this account calls it: anything that JSON can hold."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become(account)
            os.write(writing, json.dumps(function(*arguments)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    return json.loads(said)


@contextmanager
def holding_lock(account, path):
    """A process of this account that has locked the file, which it can only read; its id."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become(account)
            fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX)
            os.write(writing, b"locked")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert "locked" == answer.read(6)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def become(account):
    os.setgroups([])
    os.setgid(account.gid)
    os.setuid(account.uid)
