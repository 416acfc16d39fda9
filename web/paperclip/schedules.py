"""The routes that show the occurrences of schedules, explain their outcomes, and preview unsaved schedules."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from application.access import Caller
from application.request_bodies.triggers import SchedulePreview
from application.use_cases import explanations, schedule_previews
from application.use_cases.schedule_previews import PlannedOccurrence, TriggerPlan
from domain.explain import sentences
from domain.explain.verdicts import Verdict
from domain.recorded import Recorded
from domain.schedule.clock_changes import AffectedOccurrences, Effect
from domain.schedule.plan import INSTANT
from domain.schedule.time_words import local
from projections.firing import occurrences
from projections.firing.occurrences import Occurrence, OccurrenceRow, Place
from projections.responses import ResponseBody, time, time_or_none
from web.http.backend import Backend
from web.http.moments import check_order, check_years, moment_of
from web.http.paging import NEXT, Paging, cursor_of, next_page_headers_from, paging, place_of
from web.http.path_ids import RoutineId, TriggerId
from web.http.requests import parse_whole_number, uuid_or_none
from web.http.routing import get, post
from web.http.validation import invalid

PAGE, MOST = 100, 1_000
DAY = timedelta(days=1)
PLANNED_ID = UUID(int=2**128 - 1)  # places planned occurrences after all settled ones


class OccurrencePage(ResponseBody, frozen=True, kw_only=True):
    """
    The occurrences of a period, oldest first. `noPlanBecause` says why none is planned: `disabled`,
    `routine_paused`, `routine_archived`, `company_archived`, `ended` or `not_a_schedule`. `nextCursor` leads to the
    rest of the period.
    """

    trigger_id: UUID
    routine_id: UUID
    from_: str = msgspec.field(name="from")
    to: str
    no_plan_because: str | None
    occurrences: list[Occurrence]
    next_cursor: str | None


class LocalTime(ResponseBody, frozen=True, kw_only=True):
    """A moment in UTC and in the schedule's zone."""

    at: str
    local: str


class Moment(LocalTime, frozen=True, kw_only=True):
    """A planned moment, and the moment at which it comes due; null if that is not known."""

    due_at: str | None


class Fact(ResponseBody, frozen=True, kw_only=True):
    """An event of the log, and its role in the explanation."""

    role: str
    event: str
    stream_id: UUID
    version: int
    position: int
    at: str
    actor: str


class TriggerExplanation(ResponseBody, frozen=True, kw_only=True):
    """The explanation of the moment for one schedule, in words and data."""

    trigger_id: UUID
    label: str | None
    cron_expression: str | None
    timezone: str | None
    verdict: Verdict
    answer: str
    occurrence: Moment | None
    previous: Moment | None
    next: Moment | None
    reason: str | None
    concurrency_policy: str | None
    catch_up_policy: str | None
    run_id: UUID | None
    issue_id: UUID | None
    blocking_run_id: UUID | None
    facts: list[Fact]


class Explanation(ResponseBody, frozen=True, kw_only=True):
    """Why a routine's schedules did or did not fire at a moment; `answer` joins the answers for all of them."""

    routine_id: UUID
    at: str
    answer: str
    triggers: list[TriggerExplanation]


class ClockChange(ResponseBody, frozen=True, kw_only=True):
    """
    A clock change that affects the schedule: `walls` are the planned wall times that do not exist or come twice,
    `times` the moments that run for them. `effect`: `moved` and `merged` run at the first instant after the gap,
    `left_out` not at all; `once` runs the first time only, `twice` both times.
    """

    at: str
    shift_minutes: int
    effect: Effect
    walls: list[str]
    times: list[LocalTime]
    text: str


class SchedulePreviewed(ResponseBody, frozen=True, kw_only=True):
    """
    What the schedule would do. If it would be refused, `reason` says why and the rest is empty. `warnings` name what is
    allowed and probably not meant, such as a step that is longer than its field. With `routineId`, `conditions`
    say what must hold for an occurrence of that routine to run, such as its activity gate.
    """

    valid: bool
    reason: str | None
    description: str | None
    warnings: list[str]
    conditions: list[str] | UnsetType = UNSET
    times: list[Moment]
    clock_changes: list[ClockChange]
    clock_changes_until: str | None


