"""
Where the commands of operators find their database.

`--database` or ROUTINES_DATABASE_URL names it. Without them, it is the database of the `routines up` that runs in the
data directory, and its keys are the file that this `routines up` uses.
"""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from routines import bootstrap
from routines.commands import terminal
from routines.local.data_directory import DATA_DIR, NotRunning, read_state
from routines.settings import KEY_VARIABLE, URL_VARIABLE, BadSetting, Settings, describe_database, from_env

Command = Callable[..., None]


def with_database(*, is_owner: bool = False, is_service: bool = True) -> Callable[[Command], Command]:
    """
    Give a command the options that name its database; it gets the settings for that as `settings`.

    With `is_owner` the database of `routines up` is entered as its owner. With `is_service` the command ends with the
    reason when the login cannot act as the service; the others use the login's own rights, so an auditor's is enough.
    """

    def decorate(command: Command) -> Command:
        @click.option(
            "--database",
            metavar="URL",
            envvar=URL_VARIABLE,
            show_envvar=True,
            help="The URL of the database (with a password, better by the variable: others see options in the list of "
            "processes); without it, the database of the `routines up` that runs in the data directory.",
        )
        @click.option(
            "--data-dir",
            type=click.Path(path_type=Path, file_okay=False),
            default=DATA_DIR,
            show_default=True,
            help="The data directory of `routines up`; its file up.json names the database and the keys.",
        )
        @functools.wraps(command)
        def run(*arguments: Any, database: str | None, data_dir: Path, **options: Any) -> None:
            settings = _find_settings(database, data_dir, is_owner=is_owner)
            if is_service:
                bootstrap.check_prepared(settings)
            command(*arguments, settings=settings, **options)

        return run

    return decorate


def _find_settings(database: str | None, data_dir: Path, *, is_owner: bool) -> Settings:
    """Return the settings for the database, and say which one it is, unless only a script would read that."""
    if database is not None:
        name = "--database" if _is_given("database") else URL_VARIABLE
        settings = _from_env({URL_VARIABLE: database}, name)
        if _is_given("data_dir"):
            _say_database(settings, f"named by {name}, which comes before --data-dir")
        elif sys.stderr.isatty():
            _say_database(settings, f"named by {name}")
        return settings
    try:
        state = read_state(data_dir)
    except NotRunning as error:
        raise terminal.CommandError(f"No database: {error}. Or name one: --database, or {URL_VARIABLE}") from error
    url = (is_owner and state.owner_database_url) or state.database_url
    keys = os.environ.get(KEY_VARIABLE) or state.key_file
    settings = _from_env({URL_VARIABLE: url, KEY_VARIABLE: keys}, URL_VARIABLE)
    ended_note = "" if state.is_running else f", though its process {state.pid} has ended"
    _say_database(settings, f"of the `routines up` in {data_dir.absolute()}{ended_note}")
    return settings


def _is_given(parameter: str) -> bool:
    return click.get_current_context().get_parameter_source(parameter) is ParameterSource.COMMANDLINE


def _from_env(variables: dict[str, str], name: str) -> Settings:
    """Return the settings of the environment with these variables; an error calls that of the database by `name`."""
    try:
        return from_env({**os.environ, **variables})
    except BadSetting as error:
        raise terminal.CommandError(str(error).replace(URL_VARIABLE, name)) from error


def _say_database(settings: Settings, sentence: str) -> None:
    terminal.echo(f"Database: {describe_database(settings.database_url)}, {sentence}", err=True)
