"""Lets another account run our code and read its files where it may not enter the path to them (such as /root)."""

import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import routines
from routines.errors import CannotStart
from routines.local.accounts import Account

HANDED = "/proc/self/fd"
PROBE = """
from importlib.util import find_spec
for name in ("routines.errors", "click", "psycopg"):
    open(find_spec(name).origin, "rb").close()
"""


class Reach:
    """
    Translates our paths into paths that the account can use.

    A directory that the account cannot walk to is opened here; the processes of the account inherit the descriptor and
    enter the directory by /proc/self/fd/<number> (on Linux). This bypasses only the directories above it, which stay
    closed: the modes of the directory itself and of everything in it apply as always.
    """

    def __init__(self, account: Account) -> None:
        self.account = account
        self._open: dict[Path, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._open.values():
            os.close(number)
        self._open.clear()

    @property
    def fds(self) -> tuple[int, ...]:
        """The descriptors that a process has to inherit."""
        return tuple(self._open.values())

    def file(self, path: Path) -> Path:
        """Return a path by which the account can read the file. Raises CannotStart when it may not read it."""
        if self.account.is_ours or self.account.can_read(path):
            return path
        handed_path = self._open_for_account(path.parent) / path.name
        if not self.account.can_read(handed_path, self.fds):
            raise CannotStart(
                f"the account {self.account.name}, as which the parts run, cannot read {path}: "
                f"give it that file (chown {self.account.name}), in a directory that it may enter"
            )
        return handed_path

    def program(self) -> tuple[list[str], dict[str, str]]:
        """Return the command and the variables to run `routines` as the account. Raises CannotStart if it cannot."""
        if self.account.is_ours:
            return [sys.executable, "-m", "routines"], {}
        python, base = Path(sys.executable), Path(sys.base_prefix)
        code = list(_code_directories())
        out_of_reach = self.account.unreachable([python, base, *code])
        reachable = {path: self._open_for_account(path) if path in out_of_reach else path for path in (base, *code)}
        # SAFEPATH: no code is loaded from the current directory, in which anybody may be able to write.
        env = {
            "PYTHONPATH": _join_paths(reachable[path] for path in code),
            "PYTHONSAFEPATH": "1",
            "PYTHONNOUSERSITE": "1",
        }
        if python in out_of_reach:
            python = reachable[base] / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
            env |= {"PYTHONHOME": str(reachable[base])}
        if base in out_of_reach:
            env |= {"LD_LIBRARY_PATH": str(reachable[base] / "lib")}
        self._probe_python(python, env)
        return [str(python), "-m", "routines"], {**env, "HOME": "/nonexistent"}

    def _open_for_account(self, directory: Path) -> Path:
        if directory not in self._open:
            self._open[directory] = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return Path(HANDED, str(self._open[directory]))

    def _probe_python(self, python: Path, env: dict[str, str]) -> None:
        variables = [f"{name}={value}" for name, value in env.items()]
        result = self.account.run("/usr/bin/env", *variables, python, "-S", "-c", PROBE, fds=self.fds)
        if result.returncode:
            lines = result.stderr.strip().splitlines()
            raise CannotStart(
                f"the account {self.account.name}, as which the parts run, cannot run the code in "
                f"{Path(routines.__file__).parent.parent} and {sys.prefix} ({lines[-1] if lines else 'it says nothing'}): "
                "let others read both (chmod -R go+rX), or start as an ordinary user"
            )


def _code_directories() -> Iterable[Path]:
    """Return the directories of our code and of the packages it needs, without Python's own library."""
    own = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    own |= {f"{path}/lib-dynload" for path in own}
    paths = [Path(path).absolute() for path in sys.path if path and path not in own and Path(path).is_dir()]
    return dict.fromkeys([*paths, Path(routines.__file__).absolute().parent.parent])


def _join_paths(paths: Iterable[Path]) -> str:
    return os.pathsep.join(map(str, paths))
