"""`routines up` as a person runs it: all of it, and whatever may happen to its parts."""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
import pytest
from click.testing import CliRunner

from routines.cli import main
from routines.local.accounts import Account
from tests import waiting
from tests.strangers import NOBODY, as_account
from tests.waiting import exists

LIMIT_S = 60.0
wait_for = partial(waiting.wait_for, limit_s=LIMIT_S)
PARTS = ("web", "scheduler", "projector", "delivery")


class UpProcess:
    """One `routines up` on a data directory."""

    def __init__(self, directory, *options, group=False, port=0):
        self.directory = directory
        argv = [sys.executable, "-m", "routines", "up", "--data-dir", directory, "--port", str(port), *options]
        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0 if group else None
        )
        try:
            self.state = wait_for(lambda: self._is_alive() and self._read())
        except BaseException:  # or it would go on beside the tests that follow
            self.process.kill()
            self.process.communicate()
            raise
        self.client = httpx.Client(base_url=f"{self.state['url']}/api", timeout=10, trust_env=False)
        self.client.headers["Authorization"] = f"Bearer {(directory / 'board.token').read_text().strip()}"

    def _is_alive(self):
        assert self.process.poll() is None, self.process.stdout.read()
        return True

    def _read(self):
        """What up.json says; None while there is none, or one that a killed system left."""
        with suppress(FileNotFoundError):
            state = json.loads((self.directory / "up.json").read_text())
            return state if state["pid"] == self.process.pid else None

    def processes(self):
        """The process id of each part that runs now."""
        return self._read()["processes"]

    def pid(self, part):
        """The part's process; None while it is down."""
        return self.processes().get(part)

    def get(self, path):
        return self.client.get(path).raise_for_status().json()

    def post(self, path, body):
        return self.client.post(path, json=body).raise_for_status().json()

    def routine(self, **fields):
        """The id of a routine of a new company with one agent."""
        company = self.post("/companies", {"name": "Acme"})["id"]
        agent = self.post(f"/companies/{company}/agents", {"name": "Scout"})["id"]
        body = {"title": "Check the inbox", "assigneeAgentId": agent, **fields}
        return self.post(f"/companies/{company}/routines", body)["id"]

    def ended(self, number):
        """What it said, and its exit status, after this signal."""
        self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=LIMIT_S)
        return said, self.process.returncode

    def close(self):
        self.client.close()
        with suppress(subprocess.TimeoutExpired):
            if self.process.poll() is None:
                self.ended(signal.SIGTERM)
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def running_up(tmp_path_factory):
    """One with two web processes, which outlives whatever a test does to its parts."""
    one = UpProcess(tmp_path_factory.mktemp("up"), "--web", "2", group=True)
    yield one
    one.close()
    shutil.rmtree((one.directory / "postgres").resolve())


@pytest.fixture
def start_up(tmp_path):
    started = []

    def start(*options, directory=tmp_path, **kwargs):
        started.append(UpProcess(directory, *options, **kwargs))
        return started[-1]

    yield start
    for one in started:
        one.close()
    if (tmp_path / "postgres").exists():
        shutil.rmtree((tmp_path / "postgres").resolve())


def test_a_killed_part_is_replaced_at_once_and_the_service_goes_on(running_up):
    routine = running_up.routine(concurrencyPolicy="always_enqueue")
    assert 200 == httpx.get(f"{running_up.state['url']}/api/health", trust_env=False).status_code
    assert 0o600 == (running_up.directory / "board.token").stat().st_mode & 0o777
    assert {"web-1", "web-2", *PARTS[1:]} == set(running_up.state["processes"])

    for number, part in enumerate(PARTS[1:], 1):
        kill_part(running_up, part)

        running_up.post(f"/routines/{routine}/run", {})
        wait_for(lambda number=number: number == run_count(running_up, routine))

    assert running_up.process.poll() is None


def kill_part(running_up, part):
    """Return when it has been replaced, and the service answers."""
    before = running_up.pid(part)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: running_up.pid(part) not in (None, before), limit_s=5)
    wait_for(lambda: answers(running_up))


