"""The route of differences: what is not the same of a routine at two moments, and what has changed it (our addition)."""

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from application.access import Caller
from application.use_cases import change_history
from domain.audit.changes import Difference, differences
from domain.errors import InvalidField, NotFound
from projections.responses import ResponseBody
from web.events.changes import FieldChange, describe_changes
from web.http.backend import Backend
from web.http.path_ids import RoutineId
from web.http.routing import get
from web.paperclip import past_answers

TRIGGERS = "triggers."  # begins the names of fields of triggers, and their ids follow


class FieldDifference(ResponseBody, frozen=True, kw_only=True):
    """A field at the two moments, and the positions of the events that changed it. Of a secret nothing is shown."""

    field: str
    before: object
    after: object
    events: list[int]


class TriggerDifference(ResponseBody, frozen=True, kw_only=True):
    """A trigger that was added, changed or removed."""

    id: UUID
    change: Literal["added", "changed", "removed"]
    fields: list[FieldDifference]


class Cause(ResponseBody, frozen=True, kw_only=True):
    """An event that changed a field: when, by whom, and what it did, in a sentence."""

    position: int
    at: str
    actor: str
    actor_name: str
    why: str
    cause: str | None
    kind: str
    version: int


class RoutineDifferences(ResponseBody, frozen=True, kw_only=True):
    """What differs of a routine and its triggers between two positions of the log, and the events that made it so."""

    routine_id: UUID
    from_position: int
    to_position: int
    routine: list[FieldDifference]
    triggers: list[TriggerDifference]
    events: list[Cause]


class Differences(Controller):
    """A routine at two moments."""

    tags = ("events",)

    @get("/routines/{routine_id:str}/diff", operation_id="compareRoutine", refuses=(403, 422))
    def of_routine(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        routine_id: FromPath[RoutineId],
        since: Annotated[str | None, QueryParameter(name="from")] = None,
        to: FromQuery[str | None] = None,
    ) -> RoutineDifferences:
        """
        Compares the settings of the routine and its triggers at two moments: each field that differs, before and after,
        and the events between that changed it. What was changed and changed back is no difference. `to` is now unless it
        is given. Whoever sees the revisions of the routine may read it. Addresses and secrets are not shown.
        """
        begin, end = _read_position(backend, since, "from"), _read_position(backend, to, "to")
        end = backend.executor.store.head() if end is None else end
        history = backend.authorize(caller, change_history.of_routine, routine_id)  # of the positions, or beyond them
        if begin is None:
            raise InvalidField("from must be given: a time, or a position of the log", "from")
        if begin > end:
            raise InvalidField("from must not be later than to", "from")
        if begin < history[0].position:
            raise NotFound(f"Routine not found: at position {begin} of the log it did not exist yet")
        return _answer_differences(backend, routine_id, (begin, end), differences(history, begin, end))


def _read_position(backend: Backend, text: str | None, name: str) -> int | None:
    moment = past_answers.parse_moment(text, name)
    return None if moment is None else past_answers.position_of(backend, moment)


def _answer_differences(
    backend: Backend, routine_id: UUID, positions: tuple[int, int], differences: Sequence[Difference]
) -> RoutineDifferences:
    changes = describe_changes(backend, [change for one in differences for change in one.changes])
    causes = {change.position: _cause_of_change(change) for change in changes}
    by_trigger: dict[UUID, list[Difference]] = {}
    for difference in differences:
        if difference.field.startswith(TRIGGERS):
            by_trigger.setdefault(UUID(difference.field.split(".")[1]), []).append(difference)
    return RoutineDifferences(
        routine_id=routine_id,
        from_position=positions[0],
        to_position=positions[1],
        routine=[_field_difference(one, one.field) for one in differences if not one.field.startswith(TRIGGERS)],
        triggers=[_trigger_difference(id_, of_trigger) for id_, of_trigger in by_trigger.items()],
        events=[causes[position] for position in sorted(causes)],
    )


def _cause_of_change(change: FieldChange) -> Cause:
    return Cause(**{name: getattr(change, name) for name in Cause.__struct_fields__})


def _trigger_difference(id_: UUID, differences: Sequence[Difference]) -> TriggerDifference:
    kind = next((one for one in differences if one.field == f"{TRIGGERS}{id_}.kind"), None)  # every trigger has one
    was_there, is_there = kind is None or kind.before is not None, kind is None or kind.after is not None
    return TriggerDifference(
        id=id_,
        change="added" if not was_there else "changed" if is_there else "removed",
        fields=[_field_difference(one, one.field.removeprefix(f"{TRIGGERS}{id_}.")) for one in differences],
    )


def _field_difference(one: Difference, name: str) -> FieldDifference:
    positions = [change.recorded.position for change in one.changes]
    return FieldDifference(field=name, before=one.before, after=one.after, events=positions)
