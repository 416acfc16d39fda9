"""The `routines` command: one command for each process and for each task of an operator."""

import contextlib
import os
import stat
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

import click
import psycopg

from domain.identity import FIRST_USER
from processes import projector as projectors
from processes.delivery import worker as deliveries
from processes.delivery.outbound import Client
from processes.scheduler import scheduler as schedulers
from projections import catalogue
from routines import bootstrap
from routines.commands import entry, failures, terminal
from routines.commands.audit import audit
from routines.commands.database import with_database
from routines.commands.export import export
from routines.commands.log import log
from routines.commands.projections import projections
from routines.commands.quotas import quotas
from routines.commands.secrets import secrets
from routines.commands.untaken import untaken
from routines.demo.cli import demo
from routines.errors import CannotStart
from routines.local import web_processes
from routines.local.data_directory import DATA_DIR, Place
from routines.local.listening import free_port
from routines.local.log_rotation import LogBounds
from routines.local.up import up as supervise
from routines.settings import KEY_VARIABLE, URL_VARIABLE, BadSetting, Settings, from_env, optional_from_env
from routines.worker.cli import worker


@click.group(cls=failures.Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="routines", prog_name="routines")
def main() -> None:
    """
    Run recurring work for AI agents, and keep a record of every run.

    \b
    Start here:   routines up       runs everything on this machine, Postgres included
                  routines demo     shows how a schedule fires; run it in another terminal
    To run the processes one by one, with your own Postgres (ROUTINES_DATABASE_URL):
                  routines init, then routines web | scheduler | projector | delivery
    """  # noqa: D301 the \b is click's


@main.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA_DIR,
    show_default=True,
    help="The directory that holds the database, the keys, the board token and the logs.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    default=3100,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port to listen on; 0 picks a free one.",
)
@click.option("--allow-private-targets", is_flag=True, help="Allow webhooks and callbacks to private addresses.")
@click.option(
    "--web",
    "web_processes",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="How many web processes share the port; one uses about one core.",
)
def up(data_dir: Path, host: str, port: int, *, allow_private_targets: bool, web_processes: int) -> None:
    """
    Run the whole system until Ctrl-C.

    The command starts an embedded Postgres in the data directory (or uses ROUTINES_DATABASE_URL) and the web,
    scheduler, projector and delivery processes. A process that dies is started again. The first start prints a board
    token, once, and keeps it in DATA_DIR/board.token. The keys of the secrets are made in DATA_DIR/secret.keys (or
    in the file that ROUTINES_KEY_FILE names). Scripts find the URL, the process ids, the URL of the database and the
    key file in DATA_DIR/up.json. The log files in DATA_DIR/logs are rotated when they reach ROUTINES_LOG_MAX_BYTES
    (16777216); ROUTINES_LOG_FILES (4) older ones are kept of each.

    If root starts it, these processes run as the system account `routines`, and Postgres runs as `routines-db` or
    as `postgres` if only that account exists. Missing accounts are made with useradd. Where that account cannot enter
    DATA_DIR, as below /root, the database is made in /var/lib/routines-XXXXXXXX and DATA_DIR/postgres is a link to it:
    a backup of DATA_DIR alone does not hold it.
    """
    database_url, key_file = os.environ.get(URL_VARIABLE), os.environ.get(KEY_VARIABLE) or str(Place(data_dir).keys)
    try:
        settings = from_env(os.environ) if database_url else optional_from_env(os.environ)
    except BadSetting as error:
        raise terminal.Trouble(str(error)) from error
    sys.exit(
        supervise(
            data_dir,
            host,
            port,
            database_url=database_url,
            prepare=partial(_prepare, key_file),
            key_file=key_file,
            public_url=os.environ.get("ROUTINES_PUBLIC_URL"),
            allow_private_targets=allow_private_targets,
            web_processes=web_processes,
            log_bounds=LogBounds(settings.log_max_bytes, settings.log_files),
        )
    )


def _prepare(key_file: str, url: str) -> str | None:
    try:
        settings = from_env({**os.environ, URL_VARIABLE: url, KEY_VARIABLE: key_file})
        _tell_outdated(bootstrap.prepare(settings))
        _tell_missing_keys(settings)
        return bootstrap.first_board_token(settings)
    except Exception as error:
        if (text := failures.explain(error)) is None:
            raise
        raise CannotStart(text) from error


def _tell_outdated(names: Sequence[str]) -> None:
    if names:
        terminal.echo(
            f"The projector of this version rebuilds {', '.join(names)}; `routines projections status` shows how far it is."
        )


def _tell_missing_keys(settings: Settings) -> None:
    """Say which secrets cannot be read. Raises VaultClosed when the whole key file is missing."""
    if missing := bootstrap.check_keys(settings):
        terminal.echo(
            f"WARNING: secrets are encrypted under {', '.join(missing)}, which is not in {settings.key_file}: they cannot "
            "be read until that key is put back; `routines secrets status` counts them."
        )