@pytest.mark.skipif(os.geteuid() != 0, reason="root only: nobody else can run parts as another account")
def test_as_root_the_parts_are_not_root_and_may_be_the_service_and_nothing_else(running_up):
    routine, home = running_up.routine(), running_up.directory
    trigger = {"kind": "webhook", "signingMode": "github_hmac"}
    running_up.post(f"/routines/{routine}/triggers", trigger)

    pids = running_up.processes()
    statuses = [dict(LINE.findall(Path(f"/proc/{pid}/status").read_text())) for pid in pids.values()]
    parts = pwd.getpwnam("routines")
    server = int((home / "postgres/data/postmaster.pid").read_text().split()[0])
    assert {parts.pw_uid} == {int(uid) for status in statuses for uid in status["Uid"].split()}
    assert {parts.pw_gid} == {int(gid) for status in statuses for gid in status["Gid"].split()}
    assert {"0" * 16} == {status["CapEff"] for status in statuses}
    assert {"1"} == {status["NoNewPrivs"] for status in statuses}
    assert Path(f"/proc/{server}").stat().st_uid not in (0, 65534, parts.pw_uid)
    keyed = {
        name: {part for part, pid in pids.items() if name in environment_of(pid)}
        for name in (b"ROUTINES_KEY_FILE", b"ROUTINES_LOG_KEY_FILE")
    }
    assert [pids.keys() - {"projector"}, {"projector"}] == list(keyed.values())

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (home, *home.glob("*"), *home.glob("logs/*"))}
    assert {0o600} == {
        mode for name, mode in modes.items() if name.endswith((".json", ".token", ".keys", ".lock", ".log"))
    }
    assert [0o710, 0o700] == [modes[name] for name in (home.name, "logs")]

    as_parts = Account("routines", parts.pw_uid, parts.pw_gid)
    service = running_up.state["database_url"]
    directory = Path(parse_qs(urlsplit(service).query)["host"][0])
    assert (0o710, parts.pw_gid) == (stat.S_IMODE(directory.stat().st_mode), directory.stat().st_gid)
    assert ["done", "InsufficientPrivilege", "InsufficientPrivilege"] == as_account(
        as_parts,
        outcomes,
        [
            (service, "SELECT count(*) FROM log.events"),
            (service, "COPY (SELECT 1) TO PROGRAM 'id'"),
            (service, "UPDATE log.events SET name = 'x'"),
        ],
    )
    for account, roles in (
        (as_parts, ("postgres", "routines_owner", "routines_auditor")),
        (NOBODY, ("postgres", "routines_service")),
    ):
        logins = [(service.replace("routines_service", role), "SELECT 1") for role in roles]
        assert {"OperationalError"} == set(as_account(account, outcomes, logins))

    env = {"ROUTINES_DATABASE_URL": service, "ROUTINES_KEY_FILE": running_up.state["key_file"]}
    assert 0 == CliRunner(env=env).invoke(main, ["secrets", "rotate-key"]).exit_code
    assert parts.pw_uid == (home / "secret.keys").stat().st_uid
    running_up.post(f"/routines/{routine}/triggers", trigger)
    assert '"position":1' in CliRunner(env=env).invoke(main, ["log", "--limit", "1"]).stdout


LINE = re.compile(r"^(\w+):\s*(.*)$", re.MULTILINE)


def low_port():
    """A free one that only root may listen on; any free one, for somebody else."""
    if os.geteuid():
        return 0
    for port in range(700, 1024):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("all are taken")


def environment_of(pid):
    return Path(f"/proc/{pid}/environ").read_bytes()


def outcomes(statements):
    """What comes of each statement, over a connection of its own to its URL."""
    return [outcome(url, statement) for url, statement in statements]


def outcome(url, statement):
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)
    except psycopg.Error as error:
        return type(error).__name__
    return "done"


