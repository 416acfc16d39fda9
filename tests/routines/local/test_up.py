import contextlib
import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from routines.errors import CannotStart
from routines.local import listening
from routines.local import up as up_module
from routines.local.accounts import Account
from routines.local.data_directory import Place
from routines.local.listening import free_port, url_of
from routines.local.private_files import give_file
from routines.local.reach import Reach
from routines.local.supervisor import Part, Supervisor
from routines.local.up import System, up
from routines.local.web_processes import names_and_sockets
from routines.postgres.cluster import LocalPostgres
from tests.strangers import PARTS, STRANGER, holding_lock
from tests.waiting import exists, wait_for

LIMIT_S = 20.0
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root only: nobody else can be another account")
SLEEP = [sys.executable, "-S", "-c", "import time; print('awake', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('awake', flush=True); time.sleep(600)",
]
FAIL = [sys.executable, "-S", "-c", "raise SystemExit('no such thing')"]
SUPERVISE = """
import sys, time
from pathlib import Path
from routines.local.private_files import give_file
from routines.local.reach import Reach
from routines.local.supervisor import Part, Supervisor
supervisor = Supervisor([Part("one", sys.argv[2:])], Path(sys.argv[1]), lambda pids: print(pids["one"], flush=True))
supervisor.start()
time.sleep(600)
"""
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
    for name, code in (("web", web.replace("PORT", str(self.port))), ("scheduler", rest))
]
url = sys.argv[2] if len(sys.argv) > 2 else None
sys.exit(up.up(Path(sys.argv[1]), "127.0.0.1", 0, database_url=url, prepare=lambda url: "a-token"))
"""


@pytest.fixture
def supervise_parts(tmp_path):
    running = []

    def supervise(*parts):
        heard: list[Any] = []
        supervisor: Any = Supervisor(parts, tmp_path / "logs", on_change=heard.append, say=heard.append)
        supervisor.heard = heard
        running.append(supervisor)
        supervisor.start()
        return supervisor

    yield supervise
    for supervisor in running:
        supervisor.stop()


def test_a_part_that_cannot_be_started_now_is_tried_again(supervise_parts, monkeypatch):
    supervisor = supervise_parts(Part("one", SLEEP))
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refuse(OSError(errno.EAGAIN, "Resource temporarily unavailable")))
        supervisor.children[0].signal(signal.SIGKILL)
        wait_for(lambda: supervisor.tick() or any("cannot be started" in str(text) for text in supervisor.heard))

    wait_for(lambda: supervisor.tick() or supervisor.pids())


def refuse(error):
    def call(*_, **__):
        raise error

    return call


def test_a_state_that_cannot_be_written_is_written_when_there_is_room(tmp_path, monkeypatch, capsys):
    system = System(Place(tmp_path), "127.0.0.1", 3100, None)
    system.ready = True
    with monkeypatch.context() as patch:
        patch.setattr(Place, "write", refuse(OSError(errno.ENOSPC, "No space left on device")))
        system._write_state({"web": 1}, "postgresql://here")
        system._write_state({"web": 2}, "postgresql://here")

    assert system.state_trouble.is_open
    system._write_state({"web": 3}, "postgresql://here")

    assert {"web": 3} == state(tmp_path)["processes"]
    assert not system.state_trouble.is_open
    output = capsys.readouterr().out
    assert 1 == output.count("up.json cannot be written (No space left on device); it is tried again")
    assert "up.json is up to date again" in output


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_other(tmp_path, monkeypatch):
    place = Place(tmp_path)
    place.write(place.state, "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", refuse(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            place.write(place.state, "new")

    assert "old" == place.state.read_text()
    assert ["up.json"] == [path.name for path in tmp_path.iterdir()]


def test_a_postgres_that_cannot_be_started_is_tried_again_and_the_parts_go_on(tmp_path, monkeypatch, capsys):
    class Stopped:
        is_alive = False

        def alive(self):
            return self.is_alive

        def start(self):
            if is_full:
                raise CannotStart("Postgres ended at its start: no space left on device")
            self.is_alive = True

    monkeypatch.setattr(up_module, "TROUBLE_S", 0.0)
    system: Any = System(Place(tmp_path), "127.0.0.1", 3100, None)
    system.postgres, is_full = Stopped(), True
    system._keep_postgres()
    system._keep_postgres()
    is_full = False
    system._keep_postgres()
    system._keep_postgres()

    output = capsys.readouterr().out
    assert [1, 1, 1] == [output.count(text) for text in ("ended and is", "no space left", "Postgres runs again")]


@pytest.mark.parametrize("allowed", [True, False])
def test_only_the_part_that_sends_may_be_allowed_private_targets(tmp_path, allowed):
    system = System(Place(tmp_path), "127.0.0.1", 3100, None, allow_private_targets=allowed)

    part_names = [
        part.name for part in system.parts("postgresql://nowhere") if "ROUTINES_ALLOW_PRIVATE_TARGETS" in part.env
    ]

    assert (["delivery"] if allowed else []) == part_names


@contextmanager
def system(directory, *more):
    process = subprocess.Popen([sys.executable, "-c", SERVE, directory, *more], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def open_to_others(directory):
    """Nobody is kept out by the directories above, which pytest has closed."""
    above = [path for path in directory.parents if Path(tempfile.gettempdir()) in path.parents]
    modes = [stat.S_IMODE(path.stat().st_mode) for path in above]
    for path in above:
        path.chmod(0o755)
    try:
        yield
    finally:
        for path, mode in zip(above, modes, strict=True):
            path.chmod(mode)


def state(directory):
    return json.loads((directory / "up.json").read_text())


def test_a_killed_part_is_started_again_at_once(supervise_parts):
    supervisor = supervise_parts(Part("one", SLEEP), Part("two", SLEEP))
    old_pids = supervisor.pids()

    os.kill(old_pids["one"], signal.SIGKILL)
    wait_for(lambda: supervisor.pids().get("one", old_pids["one"]) != old_pids["one"], tick=supervisor.tick)

    assert old_pids["two"] == supervisor.pids()["two"]
    assert supervisor.children[0].not_before <= supervisor.children[0].started_at
    assert [old_pids, {"two": old_pids["two"]}, supervisor.pids()] == [
        x for x in supervisor.heard if isinstance(x, dict)
    ]
    assert "one ended (signal 9)" in supervisor.heard


def test_a_part_that_keeps_dying_is_given_pauses_and_quoted(supervise_parts):
    supervisor = supervise_parts(Part("one", FAIL))

    wait_for(lambda: supervisor.children[0].quick_deaths == 2, tick=supervisor.tick)

    assert supervisor.children[0].not_before > time.monotonic()
    assert "ended 2 times within a second of its start; the next try is in 1 s" in supervisor.heard[-2]
    assert supervisor.heard[-2].endswith("ends with: no such thing")
    assert supervisor.heard[-1] == {}


def test_the_pauses_grow_to_five_seconds_and_end_with_a_longer_life(supervise_parts):
    child = supervise_parts(Part("one", SLEEP)).children[0]

    assert [0, 1, 2, 4, 5, 5] == [child.plan() for _ in range(6)]
    child.started_at -= 60
    assert 0 == child.plan()


def test_a_part_gets_its_environment_and_its_own_log(supervise_parts, tmp_path):
    supervise_parts(
        Part("one", [sys.executable, "-c", "import os; print(os.environ['GREETING'])"], {"GREETING": "hello"})
    )

    wait_for(lambda: (tmp_path / "logs/one.log").read_text() == "hello\n")


def test_a_part_gets_nothing_else_of_our_environment(supervise_parts, tmp_path, monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "ROUTINES_DATABASE_URL", "ROUTINES_KEY_FILE", "ROUTINES_BATCH"):
        monkeypatch.setenv(name, "7")

    supervise_parts(Part("one", [sys.executable, "-S", "-c", "import os; print(sorted(os.environ), flush=True)"]))

    output = wait_for((tmp_path / "logs/one.log").read_text)
    assert "'ROUTINES_BATCH'" in output
    assert "'PATH'" in output
    assert not any(name in output for name in ("AWS_SECRET_ACCESS_KEY", "ROUTINES_DATABASE_URL", "ROUTINES_KEY_FILE"))


def test_what_a_part_says_is_for_us_alone_and_goes_to_no_file_of_others(supervise_parts, tmp_path):
    (tmp_path / "logs").mkdir(mode=0o755)
    (tmp_path / "victim").touch()
    (tmp_path / "logs/two.log").symlink_to(tmp_path / "victim")
    supervise_parts(Part("one", SLEEP))

    with pytest.raises(CannotStart, match=r"two\.log"):
        supervise_parts(Part("two", SLEEP))

    assert [0o700, 0o600] == [mode(tmp_path / name) for name in ("logs", "logs/one.log")]
    assert 0 == (tmp_path / "victim").stat().st_size


@as_root
def test_a_part_runs_as_its_account_and_gets_no_rights_back(supervise_parts, tmp_path):
    tmp_path.chmod(0o700)
    command = ["/bin/sh", "-c", "cat /proc/self/status; echo read; exec sleep 600"]
    supervisor = supervise_parts(Part("one", command, account=PARTS))

    output = wait_for(
        lambda: "read" in (tmp_path / "logs/one.log").read_text() and (tmp_path / "logs/one.log").read_text()
    )

    status = dict(line.split(":\t", 1) for line in output.splitlines() if ":\t" in line)
    assert [["2"] * 4, ["2"] * 4] == [status[name].split() for name in ("Uid", "Gid")]
    assert "" == status["Groups"].strip()
    assert "0" * 16 == status["CapEff"] == status["CapPrm"]
    assert "1" == status["NoNewPrivs"]
    pid = supervisor.pids()["one"]
    supervisor.stop()
    assert not exists(pid)


def test_a_stop_ends_every_part(supervise_parts):
    supervisor = supervise_parts(Part("one", SLEEP), Part("two", SLEEP))
    pids = supervisor.pids().values()

    supervisor.stop()

    assert {} == supervisor.pids()
    assert [False, False] == [exists(pid) for pid in pids]


def test_a_part_that_ignores_the_stop_is_killed(supervise_parts, tmp_path, monkeypatch):
    monkeypatch.setattr("routines.local.supervisor.TERM_LIMIT_S", 0.2)
    supervisor = supervise_parts(Part("one", STUBBORN))
    wait_for(lambda: "awake" in (tmp_path / "logs/one.log").read_text())
    pid = supervisor.pids()["one"]

    supervisor.stop()

    assert not exists(pid)


def test_parts_die_with_a_killed_supervisor(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, tmp_path, *SLEEP], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        pid = int(supervisor.stdout.readline())
        wait_for(lambda: (tmp_path / "one.log").read_text() == "awake\n")

        supervisor.kill()

        wait_for(lambda: not exists(pid))


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

        assert 1 == up(tmp_path, "127.0.0.1", 0, database_url="unused", prepare=lambda _: None)

    assert f"is in use by process {process.pid}, at {url}" in capsys.readouterr().out


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as occupied_socket:
        port = occupied_socket.getsockname()[1]

        assert 1 == up(tmp_path, "127.0.0.1", port, database_url=None, prepare=lambda _: pytest.fail("too far"))

    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in capsys.readouterr().out
    assert not (tmp_path / "postgres").exists()


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_data_directory_is_closed_to_others_also_where_it_was_open(tmp_path):
    (tmp_path / "up.lock").touch(0o644)
    tmp_path.chmod(0o755)

    with Place(tmp_path).lock():
        assert [0o700, 0o600] == [mode(tmp_path), mode(tmp_path / "up.lock")]
    with Place(tmp_path / "new").lock():
        assert 0o700 == mode(tmp_path / "new")


def test_a_directory_that_holds_more_than_ours_keeps_its_mode(tmp_path):
    (tmp_path / "something").touch()
    tmp_path.chmod(0o755)

    with Place(tmp_path).lock():
        assert 0o755 == mode(tmp_path)


def test_a_directory_in_which_others_write_is_refused(tmp_path):
    (tmp_path / "something").touch()
    tmp_path.chmod(0o777)

    with pytest.raises(CannotStart, match="others may write in"), Place(tmp_path).lock():
        pass


@as_root
@pytest.mark.parametrize("link", [False, True])
def test_a_directory_of_a_stranger_is_refused(tmp_path, link):
    directory = tmp_path / "data"
    if link:
        directory.symlink_to("/var/lib")
    else:
        directory.mkdir()
    os.chown(directory, STRANGER.uid, STRANGER.gid, follow_symlinks=False)
    old_mode = mode(directory)

    with pytest.raises(CannotStart, match="belongs to daemon"), Place(directory).lock():
        pass

    assert old_mode == mode(directory)


@as_root
def test_a_lock_that_a_stranger_holds_is_told_with_the_stranger(tmp_path):
    (tmp_path / "up.lock").touch(0o644)
    tmp_path.chmod(0o755)

    with (
        open_to_others(tmp_path),
        holding_lock(STRANGER, tmp_path / "up.lock") as pid,
        pytest.raises(CannotStart, match=rf"locked by process {pid} \(.* of daemon\)"),
        Place(tmp_path).lock(),
    ):
        pass


def test_a_link_for_a_lock_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "up.lock").symlink_to(tmp_path / "victim")

    with pytest.raises(CannotStart, match="cannot open"), Place(tmp_path).lock():
        pass

    assert "precious" == (tmp_path / "victim").read_text()


@as_root
def test_the_parts_pass_through_the_data_directory_and_read_what_is_theirs(tmp_path):
    place = Place(tmp_path / "data")
    with place.lock():
        place.write(place.token, "a token")
        place.keys.write_text("keys")
        place.keys.chmod(0o600)
        place.admit(PARTS)
        give_file(place.keys, PARTS)
        with Reach(PARTS) as reach:
            keys = reach.file(place.keys)  # pytest's directories above are closed to the parts

            assert [0o710, 0o600, PARTS.uid] == [mode(place.directory), mode(place.keys), place.keys.stat().st_uid]
            assert PARTS.can_read(keys, reach.fds)
            with pytest.raises(CannotStart, match=r"the account bin, .* cannot read .*board\.token"):
                reach.file(place.token)
            assert 0 != PARTS.run("/bin/ls", keys.parent, fds=reach.fds).returncode
            assert 0 != PARTS.run("/bin/ls", keys.parent / "../../..", fds=reach.fds).returncode


@as_root
def test_a_key_file_that_is_not_roots_alone_stays_whose_it_is(tmp_path):
    (tmp_path / "open").touch(0o644)
    (tmp_path / "another").touch(0o600)
    os.chown(tmp_path / "another", STRANGER.uid, STRANGER.gid)

    for name in ("open", "another", "missing"):
        give_file(tmp_path / name, PARTS)

    assert [0, STRANGER.uid] == [(tmp_path / name).stat().st_uid for name in ("open", "another")]


@as_root
def test_the_parts_can_run_our_code_wherever_it_is(tmp_path):
    with Reach(PARTS) as reach:
        command, env = reach.program()
        variables = [f"{name}={value}" for name, value in env.items()]
        result = PARTS.run("/usr/bin/env", *variables, *command, "--version", fds=reach.fds)

    assert "routines, version" in result.stdout


def test_code_that_the_parts_cannot_read_is_told(monkeypatch):
    account = Account("somebody", os.geteuid() + 1, 0)
    failed = subprocess.CompletedProcess([], 1, "", "no such module")
    monkeypatch.setattr(Account, "run", lambda *_, **__: failed)

    with Reach(account) as reach, pytest.raises(CannotStart, match=r"cannot run the code in .*chmod -R go\+rX"):
        reach.program()


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(CannotStart, match="cannot keep data in"), Place(tmp_path / "file/data").lock():
        pass


def test_every_part_of_the_system_is_given_the_database(tmp_path):
    parts = System(Place(tmp_path), "127.0.0.1", 8000, None).parts("postgresql://here")

    assert ["web", "scheduler", "projector", "delivery"] == [part.argv[3] for part in parts]
    assert ["postgresql://here"] * 4 == [part.env["ROUTINES_DATABASE_URL"] for part in parts]


def test_several_web_processes_have_a_name_and_a_socket_of_the_same_port_each(tmp_path):
    port = free_port("127.0.0.1", 0)
    system = System(Place(tmp_path), "127.0.0.1", port, None, web_processes=3)
    with contextlib.ExitStack() as ending:
        system.listening = names_and_sockets(ending, "127.0.0.1", port, 3)

        parts = system.parts("postgresql://here")

        sockets = [each for _, each in system.listening]
        assert ["web-1", "web-2", "web-3", "scheduler", "projector", "delivery"] == [part.name for part in parts]
        assert [(each.fileno(),) for each in sockets] == [part.fds for part in parts[:3]]
        assert [str(each.fileno()) for each in sockets] == [part.argv[-1] for part in parts[:3]]
        assert {port} == {each.getsockname()[1] for each in sockets}


def test_several_projectors_have_a_name_each(tmp_path):
    parts = System(Place(tmp_path), "127.0.0.1", 4000, None, projectors=2).parts("postgresql://here")

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
    place = Place(tmp_path / ".routines")
    for name in (".routines/postgres", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    system = System(place, "127.0.0.1", 8000, None)

    system.postgres = LocalPostgres(place.directory)
    system._tell_places()
    assert f"  data         {place.directory} (what the parts say is in logs/)\n" == capsys.readouterr().out

    (place.directory / "postgres").rmdir()
    (place.directory / "postgres").symlink_to(tmp_path / "elsewhere")
    system._tell_places()
    output = capsys.readouterr().out
    assert f"  database     {tmp_path / 'elsewhere'}  (not in .routines, which its account cannot reach:\n" in output
    assert "a copy of the data directory does not hold it" in output

    System(place, "127.0.0.1", 8000, "postgresql://parts:secret@db.example:5433/routines")._tell_places()
    output = capsys.readouterr().out
    assert "  database     routines on db.example:5433 as parts  (by ROUTINES_DATABASE_URL)\n" in output
    assert f"  files        {place.directory} (keys and logs/; the data is in the database)\n" in output


@pytest.mark.parametrize(("token", "good"), [("of-this-database", True), ("of-another", False), (None, False)])
def test_the_next_step_names_a_token_file_only_when_its_token_is_good(tmp_path, capsys, token, good):
    def answer(request):
        return httpx.Response(200 if request.headers["Authorization"] == "Bearer of-this-database" else 401)

    system = System(Place(tmp_path), "127.0.0.1", 8000, "postgresql://elsewhere")
    if token:
        system.place.write(system.place.token, token + "\n")

    with httpx.Client(base_url=system.url, transport=httpx.MockTransport(answer)) as client:
        system._tell_next_steps(client)

    output = capsys.readouterr().out
    assert good == (f"Bearer $(cat {tmp_path}/board.token)" in output)
    assert good != (f"export TOKEN=$(routines board-key --data-dir {tmp_path})" in output)


@pytest.mark.parametrize(("status", "shown"), [(201, True), (503, False)])
def test_a_start_prints_a_link_that_signs_in_if_it_can_be_made(tmp_path, capsys, status, shown):
    questions = []

    def answer(request):
        questions.append((request.method, request.url.path))
        is_link = request.url.path == "/board/sign-in-links"
        return httpx.Response(status if is_link else 200, text="http://127.0.0.1:8000/board/sign-in/x")

    system = System(Place(tmp_path), "127.0.0.1", 8000, "postgresql://elsewhere")
    system.place.write(system.place.token, "of-this-database\n")
    with httpx.Client(base_url=system.url, transport=httpx.MockTransport(answer)) as client:
        system._tell_next_steps(client)

    assert ("POST", "/board/sign-in-links") in questions
    assert shown == (
        "board        http://127.0.0.1:8000/board/sign-in/x  (signs you in, once" in capsys.readouterr().out
    )


def test_a_key_file_that_cannot_be_made_is_told_with_its_variable(tmp_path):
    system = System(Place(tmp_path), "127.0.0.1", 8000, None, key_file=str(tmp_path / "missing/secret.keys"))

    with pytest.raises(CannotStart, match=r"ROUTINES_KEY_FILE: .*missing/secret\.keys cannot be written"):
        system._make_keys()


def test_port_0_takes_a_free_one():
    assert 0 < free_port("127.0.0.1", 0)
