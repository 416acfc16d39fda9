"""The command line of `routines demo`."""

import contextlib
import shlex
import signal
from pathlib import Path

import click

from routines.demo.console import DemoConsole
from routines.demo.fixtures import Board, Failed, Fixtures
from routines.demo.walkthrough import Walkthrough
from routines.local.data_directory import DATA_DIR, NotRunning, read_state
from routines.worker.options import checked_token, checked_url

URL = "http://127.0.0.1:3100"


@click.command()
@click.option(
    "--url",
    envvar="ROUTINES_URL",
    show_envvar=True,
    callback=checked_url,
    help="The URL of Routines; without it, the one in up.json of the data directory, else http://127.0.0.1:3100.",
)
@click.option(
    "--token",
    envvar="ROUTINES_BOARD_TOKEN",
    show_envvar=True,
    callback=checked_token,
    help="A board token; without it, the token in the token file is used.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="DATA_DIR/board.token",
    help="The file in which `routines up` keeps the board token.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA_DIR,
    show_default=True,
    help="The data directory of `routines up`; its file up.json has the URL.",
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(min=0, min_open=True),
    default=150.0,
    show_default=True,
    help="Give up after so many seconds.",
)
def demo(*, url: str | None, token: str | None, token_file: Path | None, data_dir: Path, timeout_s: float) -> None:
    """
    Show how a schedule fires, on a running system.

    The demo makes a company, an agent and a routine that is due every minute, and runs a worker for the agent. It shows
    the tick, the run that fires, its issue, and the end of the run. It takes up to a minute and a half, and pauses the
    routine at its end.

    \b
    make up               in one terminal, then in another:
    routines demo
    """  # noqa: D301 the \b is click's
    path = token_file or data_dir / "board.token"
    board = Board(url or _url_of(data_dir), token or _token_of(path))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the fixtures are cleared
    console = DemoConsole()
    fixtures = Walkthrough(board, console, timeout_s).play()
    token_source = "$ROUTINES_BOARD_TOKEN" if token else f"$(cat {shlex.quote(str(path))})"
    _show_next(console, board.url, f'curl -H "Authorization: Bearer {token_source}"', fixtures)


def _url_of(data_dir: Path) -> str:
    with contextlib.suppress(NotRunning):
        return read_state(data_dir).url
    return URL


def _token_of(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        text = f"no board token in {path} ({error.strerror}): start the system with `make up`, or give --token one from `routines board-key`"
        raise Failed(text) from None


def _show_next(console: DemoConsole, url: str, curl: str, fixtures: Fixtures) -> None:
    console.step("next", "the routine is paused now; its history:")
    console.continue_step(f"{curl} {url}/api/routines/{fixtures.routine['id']}/runs")
    console.step("", f"all that the API can do: {url}/api/docs")
    console.step("", "a command of yours for an agent of yours: routines worker --help")
