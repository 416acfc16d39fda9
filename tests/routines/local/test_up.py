"""`routines up`: it brings a whole system up, announces it, keeps it up and stops it."""

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import Any

import pytest

from routines.errors import CannotStart
from routines.local import listening
from routines.local import up as up_module
from routines.local.data_directory import DataDirectory
from routines.local.listening import free_port, url_of
from routines.local.up import Options, System, up
from routines.local.web_client import WebAnswer, WebClient
from routines.local.web_processes import names_and_sockets
from routines.postgres.cluster import LocalPostgres
from tests.routines.local.machine import refuse
from tests.waiting import exists, wait_for

LIMIT_S = 20.0
SERVE = """
import sys
from pathlib import Path
from routines.local import up
web = '''
from http.server import BaseHTTPRequestHandler, HTTPServer
class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()
HTTPServer(("127.0.0.1", PORT), Health).serve_forever()
'''
rest = "import time; time.sleep(600)"
up.System.parts = lambda self, url: [
    up.Part(name, [sys.executable, "-c", code], {"ROUTINES_DATABASE_URL": url})
    for name, code in (("web", web.replace("PORT", str(self.options.port))), ("scheduler", rest))
]
url = sys.argv[2] if len(sys.argv) > 2 else None
sys.exit(up.up(up.Options(data_dir=Path(sys.argv[1]), port=0, database_url=url), lambda url: "a-token"))
"""


def test_a_state_that_cannot_be_written_is_written_when_there_is_room(tmp_path, monkeypatch, capsys):
    system = System(Options(data_dir=tmp_path))
    system.ready = True
    with monkeypatch.context() as patch:
        patch.setattr(DataDirectory, "write", refuse(OSError(errno.ENOSPC, "No space left on device")))
        system._write_state({"web": 1}, "postgresql://here")
        system._write_state({"web": 2}, "postgresql://here")

    assert system.state_failure.is_open
    system._write_state({"web": 3}, "postgresql://here")

    assert {"web": 3} == state(tmp_path)["processes"]
    assert not system.state_failure.is_open
    output = capsys.readouterr().out
    assert 1 == output.count("up.json cannot be written (No space left on device); it is tried again")
    assert "up.json is up to date again" in output


def test_a_postgres_that_cannot_be_started_is_tried_again_and_the_parts_go_on(tmp_path, monkeypatch, capsys):
    class Stopped:
        is_alive = False

        def alive(self):
            return self.is_alive

        def start(self):
            if is_full:
                raise CannotStart("Postgres ended at its start: no space left on device")
            self.is_alive = True

    monkeypatch.setattr(up_module, "RETRY_S", 0.0)
    system: Any = System(Options(data_dir=tmp_path))
    system.postgres, is_full = Stopped(), True
    system._keep_postgres()
    system._keep_postgres()
    is_full = False
    system._keep_postgres()
    system._keep_postgres()

    output = capsys.readouterr().out
    assert [1, 1, 1] == [output.count(text) for text in ("ended and is", "no space left", "Postgres runs again")]


@pytest.mark.parametrize("allowed", [True, False])
def test_only_the_parts_that_send_or_take_addresses_are_allowed_private_targets(tmp_path, allowed):
    system = System(Options(data_dir=tmp_path, allow_private_targets=allowed))

    part_names = [
        part.name for part in system.parts("postgresql://nowhere") if "ROUTINES_ALLOW_PRIVATE_TARGETS" in part.env
    ]

    assert (["web", "delivery"] if allowed else []) == part_names


