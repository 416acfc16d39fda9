"""The web process and the descriptors it may have."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, closing
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from routines.cli import main
from routines.commands import entry
from routines.settings import Settings
from routines.web_server import _room_for_clients
from tests.waiting import exists, wait_for


@pytest.mark.parametrize(
    ("descriptors", "most", "backlog"), [(128, 54, 32), (1024, 758, 128), (65_536, 1_000, 1_024), (70, 1, 32)]
)
def test_connections_leave_descriptors_for_postgres_and_files(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, most: int, backlog: int
):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))

    assert (most, backlog) == _room_for_clients(Settings(database_url="x"))


def test_silent_connections_without_end_keep_nobody_out(settings: Settings):
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = f"ulimit -n 128; exec {sys.executable} -m routines web --port {port}"
    env = {**os.environ, "ROUTINES_DATABASE_URL": settings.database_url}
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(["/bin/sh", "-c", command], env=env, stderr=subprocess.PIPE, text=True) as web:
        try:
            wait_for(lambda: _is_up(url), 60)
            with ExitStack() as stack:
                for _ in range(200):
                    stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), timeout=20)))
                statuses = [httpx.get(f"{url}/api/companies", timeout=20).status_code for _ in range(10)]
        finally:
            web.terminate()
        log = web.stderr.read() if web.stderr else ""

    assert [401] * 10 == statuses
    assert 1 == log.count("too_many_connections")
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert ("started", "stopped") == (events[0], events[-1])


def test_several_workers_share_the_port_are_replaced_and_end_with_their_parent(settings: Settings):
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "routines", "web", "--port", str(port), "--workers", "2"]
    env = {**os.environ, "ROUTINES_DATABASE_URL": settings.database_url, "ROUTINES_TRUSTED_PROXY": "10.0.0.7"}
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as web:
        try:
            wait_for(lambda: _is_up(url), 60)
            old_children = _children_of(web.pid)
            os.kill(old_children[0], signal.SIGKILL)
            statuses = [httpx.get(f"{url}/api/companies", timeout=60).status_code for _ in range(20)]
            wait_for(lambda: len(set(_children_of(web.pid)) - {old_children[0]}) == 2)
            new_children = _children_of(web.pid)
        finally:
            web.terminate()
        lines = [json.loads(line) for line in (web.stderr or [])]

    assert 2 == len(old_children)
    assert [401] * 20 == statuses
    assert "web-1 ended (signal 9)" in [line.get("what") for line in lines]
    assert {version("routines")} == {line["version"] for line in lines if line["event"] == "started"}
    assert {"setting_ignored", "stopped"} <= {line["event"] for line in lines}
    assert (0, []) == (web.returncode, [pid for pid in new_children if exists(pid)])


def test_a_process_that_logs_in_as_the_owner_says_what_that_gives_away(settings: Settings, admin_url: str):
    def events(url: str) -> list[str]:
        with closing(socket.create_server(("127.0.0.1", 0))) as inherited:
            env = {**os.environ, "ROUTINES_DATABASE_URL": url}
            command = [sys.executable, "-m", "routines", "web", "--fd", str(inherited.fileno())]
            with subprocess.Popen(
                command, env=env, stderr=subprocess.PIPE, text=True, pass_fds=[inherited.fileno()]
            ) as web:
                try:
                    wait_for(lambda: _is_up(f"http://127.0.0.1:{inherited.getsockname()[1]}"), 60)
                finally:
                    web.terminate()
                return [json.loads(line)["event"] for line in (web.stderr or [])]

    assert ["started", "login_is_owner", "stopped"] == events(admin_url)
    assert ["started", "stopped"] == events(settings.database_url)


def _children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_workers_with_a_socket_of_somebody_else_are_refused():
    with closing(socket.create_server(("127.0.0.1", 0))) as inherited:
        refused = CliRunner().invoke(main, ["web", "--workers", "2", "--fd", str(inherited.fileno())])

    assert 2 == refused.exit_code
    assert "leave out --fd, or --workers" in refused.stderr


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=1).is_success
    except httpx.HTTPError:
        return False


def test_where_a_web_process_cannot_listen_it_says_why_before_it_begins(settings: Settings):
    env = {"ROUTINES_DATABASE_URL": settings.database_url}
    with closing(socket.create_server(("127.0.0.1", 0))) as occupied_socket:
        port = occupied_socket.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(entry, "begin", lambda _: settings)
            in_use = CliRunner().invoke(main, ["web", "--port", str(port)], env=env)
    no_socket = CliRunner().invoke(main, ["web", "--fd", "987"], env=env)

    assert (1, 2) == (in_use.exit_code, no_socket.exit_code)
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use; end the process" in in_use.stderr
    assert "the parent process has left no socket under this number" in no_socket.stderr
