"""The work on the trajectories of a collection, over /api/v1/workers."""

import json
import shlex
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from threading import Event as Stop
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from routines.worker import environment
from routines.worker.command import Command, CommandResult
from routines.worker.errors import CannotWork, RequestRefused, Stopped
from routines.worker.guard import clock
from routines.worker.jobs import Job
from routines.worker.live_log import LiveLog
from routines.worker.output import Show, Stream, shorten
from routines.worker.server import Say, Server
from routines.worker.supervision import Guard, Lease, Supervision
from routines.worker.tokens import Tokens
from routines.worker.usage import usage_of

LOST = (404, 409)  # another worker has the trajectory, or it no longer exists
MOST_REASON = 2_000  # characters
MOST_JSON = 1_000_000  # characters of standard output that are kept; the server takes less as outputs, and says so
MOST_TEXT = 100_000  # characters of an output that is not JSON
USAGE = {"costMicros": "cost_micros", "inputTokens": "input_tokens", "outputTokens": "output_tokens"}
NOT_WHOLE = f"the output is JSON of more than {MOST_JSON} characters"

Outcome = Literal["completed", "failed", "handed back", "stopped", "left"]


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a trajectory; one line of `--json`."""

    trajectory_id: int
    workflow_id: str
    name: str
    run_id: str
    outcome: Outcome
    reason: str | None
    exit_status: int | None
    duration_s: float
    output: str
    error_output: str


class TaskWorker:
    """Claims pending trajectories of a collection, and works on each."""

    def __init__(  # noqa: PLR0913 the options of the command line
        self,
        server: Server,
        command: Command,
        tokens: Tokens,
        *,
        task: str | None,
        name: str,
        stop: Stop,
        say: Say,
        show: Show,
        guard: Guard,
        allowed: Collection[str] = (),
    ) -> None:
        self.server = server
        self.command = command
        self.tokens = tokens
        self.task = task
        self.name = name
        self.stop = stop
        self.say = say
        self.show = show
        self.guard = guard
        self.allowed = (
            allowed  # variables of the collection that the command gets although they may choose what code runs
        )
        self.collection = ""

    def introduce(self) -> None:
        """Find out which collection the key is bound to. Raises CannotWork unless it is exactly one."""
        collections = self.server.ask("GET", "/api/v1/collections/")
        if len(collections) != 1:
            raise CannotWork("the key is not bound to one collection: is it an mlc_ key?")
        self.collection = collections[0]["name"]
        self.say(f"working for {self.collection} at {self.server.url}: {shlex.join(self.command.argv)}")

    def take_jobs(self) -> Iterator[Job[Finished]]:
        """
        Claim pending trajectories until there are none or `stop` is set.

        Yields the work on each, before it claims the next one.
        """
        while not self.stop.is_set():
            asked_at = clock()
            claim = self.server.ask("POST", self._worker_path("claim"), {"worker": self.name, "task": self.task})
            if claim is None:
                return
            yield partial(self._run_trajectory, claim, Lease(claim["lease_s"], asked_at))

    def _worker_path(self, *parts: object) -> str:
        return "/".join(map(str, ("/api/v1/workers", self.collection, *parts)))

    def _run_trajectory(self, claim: dict[str, Any], lease: Lease) -> Finished:
        trajectory = claim["trajectory"]
        self.say(f"{trajectory['workflow_id']} taken")
        path = self._worker_path(trajectory["trajectory_id"], claim["claim_id"])
        document = {
            name: claim[name] for name in ("init_params", "secret_params", "environment_variables", "trajectory")
        }
        variables = environment.sort_variables(claim["environment_variables"], self.allowed)
        if variables.unusable:
            names = environment.list_names(variables.unusable)
            self.say(f"{trajectory['workflow_id']}: no variables can be made of these of the collection: {names}")
        if variables.refused:
            ending = CommandResult(
                reason=environment.NOT_TAKEN.format("collection's", environment.list_names(variables.refused))
            )
        else:
            own_values = own_variables(trajectory, self.server.url)
            env = {**self.tokens.command_environment(), **variables.accepted, **own_values}
            find_loss = partial(self._find_loss, path, trajectory)
            with (
                Supervision(find_loss, self.stop, lease, self.guard) as supervision,
                LiveLog(partial(self._log, path)) as live_log,
            ):

                def hear(stream: Stream, text: str) -> None:
                    self.show(trajectory["workflow_id"], stream, text)
                    live_log.add(stream, text)

                secrets = self.tokens.secrets_with(claim["environment_variables"], claim["secret_params"])
                ending = self.command.run(env, json.dumps(document).encode(), secrets, supervision, hear)
        try:
            outcome, reason = self._report(path, trajectory, ending)
        except RequestRefused as refusal:
            outcome, reason = "left", str(refusal)
        except Stopped:
            self.say(f"{trajectory['workflow_id']} not reported: another worker takes it when its lease is over")
            raise
        self.say(f"{trajectory['workflow_id']} {outcome}{f': {reason}' if reason else ''} ({ending.duration_s:.1f} s)")
        return Finished(
            trajectory_id=trajectory["trajectory_id"],
            workflow_id=trajectory["workflow_id"],
            name=trajectory["name"],
            run_id=trajectory["run_id"],
            outcome=outcome,
            reason=reason,
            exit_status=ending.exit_status,
            duration_s=round(ending.duration_s, 3),
            output=ending.output,
            error_output=ending.error_output,
        )

    def _log(self, path: str, part: Any) -> bool | None:
        """Send a part to the log of the trajectory; return whether it is full."""
        answer = self.server.try_once("POST", f"{path}/log", part)
        return None if answer is None else bool(answer["is_full"])

    def _find_loss(self, path: str, trajectory: Mapping[str, Any], lease: Lease) -> str | None:
        """
        Extend the lease when it is time. Return why the trajectory is lost, or None.

        Raises RequestRefused when another worker has it.
        """
        if lease.is_due:
            asked_at = clock()
            if self.server.try_once("POST", f"{path}/extend") is not None:
                lease.renew(asked_at)
        name, id_ = quote(trajectory["name"]), trajectory["trajectory_id"]
        current = self.server.try_once("GET", f"/api/v1/db/trajectory/{name}/{id_}")
        if current is None or current["status"] == "running":
            return None
        return f"the trajectory is {current['status']}{f' ({error})' if (error := current.get('error')) else ''}"

    def _report(self, path: str, trajectory: Mapping[str, Any], ending: CommandResult) -> tuple[Outcome, str | None]:
        """
        Report the outputs and the end of the trajectory.

        Outputs that the server refuses fail the trajectory: otherwise it would run again whenever its lease is over.
        """
        if ending.lost:
            return "stopped", ending.reason
        if ending.stopped:
            self.server.ask("POST", f"{path}/finish", {"status": "pending"})
            return "handed back", ending.reason
        is_cut = is_cut_json(ending)
        reason = ending.reason or (NOT_WHOLE if is_cut else None)
        status: Outcome = "failed" if reason else "completed"
        try:
            for step, outputs in outputs_of("" if is_cut else ending.output, trajectory["total_steps"]).items():
                self.server.ask("POST", f"{path}/steps", {"step": step, "status": status, "outputs": outputs})
        except RequestRefused as refusal:
            if refusal.status in LOST:
                raise
            status, reason = "failed", f"the outputs were refused ({refusal.status}: {refusal})"
        reason = reason and reason[:MOST_REASON]
        self._report_usage(path, trajectory, ending)
        self.server.ask("POST", f"{path}/finish", {"status": status, "error": reason})
        return status, reason

    def _report_usage(self, path: str, trajectory: Mapping[str, Any], ending: CommandResult) -> None:
        """Report what the command has used. A refusal keeps no trajectory from its end."""
        usage = usage_of(ending.output, {name: trajectory.get(ours) for name, ours in USAGE.items()})
        if usage is None:
            return
        try:
            self.server.ask("POST", f"{path}/usage", {USAGE[name]: number for name, number in usage.items()})
        except RequestRefused as refusal:
            self.say(f"{trajectory['workflow_id']}: usage refused ({refusal})")


def is_cut_json(ending: CommandResult) -> bool:
    """Return whether the output looks like JSON of which a part is not there."""
    return not ending.is_whole and looks_like_json(ending.output)


def looks_like_json(text: str) -> bool:
    """Return whether the text begins like an object or an array: such a text is kept whole or refused, and never cut."""
    return text.lstrip().startswith(("{", "["))


def outputs_of(text: str, steps: list[str]) -> dict[str, dict[str, Any]]:
    """
    Return the outputs by step that a command has printed; empty when it has printed nothing.

    A JSON object whose names are all steps, each with an object, gives the outputs of these steps. Any other object,
    and a text under the name "text", are the outputs of the last step. A long text that is no JSON is cut in the middle.
    """
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and value and all(name in steps and isinstance(value[name], dict) for name in value):
        return value
    outputs = (
        value if isinstance(value, dict) else {"text": text if looks_like_json(text) else shorten(text, MOST_TEXT)}
    )
    return {steps[-1] if steps else "run": outputs} if outputs != {"text": ""} else {}


def own_variables(trajectory: Mapping[str, Any], url: str) -> dict[str, str]:
    """Return the ROUTINES_* variables of the trajectory; secret parameters are never among them."""
    return {
        "ROUTINES_URL": url,
        "ROUTINES_TASK": trajectory["name"],
        "ROUTINES_TRAJECTORY_ID": str(trajectory["trajectory_id"]),
        "ROUTINES_WORKFLOW_ID": trajectory["workflow_id"],
        "ROUTINES_RUN_ID": trajectory["run_id"],
    }