@contextmanager
def system(directory, *more):
    process = subprocess.Popen([sys.executable, "-c", SERVE, directory, *more], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def state(directory):
    return json.loads((directory / "up.json").read_text())


def test_a_system_announces_itself_is_kept_up_and_stops_cleanly(tmp_path):
    with system(tmp_path, "postgresql://elsewhere/routines") as process:
        first = wait_for(lambda: (tmp_path / "up.json").exists() and state(tmp_path))

        os.kill(first["processes"]["scheduler"], signal.SIGKILL)
        second = wait_for(
            lambda: (
                state(tmp_path)["processes"].get("scheduler", 0) not in {0, first["processes"]["scheduler"]}
                and state(tmp_path)
            )
        )
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=LIMIT_S)

    assert 0 == process.returncode
    assert process.pid == first["pid"]
    assert "postgresql://elsewhere/routines" == first["database_url"]
    assert first["processes"]["web"] == second["processes"]["web"]
    steps = [
        output.index(step) for step in ("preparing the database\n", "starting web, scheduler\n", "Routines is ready at")
    ]
    assert steps == sorted(steps)
    assert f"Routines is ready at {first['url']}" in output
    assert str(tmp_path) in output
    assert 1 == output.count(" a-token ")
    assert output.endswith("stopped\n")
    assert "a-token\n" == (tmp_path / "board.token").read_text()
    assert 0o600 == (tmp_path / "board.token").stat().st_mode & 0o777
    assert not (tmp_path / "up.json").exists()
    assert [False, False] == [exists(pid) for pid in second["processes"].values()]


def test_a_system_brings_its_own_postgres_and_takes_it_along(tmp_path):
    with system(tmp_path) as process:
        url = wait_for(lambda: (tmp_path / "up.json").exists() and state(tmp_path))["database_url"]
        server = int((tmp_path / "postgres/data/postmaster.pid").read_text().split()[0])

        assert url.startswith("postgresql://routines_service@/routines?host=/")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT_S)

    assert 0 == process.returncode
    assert not exists(server)
    subprocess.run(["rm", "-rf", (tmp_path / "postgres").resolve()], check=True)


def test_a_second_system_on_the_same_data_is_told_who_is_there(tmp_path, capsys):
    with system(tmp_path, "postgresql://elsewhere/routines") as process:
        url = wait_for(lambda: (tmp_path / "up.json").exists() and state(tmp_path))["url"]

        assert 1 == up(Options(data_dir=tmp_path, port=0, database_url="unused"), lambda _: None)

    assert f"is in use by process {process.pid}, at {url}" in capsys.readouterr().out


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as occupied_socket:
        port = occupied_socket.getsockname()[1]

        assert 1 == up(Options(data_dir=tmp_path, port=port), lambda _: pytest.fail("too far"))

    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in capsys.readouterr().out
    assert not (tmp_path / "postgres").exists()


def test_every_part_of_the_system_is_given_the_database(tmp_path):
    parts = System(Options(data_dir=tmp_path, port=8000)).parts("postgresql://here")

    assert ["web", "scheduler", "projector", "delivery"] == [part.argv[3] for part in parts]
    assert ["postgresql://here"] * 4 == [part.env["ROUTINES_DATABASE_URL"] for part in parts]


def test_several_web_processes_have_a_name_and_a_socket_of_the_same_port_each(tmp_path):
    port = free_port("127.0.0.1", 0)
    system = System(Options(data_dir=tmp_path, port=port, web_processes=3))
    with contextlib.ExitStack() as ending:
        system.listening = names_and_sockets(ending, "127.0.0.1", port, 3)

        parts = system.parts("postgresql://here")

        sockets = [each for _, each in system.listening]
        assert ["web-1", "web-2", "web-3", "scheduler", "projector", "delivery"] == [part.name for part in parts]
        assert [(each.fileno(),) for each in sockets] == [part.fds for part in parts[:3]]
        assert [str(each.fileno()) for each in sockets] == [part.argv[-1] for part in parts[:3]]
        assert {port} == {each.getsockname()[1] for each in sockets}


def test_several_projectors_have_a_name_each(tmp_path):
    parts = System(Options(data_dir=tmp_path, port=4000, projectors=2)).parts("postgresql://here")

    assert ["web", "scheduler", "projector-1", "projector-2", "delivery"] == [part.name for part in parts]
    assert ["projector", "projector"] == [part.argv[3] for part in parts[2:4]]


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80")],
)
def test_the_address_is_one_that_reaches_us(host, url):
    assert url == url_of(host, 80)


