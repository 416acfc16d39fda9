"""`routines up`: the whole system on this machine."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from routines import bootstrap
from routines.commands import entry, failures, terminal
from routines.commands.init import tell_missing_keys, tell_outdated
from routines.errors import CannotStart
from routines.local.data_directory import DATA_DIR, DataDirectory
from routines.local.log_rotation import LogBounds
from routines.local.up import Options
from routines.local.up import up as supervise
from routines.settings import CHECKPOINT_VARIABLES, KEY_VARIABLE, URL_VARIABLE, BadSetting, from_env, optional_from_env


@click.command()
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
@click.option(
    "--projectors",
    default=1,
    show_default=True,
    type=click.IntRange(1, 16),
    help="How many projectors share the read models; one uses about one core when much is recorded.",
)
def up(data_dir: Path, **chosen: Any) -> None:
    """
    Run the whole system until Ctrl-C.

    The command starts an embedded Postgres in the data directory (or uses ROUTINES_DATABASE_URL) and the web,
    scheduler, projector and delivery processes. A process that dies is started again. The first start prints a board
    token, once, and keeps it in DATA_DIR/board.token. The keys of the secrets are made in DATA_DIR/secret.keys (or
    in the file that ROUTINES_KEY_FILE names), the key that signs checkpoints of the log in DATA_DIR/log.key (or in
    that of ROUTINES_LOG_KEY_FILE). Scripts find the URL, the process ids, the URL of the database and the
    key file in DATA_DIR/up.json. The log files in DATA_DIR/logs are rotated when they reach ROUTINES_LOG_MAX_BYTES
    (16777216); ROUTINES_LOG_FILES (4) older ones are kept of each.

    If root starts it, these processes run as the system account `routines`, and Postgres runs as `routines-db` or
    as `postgres` if only that account exists. Missing accounts are made with useradd. Where that account cannot enter
    DATA_DIR, as below /root, the database is made in /var/lib/routines-XXXXXXXX and DATA_DIR/postgres is a link to it:
    a backup of DATA_DIR alone does not hold it.
    """
    database_url = os.environ.get(URL_VARIABLE)
    key_file = os.environ.get(KEY_VARIABLE) or str(DataDirectory(data_dir).keys)
    try:
        settings = from_env(os.environ) if database_url else optional_from_env(os.environ)
    except BadSetting as error:
        raise terminal.CommandError(str(error)) from error
    entry.tell_ignored_settings()
    options = Options(
        data_dir=data_dir,
        database_url=database_url,
        key_file=key_file,
        log_key_file=settings.log_key_file,
        checkpoint_settings={name: os.environ[name] for name in CHECKPOINT_VARIABLES if name in os.environ},
        public_url=os.environ.get("ROUTINES_PUBLIC_URL"),
        log_bounds=LogBounds(settings.log_max_bytes, settings.log_files),
        **chosen,
    )
    sys.exit(supervise(options, partial(_prepare, key_file)))


def _prepare(key_file: str, url: str) -> str | None:
    try:
        settings = from_env({**os.environ, URL_VARIABLE: url, KEY_VARIABLE: key_file})
        tell_outdated(bootstrap.prepare(settings))
        tell_missing_keys(settings)
        return bootstrap.first_board_token(settings)
    except Exception as error:
        if (text := failures.explain(error)) is None:
            raise
        raise CannotStart(text) from error