@main.command()
def init() -> None:
    """
    Prepare the database of ROUTINES_DATABASE_URL: roles, event log, read models, first board token.

    The database user must be allowed to create roles; this is needed once per version, and after a restore: what a dump
    does not hold (roles, owners, rights) is made whole. The first time, the command prints the token of the first board
    user. It brings a database of an older version to this version, and does not touch one that a newer version has
    written. If this version stores a read model differently, its projector rebuilds that model and the old rows are
    shown meanwhile: see docs/upgrading.md. If ROUTINES_KEY_FILE names a file that does not exist, the command makes it,
    unless secrets in the database need the one that is missing: see `routines secrets --help`.
    """
    settings = entry.settings()
    outdated = bootstrap.prepare(settings)
    _tell_missing_keys(settings)
    new_keys = settings.key_file is not None and bootstrap.make_keys(settings.key_file)
    token = bootstrap.first_board_token(settings)
    click.echo("The database is ready.")
    _tell_outdated(outdated)
    if new_keys:
        terminal.echo(
            f"The keys of the secrets are new, in {settings.key_file}: keep a copy apart from the database's."
        )
    if token:
        terminal.echo(f"Board token (shown this once): {token}")


@main.command("board-key")
@with_database(is_owner=True)
@click.option("--name", default="command line", show_default=True, help="A name that says what the key is for.")
@click.option(
    "--user",
    "user_id",
    type=click.UUID,
    default=FIRST_USER,
    show_default="the first user",
    help="The id of the user who gets the key.",
)
def board_key(name: str, user_id: UUID, *, settings: Settings) -> None:
    """
    Mint a further board token, for a user whose token is lost or has expired.

    The URL must log in as the owner of the database, as for `routines init`: the log does not let the service itself
    give anybody a key of somebody else. The database of `routines up` is entered as its owner. `routines audit grants`
    shows such keys.
    """
    with bootstrap.system(settings) as system:
        try:
            click.echo(bootstrap.another_board_token(system, name, user_id))
        except psycopg.errors.InsufficientPrivilege as error:
            text = "Only the database's owner may give somebody a key: use the URL that `routines init` needs"
            raise click.ClickException(text) from error


def _checked_socket(_context: click.Context, _parameter: click.Parameter, fd: int | None) -> int | None:
    """Return the descriptor. Raises BadParameter unless it is one of a socket."""
    with contextlib.suppress(OSError):
        if fd is None or stat.S_ISSOCK(os.fstat(fd).st_mode):
            return fd
    raise click.BadParameter("the parent process has left no socket under this number")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=3100, show_default=True, type=click.IntRange(0, 65535), help="The port to listen on.")
@click.option(
    "--fd",
    type=click.IntRange(0),
    callback=_checked_socket,
    help="Listen on this socket instead, inherited from the parent process.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="How many processes share the port; one uses about one core.",
)
def web(host: str, port: int, fd: int | None, workers: int) -> None:
    """
    Serve the HTTP API. Any number of these processes may run.

    With --workers, processes that end are started again, and each counts rates and requests for itself.
    """
    if fd is not None and workers > 1:
        raise click.UsageError("--workers needs a host and port of its own: leave out --fd, or --workers")
    settings = entry.begin("web")
    try:
        port = free_port(host, port) if fd is None else port
        if workers > 1:
            with entry.stoppable() as stop:
                web_processes.serve(host, port, workers, stop)
            return
        from routines.web_server import serve  # noqa: PLC0415 other commands start faster without the web framework

        serve(settings, host, port, fd)
    except CannotStart as error:
        raise terminal.Trouble(str(error)) from error


@main.command()
def scheduler() -> None:
    """Fire schedules when they are due. Any number of these processes may run."""
    with entry.process("scheduler") as (system, stop):
        running = schedulers.Scheduler(system.executor, system.store.after, system.settings.batch)
        schedulers.run(running, lambda: bootstrap.connect(system.settings), stop)


@main.command()
def projector() -> None:
    """Keep the read models up to date with the event log. Any number of these processes may run."""
    with entry.process("projector") as (system, stop):
        running = projectors.Projector(catalogue.ALL, system.store.after)
        projectors.run(
            running, lambda: bootstrap.connect(system.settings), stop, system.settings.limits.max_run_log_days
        )


@main.command()
def delivery() -> None:
    """
    Send webhooks, heartbeats and callbacks. Any number of these processes may run.

    They are sent to public addresses only, unless ROUTINES_ALLOW_PRIVATE_TARGETS is true.
    """
    with entry.process("delivery") as (system, stop):
        settings = system.settings
        client = Client(system.clock, allow_private=settings.allow_private_targets, limits=settings.limits)
        delivery_worker = deliveries.DeliveryWorker(system.executor, system.store.after, client)
        deliveries.run(delivery_worker, client, lambda: bootstrap.connect(settings), stop)


main.add_command(projections)
main.add_command(log)
main.add_command(export)
main.add_command(audit)
main.add_command(quotas)
main.add_command(secrets)
main.add_command(untaken)
main.add_command(worker)
main.add_command(demo)