@pytest.mark.parametrize(
    ("error", "way_out"),
    [
        (OSError(errno.EADDRINUSE, "in use"), "in use; end the process that listens there, or take another --port"),
        (OSError(errno.EACCES, "denied"), r"denied; only root may take ports below \d+: take a --port from \d+ on"),
        (OSError(errno.EADDRNOTAVAIL, "none"), "none; take an address of this machine as --host: 127.0.0.1"),
        (socket.gaierror(-2, "unknown"), "unknown; take an address or a name of this machine as --host"),
        (UnicodeError("label too long"), "no such name; take an address or a name of this machine as --host"),
    ],
)
def test_why_nothing_can_listen_there_is_told_with_what_to_change(error, way_out, monkeypatch):
    def refuse(*_):
        raise error

    monkeypatch.setattr(listening, "listen", refuse)

    with pytest.raises(CannotStart, match=f"cannot listen on here port 80: {way_out}"):
        free_port("here", 80)


def test_a_data_directory_that_holds_no_database_is_told_with_where_that_is(tmp_path, capsys):
    place = DataDirectory(tmp_path / ".routines")
    for name in (".routines/postgres", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    system = System(Options(data_dir=place.directory, port=8000))

    system.postgres = LocalPostgres(place.directory)
    system._tell_places()
    assert f"  data         {place.directory} (what the parts say is in logs/)\n" == capsys.readouterr().out

    (place.directory / "postgres").rmdir()
    (place.directory / "postgres").symlink_to(tmp_path / "elsewhere")
    system._tell_places()
    output = capsys.readouterr().out
    assert f"  database     {tmp_path / 'elsewhere'}  (not in .routines, which its account cannot reach:\n" in output
    assert "a copy of the data directory does not hold it" in output

    System(
        Options(data_dir=place.directory, port=8000, database_url="postgresql://parts:secret@db.example:5433/routines")
    )._tell_places()
    output = capsys.readouterr().out
    assert "  database     routines on db.example:5433 as parts  (by ROUTINES_DATABASE_URL)\n" in output
    assert f"  files        {place.directory} (keys and logs/; the data is in the database)\n" in output


@pytest.mark.parametrize(("token", "good"), [("of-this-database", True), ("of-another", False), (None, False)])
def test_the_next_step_names_a_token_file_only_when_its_token_is_good(tmp_path, capsys, monkeypatch, token, good):
    def answer(_client, _method, _path, token):
        return WebAnswer(200 if token == "of-this-database" else 401, "")

    system = System(Options(data_dir=tmp_path, port=8000, database_url="postgresql://elsewhere"))
    if token:
        system.place.write(system.place.token, token + "\n")

    monkeypatch.setattr(WebClient, "ask", answer)
    system._tell_next_steps(WebClient(system.url))

    output = capsys.readouterr().out
    assert good == (f"Bearer $(cat {tmp_path}/board.token)" in output)
    assert good != (f"export TOKEN=$(routines board-key --data-dir {tmp_path})" in output)


@pytest.mark.parametrize(("status", "shown"), [(201, True), (503, False)])
def test_a_start_prints_a_link_that_signs_in_if_it_can_be_made(tmp_path, capsys, monkeypatch, status, shown):
    questions = []

    def answer(_client, method, path, _token):
        questions.append((method, path))
        is_link = path == "/board/sign-in-links"
        return WebAnswer(status if is_link else 200, "http://127.0.0.1:8000/board/sign-in/x")

    system = System(Options(data_dir=tmp_path, port=8000, database_url="postgresql://elsewhere"))
    system.place.write(system.place.token, "of-this-database\n")
    monkeypatch.setattr(WebClient, "ask", answer)
    system._tell_next_steps(WebClient(system.url))

    assert ("POST", "/board/sign-in-links") in questions
    assert shown == (
        "board        http://127.0.0.1:8000/board/sign-in/x  (signs you in, once" in capsys.readouterr().out
    )


def test_a_key_file_that_cannot_be_made_is_told_with_its_variable(tmp_path):
    system = System(Options(data_dir=tmp_path, port=8000, key_file=str(tmp_path / "missing/secret.keys")))

    with pytest.raises(CannotStart, match=r"ROUTINES_KEY_FILE: .*missing/secret\.keys cannot be written"):
        system._make_keys()


def test_port_0_takes_a_free_one():
    assert 0 < free_port("127.0.0.1", 0)
