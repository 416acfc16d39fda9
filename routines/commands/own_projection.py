"""`routines projections run`: moves a projection of somebody's own, which is in a Python file."""

import importlib.util
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import click

from processes import own_projection as runner
from projections.engine.own_projection import AlreadyRuns, CannotFold, find_fault, forget
from projections.engine.read_model import ReadModel
from routines import bootstrap
from routines.commands import terminal
from routines.commands.database import with_database
from routines.commands.progress import PositionBar
from routines.commands.stopping import stop_on_signal
from routines.settings import Settings


@click.command()
@click.argument("source", metavar="FILE:NAME")
@with_database(is_service=False)
@click.option("--once", is_flag=True, help="End when everything that is in the log now is folded.")
@click.option("--rebuild", is_flag=True, help="Fold the whole log anew first; readers see the old rows until then.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, and no progress bar.")
def run(source: str, *, once: bool, rebuild: bool, as_json: bool, settings: Settings) -> None:
    """
    Run a projection of your own: FILE is a Python file, NAME the ReadModel in it.

    Its tables are made in a schema of its own, `own_` and the name that the ReadModel has, and its position is kept
    beside them, so the command goes on where it ended. If its tables or its version change, it is folded anew beside the
    old rows, which are replaced at the end. An event that the fold cannot take stops this projection and no other; the
    command names the event. The login needs to read the log and to create schemas in the database, no more.

    docs/analytics.md shows such a file, and how to test it without a database.
    """
    model = _load(source)
    connect = partial(bootstrap.connect_own_projection, settings)
    with stop_on_signal() as stop, PositionBar(model.name, quiet=as_json) as bar:
        try:
            if rebuild:
                with connect() as conn:
                    forget(conn, model)
            if once:
                with connect() as conn:
                    position = runner.catch_up(conn, model, stop, bar.update)
            else:
                runner.follow(connect, model, stop, bar.update)
                position = bar.position
        except AlreadyRuns as error:
            raise terminal.CommandError(str(error)) from error
        except CannotFold as error:
            raise terminal.CommandError(
                f"The projection {model.name} stopped before {error}{_place_of_error(error, source)}. Everything before that event is "
                "folded. Correct the file and run it again"
            ) from error
    if as_json:
        terminal.echo_json({"name": model.name, "schema": f"own_{model.name}", "position": position})
    else:
        terminal.echo(f"Schema own_{model.name} holds the log up to position {position}")


def _load(source: str) -> ReadModel:
    """Return the read model that a file has under a name. Raises CommandError."""
    file, _, name = source.rpartition(":")
    if not file or not name.isidentifier():
        raise terminal.CommandError(f"{source}: say it as FILE:NAME, such as success_rate.py:success_rate")
    path = Path(file)
    if not path.is_file():
        raise terminal.CommandError(f"{file}: there is no such file")
    model = _execute(path).get(name)
    if not isinstance(model, ReadModel):
        raise terminal.CommandError(f"{file}: {name} is no ReadModel of routines.analysis, or is not there")
    if fault := find_fault(model):
        raise terminal.CommandError(f"{file}: {fault}")
    return model


def _execute(path: Path) -> dict[str, Any]:
    name = f"own projection {path.stem}"  # which no module of ours or of a library has
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise terminal.CommandError(f"{path}: a Python file has the ending .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # msgspec resolves the annotations of its structs through sys.modules
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise terminal.CommandError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return vars(module)


def _place_of_error(error: CannotFold, source: str) -> str:
    """Return the line of the file in which the error was raised, if it was raised there."""
    file = Path(source.rpartition(":")[0]).resolve()
    frames = traceback.extract_tb(error.__cause__.__traceback__) if error.__cause__ else []
    line = next((frame.lineno for frame in reversed(frames) if Path(frame.filename).resolve() == file), None)
    return "" if line is None else f" ({file.name}, line {line})"
