"""Runs the whole system on one machine: Postgres, and each part as a child that is started again when it dies."""

import contextlib
import json
import os
import shlex
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import Self

import msgspec
import psycopg

from application.proof import signed_heads
from application.secrets.key_ring import VaultClosed
from routines import bootstrap
from routines.commands import terminal
from routines.errors import CannotStart
from routines.local import accounts
from routines.local.data_directory import DataDirectory
from routines.local.listening import free_port, is_privileged, url_of
from routines.local.log_rotation import LogBounds
from routines.local.private_files import give_file
from routines.local.reach import Reach
from routines.local.supervisor import LOGS, Part, Supervisor, part_names
from routines.local.web_client import WebClient
from routines.local.web_processes import names_and_sockets
from routines.postgres.cluster import SUPERUSER, LocalPostgres
from routines.roles import SERVICE
from routines.settings import KEY_VARIABLE, LOG_KEY_VARIABLE, URL_VARIABLE, describe_database

POLL_S = 0.1
READY_NOTE_S = 60.0
RETRY_S = 5.0  # pause after Postgres could not be started, or a file not be written


class Interrupts:
    """Inside the `with`, notes the first SIGINT, SIGTERM or SIGHUP; a Ctrl-C after it raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.noted = False

    def __enter__(self) -> Self:
        names = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            names.append(signal.SIGHUP)
        self._before = {name: signal.signal(name, self._note_signal) for name in names}
        return self

    def __exit__(self, *_: object) -> None:
        for name, handler in self._before.items():
            signal.signal(name, handler)

    def _note_signal(self, number: int, _: FrameType | None) -> None:
        # Only Ctrl-C counts a second time: `make` passes on a SIGTERM that our process group has already received.
        if self.noted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.noted = True


class RepeatedFailure:
    """Something that cannot be done at the moment, and is tried again after RETRY_S."""

    def __init__(self) -> None:
        self.is_open = False
        self._try_at = self._say_at = 0.0

    @property
    def is_recent(self) -> bool:
        """Whether it is too early to try again."""
        return self.is_open and time.monotonic() < self._try_at

    def note(self, text: str) -> None:
        """Note a failure. It is said on the terminal at once, and then not more often than every READY_NOTE_S."""
        now = time.monotonic()
        self._try_at = now + RETRY_S
        if not self.is_open or now >= self._say_at:
            self._say_at = now + READY_NOTE_S
            say(f"{text}; it is tried again every {RETRY_S:.0f} s")
        self.is_open = True

    def end(self, text: str) -> None:
        """Note a success; say so if it follows a failure."""
        if self.is_open:
            say(text)
        self.is_open = False


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one `routines up` is to run, and where: the options of the command, and what the environment says.

    Without a database's URL it runs a Postgres of its own; files that are not named are in the data directory.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 3100  # 0: a free one
    database_url: str | None = None
    key_file: str | None = None
    log_key_file: str | None = None
    checkpoint_settings: Mapping[str, str] = {}
    public_url: str | None = None
    allow_private_targets: bool = False
    web_processes: int = 1
    projectors: int = 1
    log_bounds: LogBounds = LOGS


class System:
    """Everything that one `routines up` runs: the database and the parts."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.place = DataDirectory(options.data_dir)
        self.url = url_of(options.host, options.port)
        self.public_url = options.public_url or self.url
        self.key_file = str(Path(options.key_file).absolute() if options.key_file else self.place.keys)
        self.log_key_file = str(Path(options.log_key_file).absolute() if options.log_key_file else self.place.log_key)
        self.new_keys = False
        self.postgres: LocalPostgres | None = None
        self.reach = Reach(accounts.current_account())
        self.listening: list[
            tuple[str, socket.socket]
        ] = []  # for the web processes, where they do not listen themselves
        self.token: str | None = None
        self.ready = False
        self.postgres_failure, self.state_failure = RepeatedFailure(), RepeatedFailure()

    @contextlib.contextmanager
    def run_parts(self, prepare: Callable[[str], str | None]) -> Iterator[Supervisor]:
        """Run Postgres and all parts until the end of the `with`; `prepare` brings the database to this version."""
        with contextlib.ExitStack() as ending:
            self.reach = ending.enter_context(Reach(accounts.of_parts(say)))
            self.place.admit(self.reach.account)
            admin_url, database_url = self._database_urls(ending)
            say("preparing the database")
            self._keep_token(prepare(admin_url))
            self._make_keys()
            if self.options.web_processes > 1 or (not self.reach.account.is_ours and is_privileged(self.options.port)):
                self.listening = names_and_sockets(
                    ending, self.options.host, self.options.port, self.options.web_processes
                )
            supervisor = Supervisor(
                self.parts(database_url),
                self.place.logs,
                lambda pids: self._write_state(pids, database_url),
                say,
                self.options.log_bounds,
            )
            ending.callback(supervisor.stop)
            say(f"starting {', '.join(child.part.name for child in supervisor.children)}")
            supervisor.start()
            yield supervisor

    def parts(self, database_url: str) -> list[Part]:
        """
        Return the processes of the system, each with only the variables it needs.

        The projectors get no keys of secrets, and they alone get the key that signs checkpoints.
        """
        program, own = self.reach.program()
        env = {**own, "ROUTINES_DATABASE_URL": database_url}
        key_env = {**env, "ROUTINES_KEY_FILE": str(self._readable_keys())}
        targets = {"ROUTINES_ALLOW_PRIVATE_TARGETS": "true"} if self.options.allow_private_targets else {}
        web_env = {**key_env, **targets, "ROUTINES_PUBLIC_URL": self.public_url}
        sending = {**key_env, **targets, **self.options.checkpoint_settings}
        signing = {**env, LOG_KEY_VARIABLE: str(self._readable_log_key()), **self.options.checkpoint_settings}
        parts = [(name, more, web_env, fds) for name, more, fds in self._web_parts()]
        parts += [("scheduler", ["scheduler"], key_env, ())]
        parts += [(name, ["projector"], signing, ()) for name in part_names("projector", self.options.projectors)]
        parts += [("delivery", ["delivery"], sending, ())]
        return [
            Part(name, [*program, *command], variables, self.reach.account, (*self.reach.fds, *fds))
            for name, command, variables, fds in parts
        ]

    def _web_parts(self) -> list[tuple[str, list[str], tuple[int, ...]]]:
        """Return the name, the command and the socket of each web process."""
        command = ["web", "--host", self.options.host, "--port", str(self.options.port)]
        if not self.listening:
            return [("web", command, ())]
        return [(name, [*command, "--fd", str(one.fileno())], (one.fileno(),)) for name, one in self.listening]

    def watch(self, supervisor: Supervisor, interrupts: Interrupts) -> None:
        """
        Keep everything running until a signal has been noted.

        What fails meanwhile, for instance because the disk is full, is said and tried again: nothing ends this loop.
        """
        note_at = time.monotonic() + READY_NOTE_S
        client = WebClient(self.url)
        while not interrupts.noted:
            self._keep_postgres()
            supervisor.tick()
            if self.state_failure.is_open and not self.state_failure.is_recent:
                supervisor.on_change(supervisor.pids())
            if not self.ready and is_healthy(client):
                self._announce_ready(supervisor, client)
            if not self.ready and time.monotonic() > note_at:
                note_at += READY_NOTE_S
                say(f"{self.url} is not ready yet; the logs in {self.place.logs} may say why")
            time.sleep(POLL_S)

    def _keep_postgres(self) -> None:
        """Start our Postgres again if it has ended."""
        if self.postgres is None or self.postgres_failure.is_recent or self.postgres.alive():
            return
        if not self.postgres_failure.is_open:
            say("Postgres ended and is started again")
        try:
            self.postgres.start()
        except (CannotStart, OSError, psycopg.Error) as error:
            self.postgres_failure.note(f"Postgres cannot be started ({error})")
        else:
            self.postgres_failure.end("Postgres runs again")

    def _database_urls(self, ending: contextlib.ExitStack) -> tuple[str, str]:
        """Return the database's URL for migrations and the one for the parts; start Postgres unless a URL was given."""
        if self.options.database_url:
            return self.options.database_url, self.options.database_url
        self.postgres = LocalPostgres(self.place.directory, parts=self.reach.account, say=say)
        ending.callback(self.postgres.stop)
        say("starting Postgres")
        return self.postgres.start(), self.postgres.url(SERVICE)

    def _keep_token(self, token: str | None) -> None:
        self.token = token
        if token is not None:
            try:
                self.place.write(self.place.token, token + "\n")
            except OSError as error:
                say(f"{self.place.token} cannot be written ({error.strerror}). Board token (shown once): {token}")
                raise

    def _make_keys(self) -> None:
        try:
            self.new_keys = bootstrap.make_keys(self.key_file)
        except VaultClosed as error:
            is_named = self.key_file != str(self.place.keys)
            raise CannotStart(f"{KEY_VARIABLE}: {error}" if is_named else str(error)) from None
        try:
            bootstrap.make_log_key(self.log_key_file)
        except OSError as error:
            raise CannotStart(f"{self.log_key_file} cannot be written ({error.strerror})") from None

    def _readable_keys(self) -> Path:
        """Return a path by which the parts can read the key file; a key file of root is given to their account."""
        if not self.reach.account.is_ours:
            give_file(Path(self.key_file), self.reach.account)
        return self.reach.file(Path(self.key_file))

    def _readable_log_key(self) -> Path:
        """Return a path by which the projector can read the key of the log, and note beside it what it has signed."""
        path = Path(self.log_key_file)
        if not self.reach.account.is_ours:
            give_file(path, self.reach.account)
            give_file(signed_heads.path_beside(path), self.reach.account)
        return self.reach.file(path)

    def _write_state(self, pids: dict[str, int], database_url: str) -> None:
        if self.ready:
            state = {
                "url": self.url,
                "pid": os.getpid(),
                "database_url": database_url,
                "owner_database_url": self.postgres.url(SUPERUSER) if self.postgres is not None else database_url,
                "key_file": self.key_file,
                "processes": pids,
            }
            try:
                self.place.write(self.place.state, json.dumps(state, indent=2) + "\n")
            except OSError as error:
                self.state_failure.note(f"{self.place.state} cannot be written ({error.strerror})")
            else:
                self.state_failure.end(f"{self.place.state} is up to date again")

    def _announce_ready(self, supervisor: Supervisor, client: WebClient) -> None:
        self.ready = True
        supervisor.on_change(supervisor.pids())
        say(f"Routines is ready at {self.url}")
        if self.public_url != self.url:
            say(f"  public URL   {self.public_url}")
        self._tell_places()
        if self.token is not None:
            say(f"  board token  {self.token}  (shown this once; also in {self.place.token})")
        if self.new_keys:
            say(f"  secret keys  {self.key_file}  (new; keep a copy of it apart from copies of the data)")
        self._tell_next_steps(client)
        say("Ctrl-C stops everything.")

    def _tell_places(self) -> None:
        """Say where the database is, since a copy of the data directory may lack it."""
        directory = self.place.directory
        if self.postgres is None:
            say(f"  database     {describe_database(self.options.database_url or '')}  (by {URL_VARIABLE})")
            say(f"  files        {directory} (keys and {self.place.logs.name}/; the data is in the database)")
            return
        say(f"  data         {directory} (what the parts say is in {self.place.logs.name}/)")
        if not self.postgres.home.is_relative_to(directory.resolve()):
            say(f"  database     {self.postgres.home}  (not in {directory.name}, which its account cannot reach:")
            say("               a copy of the data directory does not hold it)")

    def _tell_next_steps(self, client: WebClient) -> None:
        directory, file = shlex.quote(str(self.place.directory)), shlex.quote(str(self.place.token))
        if self._token_is_good(client):
            token, more = f"$(cat {file})", ""
            if (link := self._sign_in_link(client)) is not None:
                say(f"  board        {link}  (signs you in, once, within 10 minutes)")
        else:
            say(f"  board        {self.public_url}/  (asks for a board token)")
            say(f"  board token  export TOKEN=$(routines board-key --data-dir {directory})   (mints one; in .venv/bin)")
            token, more = "$TOKEN", ' --token "$TOKEN"'
        say(f'  next step    curl -H "Authorization: Bearer {token}" {self.url}/api/companies')
        say(f"  watch it     routines demo --data-dir {directory}{more}   (in .venv/bin)")

    def _sign_in_link(self, client: WebClient) -> str | None:
        """Return a link that opens a session of the board for the holder of the token file; None if it cannot be made now."""
        if (token := self._read_token()) is None:
            return None
        answer = client.ask("POST", "/board/sign-in-links", token)
        return answer.text if answer is not None and answer.status == HTTPStatus.CREATED else None

    def _token_is_good(self, client: WebClient) -> bool:
        """Return whether the token file has a token of this database: it may have expired, or be of another one."""
        if (token := self._read_token()) is None:
            return False
        answer = client.ask("GET", "/api/companies", token)
        return answer is not None and answer.status != HTTPStatus.UNAUTHORIZED

    def _read_token(self) -> str | None:
        """Return the token in the token file, or None if there is none that can be read."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return self.place.token.read_text().strip()
        return None


def up(options: Options, prepare: Callable[[str], str | None]) -> int:
    """
    Run the system until Ctrl-C; `prepare` takes the URL of the database's owner, and returns a new board token if it made one.

    Returns 0 after an orderly stop, 130 after a second Ctrl-C, 1 if it cannot start.
    """
    try:
        with Interrupts() as interrupts, DataDirectory(options.data_dir).lock():
            port = free_port(options.host, options.port)
            system = System(msgspec.structs.replace(options, port=port))
            with system.run_parts(prepare) as supervisor:
                system.watch(supervisor, interrupts)
                say("stopping")
    except (CannotStart, OSError) as error:
        say(f"routines up: {error}")
        return 1
    except KeyboardInterrupt:
        say("stopped at once")
        return 130
    say("stopped")
    return 0


def is_healthy(client: WebClient) -> bool:
    """Return whether /api/health answers 200."""
    answer = client.ask("GET", "/api/health")
    return answer is not None and answer.status == HTTPStatus.OK


def say(text: str) -> None:
    """Print the text on the terminal, line by line; a terminal that was closed is no error."""
    with contextlib.suppress(OSError):
        for line in text.splitlines():
            terminal.echo(line)
