"""The command line of `routines worker`."""

import shutil
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import click
import msgspec

from routines.entry import stoppable
from routines.worker.command import Command
from routines.worker.errors import CannotWork, Refused, Stopped
from routines.worker.options import checked_token, checked_url, state_home
from routines.worker.server import Server
from routines.worker.work import Finished, Worker

ONCE_PATIENCE_S = 30.0


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--url",
    envvar="ROUTINES_URL",
    show_envvar=True,
    default="http://127.0.0.1:3100",
    show_default=True,
    callback=checked_url,
    help="Where Routines is.",
)
@click.option(
    "--token",
    envvar="ROUTINES_AGENT_TOKEN",
    show_envvar=True,
    required=True,
    callback=checked_token,
    help="The agent's key; better in the variable, since others can read a command line.",
)
@click.option("--once", is_flag=True, help="Work off what is in the inbox now, then end.")
@click.option("--poll-s", type=click.FloatRange(min=0.05), default=2.0, show_default=True, help="Look that often.")
@click.option(
    "--timeout-s", type=click.FloatRange(min=0, min_open=True), default=3600.0, show_default=True, help="Per issue."
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=state_home,
    show_default="~/.local/state/routines/worker",
    help="Where claims are kept; the same for all workers of this machine.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per issue; the other lines go to stderr.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def worker(  # noqa: PLR0913 the options
    *,
    url: str,
    token: str,
    once: bool,
    poll_s: float,
    timeout_s: float,
    state_dir: Path,
    as_json: bool,
    command: tuple[str, ...],
) -> None:
    """
    Run COMMAND for each issue of an agent, until Ctrl-C.

    \b
    export ROUTINES_AGENT_TOKEN=pcp_...
    routines worker -- sh -c 'echo "Hello from $ROUTINES_ISSUE_IDENTIFIER: $ROUTINES_ISSUE_TITLE"'

    COMMAND gets the issue as JSON on its standard input, and in its environment ROUTINES_ISSUE_ID,
    ROUTINES_ISSUE_IDENTIFIER, ROUTINES_ISSUE_TITLE, ROUTINES_ROUTINE_ID, ROUTINES_RUN_ID, ROUTINES_COMPANY_ID,
    ROUTINES_URL and, for requests of its own as X-Paperclip-Run-Id, ROUTINES_SESSION_ID. The end of its output
    becomes a comment. Exit status 0 makes the issue done; anything else cancels it with the reason. An issue
    that COMMAND moved itself (to blocked, say) is left as it is.

    Any number of workers may run. Ctrl-C or SIGTERM stops COMMAND and puts its issue back to todo. After a crash
    the next worker on this machine runs the issue again.

    \b
    Exit status: 0 all done, or nothing to do; 1 with --once if an issue was cancelled or handed back;
                 2 wrong token, unknown command, or (with --once) no server for half a minute.
    """  # noqa: D301 click knows lines to be left as they are by a real backspace
    if shutil.which(command[0]) is None:
        raise CannotWork(f"command not found: {command[0]}")

    def say(text: str) -> None:
        with suppress(OSError):
            click.echo(f"{time.strftime('%H:%M:%S')} {text}", err=as_json)

    def tell(finished: Finished) -> None:
        if as_json:
            click.echo(msgspec.json.encode(finished))

    patience_s = ONCE_PATIENCE_S if once else float("inf")
    with stoppable() as stop, closing(Server(url, token, stop=stop, say=say, patience_s=patience_s)) as server:
        working = Worker(server, Command(command, timeout_s), claims=state_dir, stop=stop, say=say)
        try:
            working.introduce()
            while True:
                outcomes = set()
                for finished in working.round():
                    tell(finished)
                    outcomes.add(finished.outcome)
                if once:
                    break
                if stop.wait(0 if outcomes else poll_s):
                    return
        except Stopped:
            sys.exit(int(once))
        except Refused as refusal:
            raise CannotWork(f"the server refuses to show the inbox ({refusal.status}: {refusal})") from None
    if not outcomes:
        say("nothing to do")
    sys.exit(int(not outcomes.isdisjoint({"cancelled", "handed back"})))
