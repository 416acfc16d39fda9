"""The accounts of this machine as which Postgres and the parts run when root starts them."""

import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from routines.errors import CannotStart

PARTS = ("routines",)
CLUSTER = ("routines-db", "postgres")
USERADD = ("--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin")
OTHER_SERVER = "set ROUTINES_DATABASE_URL to a server that runs"
NOBODY = 65534
UNREACHABLE = 'for path; do test -r "$path" -a -x "$path" || printf "%s\\n" "$path"; done'
REPLACE = 'set -e; umask 077; while test $# -gt 0; do printf %s "$2" >"$1.new"; mv -f "$1.new" "$1"; shift 2; done'
KEPT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")


class Account(msgspec.Struct, frozen=True):
    """An account of this machine: the one of this process, or one that root can change to."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()  # further groups of what runs as this account

    def run(self, *argv: str | Path, fds: Collection[int] = ()) -> subprocess.CompletedProcess[str]:
        """Run the command as this account and return its output and exit status."""
        return subprocess.run(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=environment(),
            pass_fds=fds,
            **self.switch,
        )

    def owns(self, path: Path) -> None:
        """Make the account the owner of one file or directory."""
        os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_use(self, directory: Path) -> bool:
        """Return whether the account can reach the directory and write in it."""
        if self.is_ours:
            return os.access(directory, os.W_OK | os.X_OK)
        return self.run("/usr/bin/test", "-w", directory, "-a", "-x", directory).returncode == 0

    def can_read(self, file: Path, fds: Collection[int] = ()) -> bool:
        """Return whether the account can read the file."""
        return self.run("/usr/bin/test", "-r", file, fds=fds).returncode == 0

    def unreachable(self, paths: Collection[Path]) -> list[Path]:
        """Return those of the directories and programs that the account cannot enter or run."""
        output = self.run("/bin/sh", "-c", UNREACHABLE, "sh", *paths).stdout
        return [Path(line) for line in output.splitlines()]

    def write(self, texts: Mapping[Path, str]) -> None:
        """
        Replace short files in directories of the account, as the account. Raises CannotStart.

        Root must not write there itself: the account could have put a link to another file in the place of one. The texts
        are arguments of a shell for a moment, where everybody may read them.
        """
        result = self.run("/bin/sh", "-c", REPLACE, "sh", *(word for pair in texts.items() for word in pair))
        if result.returncode:
            raise CannotStart(f"{self.name} cannot write {', '.join(map(str, texts))}: {result.stderr.strip()}")

    @property
    def is_ours(self) -> bool:
        """Whether this process runs as this account."""
        return self.uid == os.geteuid()

    @property
    def switch(self) -> dict[str, Any]:
        """The arguments that make subprocess change to this account."""
        return {} if self.is_ours else {"user": self.uid, "group": self.gid, "extra_groups": list(self.groups)}


def current_account() -> Account:
    """Return the account of this process. Where its user id has no name here, the number stands for it."""
    uid = os.geteuid()
    with suppress(KeyError):
        return _account_of(pwd.getpwuid(uid))
    return Account(str(uid), uid, os.getegid())


def of_parts(say: Callable[[str], None]) -> Account:
    """Return the account of web, scheduler, projector and delivery: ours or, where we are root, one of their own."""
    return current_account() if os.geteuid() else _found_or_made(PARTS, say)


def of_cluster(home: Path, parts: Account | None, say: Callable[[str], None]) -> Account:
    """
    Return the account that owns the cluster and runs its server: ours or, where we are root, one that only does this.

    The owner of an existing cluster stays its owner, unless that is root, `nobody`, or the account of the parts. Raises
    CannotStart when our user id has no name, since Postgres knows by names who logs in.
    """
    if current_account().name == str(os.geteuid()):
        raise CannotStart(
            f"the user id {os.geteuid()} has no name here, by which Postgres could know it: "
            f"give it a line in /etc/passwd, or {OTHER_SERVER}"
        )
    if os.geteuid():
        return current_account()
    groups = (parts.gid,) if parts is not None else ()
    with suppress(FileNotFoundError):
        owner = home.stat()
        if owner.st_uid not in {0, *_uids_of_nobody(), *([parts.uid] if parts is not None else [])}:
            return Account(str(owner.st_uid), owner.st_uid, owner.st_gid, groups)
    account = _found_or_made(CLUSTER, say)
    if parts is not None and account.uid == parts.uid:
        raise CannotStart(f"{account.name} and {parts.name} are one account: Postgres and the parts need one each")
    return Account(account.name, account.uid, account.gid, groups)


def environment() -> dict[str, str]:
    """Return what a server, initdb or a shell needs of our environment, and nothing that changes what it does."""
    return {name: os.environ[name] for name in KEPT if name in os.environ} | {"LC_ALL": "C"}


def _found_or_made(names: tuple[str, ...], say: Callable[[str], None]) -> Account:
    for name in names:
        with suppress(KeyError):
            return _require_usable(pwd.getpwnam(name))
    _make_account(names[0])
    say(f"made the system account {names[0]}, which has no password and no home")
    return _require_usable(pwd.getpwnam(names[0]))


def _require_usable(entry: pwd.struct_passwd) -> Account:
    if entry.pw_uid in {0, *_uids_of_nobody()}:
        raise CannotStart(f"the account {entry.pw_name} has the user id {entry.pw_uid}: it needs one of its own")
    return _account_of(entry)


def _make_account(name: str) -> None:
    """Make a system account, as packages of Postgres and of other services do at their installation."""
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    command = ["useradd", *USERADD, *(["--gid", name] if _has_group(name) else ["--user-group"]), name]
    reason = "there is no useradd here to make it with"
    if program is not None:
        result = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
        reason = result.stderr.strip()
    with suppress(KeyError):
        pwd.getpwnam(name)
        return
    raise CannotStart(
        f"root runs neither Postgres nor the parts, and the account {name} is missing ({reason}). Make it "
        f"(`{' '.join(command)}`), or start as an ordinary user{f', or {OTHER_SERVER}' if name in CLUSTER else ''}"
    )


def _has_group(name: str) -> bool:
    with suppress(KeyError):
        grp.getgrnam(name)
        return True
    return False


def _uids_of_nobody() -> set[int]:
    with suppress(KeyError):
        return {NOBODY, pwd.getpwnam("nobody").pw_uid}
    return {NOBODY}


def _account_of(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