class Schedules(Controller):
    """Occurrences of schedules, their explanations, and previews."""

    tags = ("schedules",)
    dependencies = {"paging": Provide(paging)}

    @get("/routine-triggers/{trigger_id:str}/occurrences", operation_id="listOccurrences", response_headers=NEXT)
    def list_(  # noqa: PLR0913, PLR0917 the caller, the period, the part of the list
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        eventual: NamedDependency[bool],
        paging: NamedDependency[Paging],
        trigger_id: FromPath[TriggerId],
        since: Annotated[str | None, QueryParameter(name="from")] = None,
        to: FromQuery[str | None] = None,
    ) -> Response[OccurrencePage]:
        """
        Returns every occurrence of a schedule from `from` to `to`: the settled ones with their outcomes, then the
        planned ones.

        Without a period it covers the last and the next 24 hours. A range of missed occurrences is one entry. A planned
        occurrence that has come due is about to be settled.
        """
        limit = parse_whole_number(paging.limit, "limit", PAGE, 1, MOST)
        period = begin, end = _parse_period(since, to, backend.executor.clock())
        list_name = f"occurrences of {trigger_id}"
        after = place_of(paging.cursor, list_name, Place)
        schedule = backend.authorize(caller, schedule_previews.plan_of_trigger, trigger_id)
        with backend.consistent_read("occurrences", eventual=eventual) as conn:
            settled = occurrences.rows_within(conn, trigger_id, period, after=after, limit=limit + 1)
            latest = occurrences.latest_occurrence(conn, trigger_id)
        start = max(begin - INSTANT, after.first) if after else begin - INSTANT
        planned = schedule_previews.planned_occurrences(schedule, latest, start, end, limit + 1 - len(settled))
        return _answer_page(schedule, paging, list_name, period, [*settled, *planned], limit)

    @get("/routines/{routine_id:str}/explain", operation_id="explainRoutine", refuses=(422,))
    def explain(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        routine_id: FromPath[RoutineId],
        at: FromQuery[str | None] = None,
        trigger_id: Annotated[str | None, QueryParameter(name="triggerId")] = None,
    ) -> Explanation:
        """
        Says why a run did or did not happen at a moment, for each schedule that the routine had, or for one trigger.

        The whole minute of the moment is meant. The answer is read from the log, by the state at that moment.
        """
        moment = moment_of(at, "at")
        if moment is None:
            raise invalid("at is required: a moment in ISO 8601", "at")
        only_trigger = uuid_or_none(trigger_id, "triggerId")
        answers = backend.authorize(caller, explanations.explain, routine_id, moment, only_trigger)
        return Explanation(
            routine_id=routine_id,
            at=time(moment),
            answer=" ".join(answer for _, answer in answers) or "The routine never had a schedule.",
            triggers=[_explanation_answer(explanation, answer) for explanation, answer in answers],
        )

    @post("/schedule/preview", operation_id="previewSchedule", status_code=200)
    def preview(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], data: JSONBody[SchedulePreview]
    ) -> SchedulePreviewed:
        """
        Says what an unsaved schedule would do: whether it is valid, what it means in words, its next times, and the
        clock changes that affect it within 400 days or until the last of these times.
        """
        check_years(data.from_, "from")
        result = backend.authorize(caller, schedule_previews.preview, data)
        return SchedulePreviewed(
            valid=result.reason is None,
            reason=result.reason,
            description=result.words,
            warnings=list(result.warnings),
            conditions=UNSET if data.routine_id is None else list(result.conditions),
            times=[_planned_moment(occurrence, result.zone) for occurrence in result.times],
            clock_changes=[_clock_change(change, result.zone) for change in result.affected],
            clock_changes_until=time_or_none(result.covered_until),
        )


def _parse_period(since: str | None, until: str | None, now: datetime) -> tuple[datetime, datetime]:
    """Return the period that a request names, by default the last and the next 24 hours. Raise Invalid."""
    begin, end = moment_of(since, "from"), moment_of(until, "to")
    begin = begin or min(now, end or now) - DAY
    end = end or max(now, begin) + DAY
    check_order(begin, end)
    return begin, end


