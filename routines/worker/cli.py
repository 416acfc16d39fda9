"""The command line of `routines worker`."""

import os
import socket
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock

import click
from msgspec.structs import replace

from routines.commands import terminal
from routines.commands.stopping import stop_on_signal
from routines.worker.command import Command, find_program
from routines.worker.errors import CannotWork, RequestRefused, Stopped
from routines.worker.jobs import Jobs
from routines.worker.options import checked_names, checked_token, checked_url, state_home
from routines.worker.output import Stream
from routines.worker.server import Server
from routines.worker.supervision import Guard
from routines.worker.tasks import MOST_JSON, TaskWorker
from routines.worker.tokens import Tokens
from routines.worker.work import Worker

ONCE_PATIENCE_S = 30.0
NOT_DONE = {"cancelled", "tried again", "failed", "handed back", "stopped", "left"}


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--url",
    envvar="ROUTINES_URL",
    show_envvar=True,
    default="http://127.0.0.1:3100",
    show_default=True,
    callback=checked_url,
    help="The URL of Routines.",
)
@click.option(
    "--token",
    envvar=["ROUTINES_AGENT_TOKEN", "JETTY_API_TOKEN"],
    show_envvar=True,
    required=True,
    callback=checked_token,
    help="The key of an agent (pcp_...) or of a collection (mlc_...). Prefer the variable, since other users of the "
    "machine can read a command line.",
)
@click.option("--task", help="With the key of a collection: take only trajectories of the task of this name.")
@click.option("--once", is_flag=True, help="Work on what waits now, then end.")
@click.option(
    "--poll-s",
    type=click.FloatRange(min=0.05),
    default=2.0,
    show_default=True,
    help="Seconds between two looks for work, while there is none.",
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    help="Seconds after which COMMAND is stopped, for each issue or trajectory.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1, max=100),
    default=1,
    show_default=True,
    help="Run COMMAND for so many issues or trajectories at once.",
)
@click.option(
    "--lease-s",
    type=click.IntRange(min=2, max=86_400),
    default=300,
    show_default=True,
    help="Seconds after which an issue is free again when the worker is not heard of. COMMAND is stopped before that.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=state_home,
    show_default="~/.local/state/routines/worker",
    help="The directory of the claim files; all workers of this machine must use the same.",
)
@click.option(
    "--allow-env",
    "allowed",
    multiple=True,
    envvar="ROUTINES_WORKER_ALLOW_ENV",
    show_envvar=True,
    metavar="NAME",
    callback=checked_names,
    help="Give COMMAND this variable of the routine's or the collection's environment although programs take it for an "
    "order (PATH, PYTHONPATH, HTTPS_PROXY ...). The option may be repeated; in the variable, blanks separate the names.",
)
@click.option(
    "--pass-token",
    is_flag=True,
    envvar="ROUTINES_WORKER_PASS_TOKEN",
    show_envvar=True,
    help="Give COMMAND the key as well, as ROUTINES_AGENT_TOKEN or JETTY_API_TOKEN. Without it, COMMAND gets neither "
    "variable.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object for each issue or trajectory; the other lines go to standard error.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def worker(  # noqa: PLR0913 the options
    *,
    url: str,
    token: str,
    task: str | None,
    once: bool,
    poll_s: float,
    timeout_s: float,
    concurrency: int,
    lease_s: int,
    state_dir: Path,
    allowed: tuple[str, ...],
    pass_token: bool,
    as_json: bool,
    command: tuple[str, ...],
) -> None:
    """
    Run COMMAND for each issue of an agent, or each trajectory of a collection, until Ctrl-C.

    \b
    export ROUTINES_AGENT_TOKEN=pcp_...
    routines worker -- sh -c 'echo "Hello from $ROUTINES_ISSUE_IDENTIFIER: $ROUTINES_ISSUE_TITLE"'

    COMMAND gets one JSON object on its standard input: issue, run, routine, trigger, payload, variables, plannedAt,
    attempt, maxAttempts, start and deadline. Its environment has ROUTINES_ISSUE_ID, ROUTINES_ISSUE_IDENTIFIER, ROUTINES_ISSUE_TITLE,
    ROUTINES_ROUTINE_ID, ROUTINES_RUN_ID, ROUTINES_RUN_SOURCE, ROUTINES_TRIGGER_ID, ROUTINES_PAYLOAD,
    ROUTINES_VARIABLE_name for each variable, ROUTINES_PLANNED_AT, ROUTINES_ATTEMPT, ROUTINES_MAX_ATTEMPTS,
    ROUTINES_START, ROUTINES_DEADLINE, ROUTINES_COMPANY_ID, ROUTINES_URL and ROUTINES_SESSION_ID, which its own requests send as X-Paperclip-Run-Id. A value
    of more than 16 KiB, and what would be more than 64 KiB in total, is on the standard input only; ROUTINES_OMITTED names it.

    The environment of the routine (its `env`) is added to that of COMMAND, and is on the standard input as
    environmentVariables.

    The output is shown as it comes, and becomes a comment: the first and last 30000 characters of standard output, and
    the first and last 10000 of standard error. Exit status 0 marks the issue as done; any other status cancels it, and the
    run fails with the reason, like "exit status 3: the last line of standard error", or is tried again later. An issue that COMMAND itself has
    moved to in_review, blocked or done stays as it is.

    When the issue is cancelled, is put back to todo, or becomes somebody else's, COMMAND is stopped within seconds:
    SIGTERM to all its processes, and SIGKILL 10 s later to those that are left. Its output becomes a comment.

    With the key of a collection (mlc_...), COMMAND gets a JSON object of init_params, secret_params,
    environment_variables and trajectory on its standard input, and in its environment the collection's variables,
    ROUTINES_TASK, ROUTINES_TRAJECTORY_ID, ROUTINES_WORKFLOW_ID, ROUTINES_RUN_ID and ROUTINES_URL. Its standard output
    becomes the outputs of the task's last step: a JSON object as it is, or not at all; of any other text the first and
    last 50000 characters, as "text". A JSON object whose names are all steps of the task gives the outputs of these
    steps. Exit status 0 completes the trajectory; any other status fails it with the reason.

    Whoever administers a routine or a collection writes its variables. Shells, loaders, interpreters and common tools
    take some variables for orders (PATH, LD_PRELOAD, BASH_ENV, NODE_OPTIONS ...). A run or a trajectory with such a
    variable fails without COMMAND being started, unless --allow-env names the variable. On the standard input they are data, and always included.

    \b
    export JETTY_API_TOKEN=mlc_...
    routines worker -- sh -c 'jq .init_params'

    Any number of workers may run, and each may run COMMAND several times at once (--concurrency). Ctrl-C or SIGTERM
    stops COMMAND and puts its issues back to todo. When a worker dies, freezes or loses its connection, COMMAND ends
    before the lease (--lease-s) does, and the issue is free for other workers after it. The next worker on the same
    machine runs it again at once. While COMMAND runs, GET /api/routine-runs/{id}/log has what it prints.

    \b
    Exit status: 0  Everything is done, or there was nothing to do.
                 1  With --once: an issue or a trajectory was cancelled, failed, handed back, stopped or lost.
                 2  The token is wrong, the command is unknown or (with --once) no server has answered for 30 s.
    """  # noqa: D301 the \b is click's
    if (program := find_program(command[0])) is None:
        raise CannotWork(f"command not found: {command[0]}")

    tokens = Tokens(token, passed=pass_token)
    showing = Lock()

    def say(text: str) -> None:
        with suppress(OSError), showing:
            terminal.echo(tokens.mask(f"{time.strftime('%H:%M:%S')} {text}"), err=as_json)

    def show(label: str, _stream: Stream, text: str) -> None:
        prefix = f"  {label} | " if concurrency > 1 else "  | "
        with suppress(OSError), showing:
            terminal.echo(*(prefix + line for line in text.splitlines()), err=as_json)

    def tell(finished: object) -> None:
        if as_json:
            terminal.echo_json(finished)

    patience_s = ONCE_PATIENCE_S if once else float("inf")
    with (
        stop_on_signal() as stop,
        closing(Server(url, token, stop=stop, say=say, patience_s=patience_s)) as server,
        closing(Guard()) as guard,
    ):
        working: Worker | TaskWorker
        run = Command(command, program, timeout_s)
        if tokens.is_of_collection:
            run = replace(run, most_output=MOST_JSON)
            name = f"{socket.gethostname()}:{os.getpid()}"
            working = TaskWorker(
                server, run, tokens, task=task, name=name, stop=stop, say=say, show=show, guard=guard, allowed=allowed
            )
        else:
            working = Worker(
                server,
                run,
                tokens,
                claims=state_dir,
                lease_s=lease_s,
                stop=stop,
                say=say,
                show=show,
                guard=guard,
                allowed=allowed,
            )
        jobs = Jobs(concurrency, stop, tell)
        try:
            try:
                working.introduce()
                while True:
                    started_count = jobs.start(working.take_jobs())
                    if once or stop.wait(0 if started_count else poll_s):
                        break
            except BaseException:
                stop.set()
                raise
            finally:
                jobs.finish()
        except Stopped:
            sys.exit(int(once))
        except RequestRefused as refusal:
            raise CannotWork(f"the server refuses to show what waits ({refusal.status}: {refusal})") from None
    if not once:
        return
    if not jobs.outcomes:
        say("nothing to do")
    sys.exit(int(not jobs.outcomes.isdisjoint(NOT_DONE)))
