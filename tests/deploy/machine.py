"""A machine in a directory: the paths of docs/operate.md below it, a Postgres of its own, stand-ins for what needs an account."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from routines.local.accounts import Account, current_account
from routines.postgres.binaries import copy_wheel, find_binaries, runs
from tests.strangers import NOBODY
from tests.waiting import exists, wait_for

DEBIAN = Path("/usr/lib/postgresql")
PLACES = re.compile(r"(?<![\w.])/(etc|opt|var)/")
INITDB = (
    *("-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync"),
    "--wal-segsize=1",  # in MB: what is copied, archived and packed is smaller
)
SETTINGS = """
port = {port}
listen_addresses = '127.0.0.1'
unix_socket_directories = '{run}'
dynamic_shared_memory_type = mmap
fsync = off
timezone = UTC
"""
ROUTINES = """#!/bin/sh
exec {python} -m routines "$@"
"""
SYSTEMCTL = """#!/bin/sh
exec {python} -m tests.deploy.systemctl {etc}/systemd/system {run} "$@"
"""
RUNUSER = """#!/bin/sh
account=$2; shift 3
test "$account" = postgres || exec "$@"
export PGHOST={run} PGPORT={port} PGUSER=postgres
cd /
exec {switch} "$@"
"""
POSTGRESQL = """#!/bin/sh
exec {switch} {binaries}/pg_ctl --pgdata {var}/lib/postgresql/main --log {run}/postgresql.log --mode fast --wait --silent "$1"
"""
NGINX = """#!/bin/sh
exec {program} -e stderr -c {etc}/nginx/nginx.conf "$@"
"""
NGINX_CONF = """
pid {run}/nginx.pid;
events {{}}
http {{ {temporary} include {etc}/nginx/conf.d/*.conf; }}
"""
GZIP = """#!/bin/sh
exec {gzip} --fast "$@"
"""
NOTHING = "#!/bin/sh\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def postgres_programs(home: Path, account: Account) -> Path:
    """
    The directory of the programs of Postgres: Debian's, else those that come with us.

    The latter are copied below `home` if the account cannot run them in their place.
    """
    for programs in (*sorted(DEBIAN.glob("*/bin")), find_binaries()):
        if (programs / "initdb").exists() and runs(programs, account):
            return programs
    package = programs.parent.parent
    return copy_wheel(package, home, account, lambda _: None) / programs.relative_to(package.parent)


class Machine:
    """`path` and `text` say where things are on it; `run` carries out commands there."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self.root = Path(tempfile.mkdtemp(prefix="routines-machine-", dir="/tmp"))
        self.root.chmod(0o755)
        self.port, self.postgres_port = free_port(), free_port()
        self._account = current_account() if os.geteuid() else NOBODY
        self._switch = "" if self._account.is_ours else f"{shutil.which('runuser')} -u {self._account.name} --"

    def text(self, text: str) -> str:
        """The text with the paths and ports of this machine."""
        text = PLACES.sub(rf"{self.root}/\1/", text)
        text = re.sub(r"-o \w+ -g routines ", "", text)
        return text.replace("127.0.0.1:5432", f"127.0.0.1:{self.postgres_port}").replace("3100", str(self.port))

    def path(self, path: str) -> Path:
        return Path(self.text(path))

    def make(self) -> None:
        for directory in (
            "opt/routines/.venv/bin",
            "etc/systemd/system",
            "var/lib",
            "etc/nginx/conf.d",
            "etc/nginx/snippets",
        ):
            (self.root / directory).mkdir(parents=True)
        for directory in ("etc/prometheus", "etc/ssl/certs", "etc/ssl/private", "var/log/nginx", "bin", "run", "home"):
            (self.root / directory).mkdir(parents=True)
        for path in (self.checkout / "deploy").rglob("*"):
            target = self.root / "opt/routines" / path.relative_to(self.checkout)
            if path.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(self.text(path.read_text()))
        self._make_cluster()
        self._make_stand_ins()

    def _make_cluster(self) -> None:
        home, run = self.root / "var/lib/postgresql", self.root / "run"
        home.mkdir(parents=True)
        for directory in (home, run):
            self._account.owns(directory)
        run.chmod(0o777)
        self._binaries = postgres_programs(home, self._account)
        done = self._account.run(self._binaries / "initdb", "-D", home / "main", *INITDB)
        assert done.returncode == 0, done.stderr
        with (home / "main/postgresql.conf").open("a") as conf:
            conf.write(SETTINGS.format(port=self.postgres_port, run=run))

    def _make_stand_ins(self) -> None:
        names = {
            "python": sys.executable,
            "etc": self.root / "etc",
            "run": self.root / "run",
            "var": self.root / "var",
            "port": self.postgres_port,
            "switch": self._switch,
            "binaries": self._binaries,
            "gzip": shutil.which("gzip"),
            "program": shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin"),
        }
        temporary = "".join(
            f"{kind}_temp_path {self.root}/run/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.root / "etc/nginx/nginx.conf").write_text(NGINX_CONF.format(temporary=temporary, **names))
        scripts = {
            "opt/routines/.venv/bin/routines": ROUTINES,
            "bin/systemctl": SYSTEMCTL,
            "bin/runuser": RUNUSER,
            "run/postgresql.sh": POSTGRESQL,
            "bin/gzip": GZIP,
            "bin/nginx": NGINX if names["program"] else NOTHING,
            **dict.fromkeys(("bin/useradd", "bin/git", "bin/make"), NOTHING),
            **({} if shutil.which("promtool") else {"bin/promtool": NOTHING}),
        }
        for name, text in scripts.items():
            path = self.root / name
            path.write_text(text.format(**names))
            path.chmod(0o755)

    def run(self, script: str, *, account: str = "root") -> str:
        """What the script prints. Fails with everything that it said unless it ends well."""
        shell = ["bash", "-euo", "pipefail", "-c", self.text(script)]
        done = subprocess.run(
            [self.root / "bin/runuser", "-u", account, "--", *shell],
            cwd=self.root / "home",
            env={
                "PATH": f"{self.root}/bin:{self._binaries}:/usr/sbin:/sbin:{os.environ['PATH']}",
                "PYTHONPATH": str(self.checkout),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}{self._last_words()}"
        return done.stdout

    def _last_words(self) -> str:
        return "".join(f"\n{log.name}: {log.read_text()[-1500:]}" for log in (self.root / "run").glob("*.log"))

    def remove(self) -> None:
        for file in (self.root / "run").glob("*.pid"):
            with suppress(ValueError, ProcessLookupError):
                os.kill(pid := int(file.read_text()), signal.SIGTERM)
                wait_for(lambda pid=pid: not exists(pid))
        with suppress(FileNotFoundError):
            pid = int((self.root / "var/lib/postgresql/main/postmaster.pid").read_text().split()[0])
            os.kill(pid, signal.SIGQUIT)
            wait_for(lambda: not exists(pid))
        shutil.rmtree(self.root)