def _answer_page(  # noqa: PLR0913, PLR0917 everything on the page
    schedule: TriggerPlan,
    paging: Paging,
    list_name: str,
    period: tuple[datetime, datetime],
    rows: list[OccurrenceRow | PlannedOccurrence],
    limit: int,
) -> Response[OccurrencePage]:
    cursor = cursor_of(list_name, _place_of_row(rows[limit - 1])) if len(rows) > limit else None
    answer = OccurrencePage(
        trigger_id=schedule.trigger_id,
        routine_id=schedule.routine_id,
        from_=time(period[0]),
        to=time(period[1]),
        no_plan_because=schedule.why_none,
        occurrences=[_occurrence_of(schedule, row) for row in rows[:limit]],
        next_cursor=cursor,
    )
    return Response(answer, headers=next_page_headers_from(paging, cursor) if cursor else {})


def _place_of_row(row: OccurrenceRow | PlannedOccurrence) -> Place:
    return Place(row.at, PLANNED_ID) if isinstance(row, PlannedOccurrence) else Place(row.first, row.id)


def _occurrence_of(schedule: TriggerPlan, row: OccurrenceRow | PlannedOccurrence) -> Occurrence:
    if isinstance(row, OccurrenceRow):
        return occurrences.occurrence_of_row(row)
    return Occurrence(
        planned_at=time(row.at),
        last_planned_at=time(row.at),
        due_at=time_or_none(row.due_at),
        outcome="planned",
        concurrency_policy=schedule.concurrency_policy,
        catch_up_policy=schedule.catch_up_policy,
    )


def _explanation_answer(explanation: sentences.Explanation, answer: str) -> TriggerExplanation:
    trigger, routine = explanation.question.period.trigger, explanation.question.period.routine
    settings = trigger.settings if trigger else None
    return TriggerExplanation(
        trigger_id=explanation.trigger_id,
        label=settings.label if settings else None,
        cron_expression=settings.cron_expression if settings else None,
        timezone=settings.timezone if settings else None,
        verdict=explanation.verdict,
        answer=answer,
        occurrence=_moment_answer(explanation, explanation.question.occurrence),
        previous=_moment_answer(explanation, explanation.previous),
        next=_moment_answer(explanation, explanation.following),
        reason=explanation.reason,
        concurrency_policy=routine.settings.concurrency_policy if routine else None,
        catch_up_policy=routine.settings.catch_up_policy if routine else None,
        run_id=explanation.fired.stream_id if explanation.fired else None,
        issue_id=explanation.issue_id,
        blocking_run_id=explanation.blocking.stream_id if explanation.blocking else None,
        facts=[_fact_of(role, recorded) for role, recorded in explanation.facts.items()],
    )


def _fact_of(role: str, recorded: Recorded) -> Fact:
    return Fact(
        role=role,
        event=recorded.name,
        stream_id=recorded.stream_id,
        version=recorded.version,
        position=recorded.position,
        at=time(recorded.at),
        actor=recorded.actor,
    )


def _moment_answer(explanation: sentences.Explanation, moment: datetime | None) -> Moment | None:
    if moment is None:
        return None
    return _planned_moment(PlannedOccurrence(at=moment, due_at=explanation.due_at(moment)), explanation.zone)


def _planned_moment(occurrence: PlannedOccurrence, zone: str) -> Moment:
    return Moment(
        at=time(occurrence.at), local=local(occurrence.at, zone).isoformat(), due_at=time_or_none(occurrence.due_at)
    )


def _clock_change(change: AffectedOccurrences, zone: str) -> ClockChange:
    return ClockChange(
        at=time(change.at),
        shift_minutes=change.shift // timedelta(minutes=1),
        effect=change.effect,
        walls=[wall.isoformat() for wall in change.wall_times],
        times=[LocalTime(at=time(moment), local=local(moment, zone).isoformat()) for moment in change.occurrences],
        text=change.text,
    )
