"""
Stands in for `systemctl` where no systemd runs: starts and stops what the units below a directory say.

    python systemctl.py UNITS RUNNING start|stop|restart|enable|reload|daemon-reload [--now] NAME...

It knows what our units use: templates, drop-ins, targets with Wants, EnvironmentFile, Environment, UnsetEnvironment and ExecStart. Of the sandbox it
knows NoNewPrivileges and MemoryDenyWriteExecute, which a process may ask of the kernel for itself. The services of others
are programs in RUNNING: `postgresql.sh start`.
"""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from configparser import RawConfigParser
from contextlib import suppress
from pathlib import Path

from tests.waiting import exists, wait_for

NO_NEW_PRIVILEGES, REFUSE_EXECUTABLE_MEMORY = (38, 1), (65, 1)


class Unit(RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr  # capitals matter


class Units:
    def __init__(self, directory: Path, running: Path) -> None:
        self.directory, self.running = directory, running

    def start(self, name: str) -> None:
        if (script := self.running / f"{name}.sh").exists():
            subprocess.run([script, "start"], check=True)
        elif name.endswith(".target"):
            for wanted in self._read_unit(name)["Unit"]["Wants"].split():
                self.start(wanted.removesuffix(".service"))
        elif not self._read_pid(name):
            self._launch_unit(name, self._read_unit(f"{name}.service")["Service"])

    def stop(self, name: str) -> None:
        if (script := self.running / f"{name}.sh").exists():
            subprocess.run([script, "stop"], check=True)
        else:
            wanted = self._read_unit(name)["Unit"]["Wants"].split() if name.endswith(".target") else [name]
            names = [unit.removesuffix(".service") for unit in wanted]
            pids = [pid for unit in names if (pid := self._read_pid(unit))]
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
            for pid in pids:
                wait_for(lambda pid=pid: not exists(pid), limit_s=30)

    def _launch_unit(self, name: str, service: Mapping[str, str]) -> None:
        instance = name.partition("@")[2]
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ["PYTHONPATH"]}
        env |= _read_variables(Path(service["EnvironmentFile"]))
        name_and_value = service.get("Environment", "").partition("=")
        env |= {name_and_value[0]: name_and_value[2]} if name_and_value[0] else {}
        env.pop(service.get("UnsetEnvironment", ""), None)
        argv = shlex.split(service["ExecStart"].replace("%i", instance))
        hardening = _parse_unit(self.directory / "routines-.service.d/hardening.conf")["Service"]
        with (self.running / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                argv,
                env=env,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: _restrict_process(hardening),  # noqa: PLW1509 there is no other thread
            )
        (self.running / f"{name}.pid").write_text(str(process.pid))

    def _read_pid(self, name: str) -> int | None:
        with suppress(FileNotFoundError):
            pid = int((self.running / f"{name}.pid").read_text())
            return pid if exists(pid) else None
        return None

    def _read_unit(self, name: str) -> Unit:
        path = self.directory / name
        if not path.exists():
            template, _, rest = name.partition("@")
            path = self.directory / f"{template}@{Path(rest).suffix}"
        return _parse_unit(path, *sorted((self.directory / f"{name}.d").glob("*.conf")))


def _parse_unit(*paths: Path) -> Unit:
    unit = Unit(strict=False, delimiters="=", comment_prefixes="#")
    unit.read(paths)
    return unit


def _read_variables(path: Path) -> dict[str, str]:
    lines = [line.partition("=") for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name: value.strip('"') for name, _, value in lines}


def _restrict_process(hardening: Mapping[str, str]) -> None:
    prctl = ctypes.CDLL(None).prctl
    for setting, arguments in (
        ("NoNewPrivileges", NO_NEW_PRIVILEGES),
        ("MemoryDenyWriteExecute", REFUSE_EXECUTABLE_MEMORY),
    ):
        if hardening[setting] == "yes":
            prctl(*map(ctypes.c_ulong, (*arguments, 0, 0, 0)))  # an older kernel does not know the second


def main() -> None:
    directory, running, *words = sys.argv[1:]
    verb, *names = [word for word in words if word != "--now"]
    units = Units(Path(directory), Path(running))
    if verb in ("stop", "restart"):
        for name in names:
            units.stop(name)
    if verb in ("start", "restart", "enable"):
        for name in reversed(
            names
        ):  # systemd orders them by After=: postgresql, which the page names last, comes first
            units.start(name)


if __name__ == "__main__":
    main()
