"""An end of a run that another routine waits for fires that routine, once."""

from typing import NamedTuple
from uuid import UUID

from domain.events import (
    RunCompleted,
    RunFailed,
    RunFired,
    TriggerCreated,
    TriggerDeleted,
    TriggerEvent,
    TriggerRestored,
    TriggerUpdated,
)
from domain.values import Failed, Opened, RoutineSettings, Skipped
from verification.simulation.laws.state import State

DEEPEST = 10  # runs that follow the first one of a chain


class Link(NamedTuple):
    """A chain: the routine runs when a run of another has ended as is wanted."""

    routine_id: UUID
    after_routine_id: UUID | None
    wanted: str | None
    enabled: bool


class ChainLaws:
    """Which runs are owed to the ends of others."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._links: dict[UUID, Link] = {}
        # Routines, by their runs that others wait for and that have not ended.
        self._awaited_runs: dict[UUID, UUID] = {}
        self._owed_runs: dict[tuple[UUID, UUID], UUID] = {}  # routines, by the link and the run that is to fire them
        self._depths: dict[UUID, int] = {}  # by run: how deep in a chain it is

    def read_link(self, id_: UUID, event: TriggerEvent) -> None:
        match event:
            case (
                TriggerCreated(kind="chain", settings=new, routine_id=routine_id)
                | TriggerRestored(kind="chain", settings=new, routine_id=routine_id)
            ):
                self._links[id_] = Link(routine_id, new.after_routine_id, new.after_outcome, new.enabled)
            case TriggerUpdated(settings=new) if id_ in self._links:
                routine_id = self._links[id_].routine_id
                self._links[id_] = Link(routine_id, new.after_routine_id, new.after_outcome, new.enabled)
            case TriggerDeleted() if id_ in self._links:
                self._links[id_] = self._links[id_]._replace(enabled=False)
            case _:
                pass

    def read_firing(self, event: RunFired, id_: UUID) -> None:
        """Note how deep in a chain a run is, and what waits for its end; one that has failed is at its end."""
        if event.chain_depth:
            self._depths[id_] = event.chain_depth
        if event.source == "chain":
            self._read_chained(event, id_, self._state.routines[event.routine_id])
        if isinstance(event.outcome, Failed):
            self._owe_runs(id_, event.routine_id, "failed")
        elif isinstance(event.outcome, Opened) and self._waiting_for(event.routine_id):
            self._awaited_runs[id_] = event.routine_id

    def read_end(self, run_id: UUID, event: RunCompleted | RunFailed) -> None:
        """Owe runs to the end of a run that others wait for, unless its successor took its place."""
        routine_id = self._awaited_runs.pop(run_id, None)
        if routine_id is not None and getattr(event, "successor_run_id", None) is None:
            self._owe_runs(run_id, routine_id, "succeeded" if isinstance(event, RunCompleted) else "failed")

    def _waiting_for(self, routine_id: UUID) -> list[UUID]:
        """Return the links that wait for the ends of a routine's runs."""
        return [id_ for id_, link in self._links.items() if link.enabled and link.after_routine_id == routine_id]

    def _owe_runs(self, run_id: UUID, routine_id: UUID, outcome: str) -> None:
        for id_ in self._waiting_for(routine_id):
            if self._links[id_].wanted in ("any", outcome):
                self._owed_runs[id_, run_id] = self._links[id_].routine_id

    def _read_chained(self, event: RunFired, id_: UUID, settings: RoutineSettings) -> None:
        if event.trigger_id is None or event.cause_run_id is None:
            self._state.report_broken_rule(event.routine_id, "chained by nothing")
            return
        if self._owed_runs.pop((event.trigger_id, event.cause_run_id), None) != event.routine_id:
            self._state.report_broken_rule(
                event.routine_id, f"run {id_} is chained to {event.cause_run_id}, and nothing was owed"
            )
        if event.chain_depth != self._depths.get(event.cause_run_id, 0) + 1 or event.chain_depth > DEEPEST + 1:
            self._state.report_broken_rule(event.routine_id, f"run {id_} is {event.chain_depth} deep")
        match event.outcome:
            case Skipped(reason="routine_paused" | "routine_archived" as reason):
                if settings.status != reason.removeprefix("routine_"):
                    self._state.report_broken_rule(event.routine_id, f"chained run {id_} is {reason}")
            case Skipped(reason="chain_too_long"):
                if event.chain_depth <= DEEPEST:
                    self._state.report_broken_rule(event.routine_id, f"run {id_} is only {event.chain_depth} deep")
            case Skipped(reason="trigger_disabled" | "trigger_deleted"):
                if self._links[event.trigger_id].enabled:
                    self._state.report_broken_rule(
                        event.routine_id, f"chained run {id_} is skipped, and its link is enabled"
                    )
            case _ if settings.status != "active":
                self._state.report_broken_rule(event.routine_id, f"chained run {id_} though it is {settings.status}")
            case _:
                pass

    def judge_end(self) -> None:
        """Judge at the end that each end of a run has fired what waited for it."""
        for (link_id, run_id), routine_id in self._owed_runs.items():
            self._state.report_violation("lost", routine_id, f"the end of run {run_id} has fired nothing by {link_id}")
