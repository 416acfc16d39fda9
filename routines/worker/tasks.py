"""What a worker does with the trajectories of a collection: the outside end of /api/v1/workers."""

import json
import os
import shlex
from collections.abc import Collection, Iterator, Mapping
from threading import Event as Stop
from threading import Thread
from typing import Any, Literal, Self

import msgspec

from routines.worker import environment
from routines.worker.command import Command, Ended
from routines.worker.errors import CannotWork, Refused, Stopped
from routines.worker.server import Say, Server

OF_A_LEASE = 3  # it is extended so often before it would be over
LOST = (404, 409)  # another has the trajectory, or it is there no more
MOST_REASON = 2_000  # characters
NOT_TAKEN = (
    "the collection's environment has {}: programs take such variables for orders, so this worker does not set them. "
    "Remove them, or ask the worker's operator to allow them (--allow-env NAME)"
)

Outcome = Literal["completed", "failed", "handed back", "left"]


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


class TaskWorker:
    """Takes trajectories that wait, one at a time."""

    def __init__(  # noqa: PLR0913 what the command line gives
        self,
        server: Server,
        command: Command,
        *,
        task: str | None,
        name: str,
        stop: Stop,
        say: Say,
        allowed: Collection[str] = (),
    ) -> None:
        self.server = server
        self.command = command
        self.task = task
        self.name = name
        self.stop = stop
        self.say = say
        self.allowed = allowed  # variables of the collection that are taken although they may choose what is run
        self.collection = ""

    def introduce(self) -> None:
        """Find out whose collection it is."""
        collections = self.server.ask("GET", "/api/v1/collections/")
        if len(collections) != 1:
            raise CannotWork("the key is not bound to one collection: is it an mlc_ key?")
        self.collection = collections[0]["name"]
        self.say(f"working for {self.collection} at {self.server.url}: {shlex.join(self.command.argv)}")

    def round(self) -> Iterator[Finished]:
        """Work off what waits now."""
        while not self.stop.is_set():
            claim = self.server.ask("POST", self._path("claim"), {"worker": self.name, "task": self.task})
            if claim is None:
                return
            yield self._work(claim)

    def _path(self, *parts: object) -> str:
        return "/".join(map(str, ("/api/v1/workers", self.collection, *parts)))

    def _work(self, claim: dict[str, Any]) -> Finished:
        trajectory = claim["trajectory"]
        self.say(f"{trajectory['workflow_id']} taken")
        at = self._path(trajectory["trajectory_id"], claim["claim_id"])
        given = {name: claim[name] for name in ("init_params", "secret_params", "environment_variables", "trajectory")}
        variables = environment.sort(claim["environment_variables"], self.allowed)
        if variables.unusable:
            names = environment.listed(variables.unusable)
            self.say(f"{trajectory['workflow_id']}: no variables can be made of these of the collection: {names}")
        if variables.refused:
            ended = Ended(NOT_TAKEN.format(environment.listed(variables.refused)))
        else:
            env = {**os.environ, **variables.taken, **own_variables(trajectory, self.server.url)}
            with Lease(self.server, at, claim["lease_s"], self.stop) as lease:
                ended = self.command.run(env, json.dumps(given).encode(), lease)
        try:
            outcome, reason = self._report(at, trajectory, ended)
        except Refused as refusal:
            outcome, reason = "left", str(refusal)
        except Stopped:
            self.say(f"{trajectory['workflow_id']} not reported: another worker takes it when its lease is over")
            raise
        self.say(f"{trajectory['workflow_id']} {outcome}{f': {reason}' if reason else ''} ({ended.duration_s:.1f} s)")
        return Finished(
            trajectory_id=trajectory["trajectory_id"],
            workflow_id=trajectory["workflow_id"],
            name=trajectory["name"],
            run_id=trajectory["run_id"],
            outcome=outcome,
            reason=reason,
            exit_status=ended.exit_status,
            duration_s=round(ended.duration_s, 3),
            output=ended.output,
        )

    def _report(self, at: str, trajectory: Mapping[str, Any], ended: Ended) -> tuple[Outcome, str | None]:
        """Outputs that the server does not take fail the trajectory: left alone, it would be run again and again."""
        if ended.stopped:
            self.server.ask("POST", f"{at}/finish", {"status": "pending"})
            return "handed back", ended.reason
        status: Outcome = "failed" if ended.reason else "completed"
        reason = ended.reason
        try:
            for step, outputs in outputs_of(ended.output, trajectory["total_steps"]).items():
                self.server.ask("POST", f"{at}/steps", {"step": step, "status": status, "outputs": outputs})
        except Refused as refusal:
            if refusal.status in LOST:
                raise
            status, reason = "failed", f"the outputs were refused ({refusal.status}: {refusal})"[:MOST_REASON]
        self.server.ask("POST", f"{at}/finish", {"status": status, "error": reason})
        return status, reason


class Lease:
    """Keeps a trajectory ours while the command runs; set when we are to stop, or when another has it."""

    def __init__(self, server: Server, at: str, lease_s: float, stop: Stop) -> None:
        self._server = server
        self._at = at
        self._pause_s = lease_s / OF_A_LEASE
        self._stop = stop
        self._over = Stop()
        self._lost = Stop()
        self._thread = Thread(target=self._extend, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def is_set(self) -> bool:
        return self._stop.is_set() or self._lost.is_set()

    def _extend(self) -> None:
        while not self._over.wait(self._pause_s):
            try:
                self._server.ask("POST", f"{self._at}/extend")
            except (Refused, CannotWork, Stopped):
                self._lost.set()
                return


def outputs_of(text: str, steps: list[str]) -> dict[str, dict[str, Any]]:
    """
    The outputs of each step that a command has said something of.

    A JSON object whose names are all steps of the task is theirs; any other is the last step's, as is a text.
    """
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and found and all(name in steps and isinstance(found[name], dict) for name in found):
        return found
    outputs = found if isinstance(found, dict) else {"text": text}
    return {steps[-1] if steps else "run": outputs} if outputs != {"text": ""} else {}


def own_variables(trajectory: Mapping[str, Any], url: str) -> dict[str, str]:
    """The trajectory in ROUTINES_* variables; never a secret parameter."""
    return {
        "ROUTINES_URL": url,
        "ROUTINES_TASK": trajectory["name"],
        "ROUTINES_TRAJECTORY_ID": str(trajectory["trajectory_id"]),
        "ROUTINES_WORKFLOW_ID": trajectory["workflow_id"],
        "ROUTINES_RUN_ID": trajectory["run_id"],
    }