def answers(running_up):
    with suppress(httpx.HTTPError):
        return running_up.client.get("/health").is_success


def run_count(running_up, routine):
    """None while the read model is behind."""
    answer = running_up.client.get(f"/routines/{routine}/runs")
    return len(answer.json()) if answer.is_success else None


def test_several_web_processes_share_the_port_and_a_killed_one_is_replaced_without_a_lost_connection(running_up):
    both = {running_up.pid("web-1"), running_up.pid("web-2")}

    assert 2 == len(both)
    wait_for(lambda: both <= {answering(running_up) for _ in range(20)})
    os.kill(running_up.pid("web-1"), signal.SIGKILL)

    assert {200} == {health_status(running_up) for _ in range(40)}
    wait_for(lambda: running_up.pid("web-1") not in (None, *both))
    again = {running_up.pid("web-1"), running_up.pid("web-2")}
    wait_for(lambda: again <= {answering(running_up) for _ in range(20)})


def health_status(running_up):
    """The status of a call over a connection of its own."""
    return httpx.get(f"{running_up.state['url']}/api/health", trust_env=False, timeout=LIMIT_S).status_code


def answering(running_up):
    """The web process that answers a new connection: the one that has its other end."""
    url = urlsplit(running_up.state["url"])
    with socket.create_connection((url.hostname, url.port)) as connection:
        connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: here\r\n\r\n")
        assert connection.recv(64).startswith(b"HTTP/1.1 200")
        ends = (f":{url.port:04X}", f":{connection.getsockname()[1]:04X}")  # theirs is the local one there
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        # There may be several: a closed connection between the same ports is still listed, but is nobody's file.
        sockets = {f"socket:[{fields[9]}]" for fields in lines if ends == (fields[1][-5:], fields[2][-5:])}
        return next(pid for part in ("web-1", "web-2") if sockets & files(pid := running_up.pid(part)))


def files(pid):
    """What the descriptors of a process lead to; one that is closed meanwhile leads only to itself."""
    return {entry.resolve().name for entry in Path(f"/proc/{pid}/fd").iterdir()} if pid else set()


def test_a_killed_postgres_comes_back_and_nothing_that_was_accepted_is_lost(running_up):
    routine = running_up.routine(concurrencyPolicy="always_enqueue")
    running_up.post(f"/routines/{routine}/run", {})
    server = int((running_up.directory / "postgres/data/postmaster.pid").read_text().split()[0])

    os.kill(server, signal.SIGKILL)

    wait_for(lambda: not exists(server))
    wait_for(lambda: running_up.client.post(f"/routines/{routine}/run", json={}).is_success)
    wait_for(lambda: run_count(running_up, routine) == 2)


def test_ctrl_c_stops_everything_and_neither_it_nor_a_kill_is_in_the_way_of_the_next_start(running_up, start_up):
    """The last test of the one that outlives the others."""
    routine, directory = running_up.routine(), running_up.directory
    pids = running_up.processes().values()
    token = (directory / "board.token").read_text().strip()
    server = int((directory / "postgres/data/postmaster.pid").read_text().split()[0])

    said, status = running_up.ended(signal.SIGINT)

    assert 0 == status
    assert token in said
    assert said.endswith("stopped\n")
    assert not (directory / "up.json").exists()
    assert [False] * 6 == [exists(pid) for pid in (*pids, server)]

    second = start_up(directory=directory)
    assert "Check the inbox" == second.get(f"/routines/{routine}")["title"]
    pids = second.processes().values()
    said, _ = second.ended(signal.SIGKILL)
    assert token not in said
    assert "board token" not in said
    wait_for(lambda: not any(exists(pid) for pid in pids))

    third = start_up(directory=directory, port=(port := low_port()))
    assert port in (0, urlsplit(third.state["url"]).port)
    assert set(PARTS) == set(third.state["processes"])
    kill_part(third, "web")  # the only one
    assert "Check the inbox" == third.get(f"/routines/{routine}")["title"]
    assert 0 == third.ended(signal.SIGINT)[1]
