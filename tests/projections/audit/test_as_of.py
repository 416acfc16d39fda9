"""What was answered at a position is what is answered as of it afterwards, whatever has happened since."""

import random
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from types import SimpleNamespace
from typing import Any, NamedTuple, cast
from uuid import UUID

import pytest
from eventsourcing.persistence import Notification

from application.event_store.codec import all_from_stored
from application.event_store.data_keys import ReadKeys
from application.request_bodies.routines import BackfillDraft
from application.use_cases import backfills
from application.use_cases.board import agents
from domain.errors import Oversized
from domain.events import AgentCreated, CompanyCreated, IssueOpened, RoutineCreated
from domain.identity import issue_of_run
from domain.recorded import Recorded
from domain.values import IssueDetails
from projections.audit import as_of
from projections.audit.as_of import Past
from projections.board import issues
from projections.engine.documents import Part
from projections.engine.folding import fold_batch
from projections.firing import run_history
from projections.routines import routine_list, routines
from routines import bootstrap
from tests.projections.sharing import SHARED
from tests.projections.story import HOUR, MINUTE, START

PAGE = 4 * 1024**2
ALWAYS = EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
# As many as divide no other number of choices, so that all meet all.
KINDS = ("routine", "routines", "runs", "company runs", "company runs", "issue", "issues")
ROUTINE_FILTERS = (
    routine_list.ALL,
    routine_list.Filters(status=("active",)),
    routine_list.Filters(status=("paused", "archived")),
)
RUN_FILTERS = (
    run_history.ALL,
    run_history.Filters(status=("issue_created", "received")),
    run_history.Filters(status=("completed",), source=("schedule",)),
    run_history.Filters(source=("manual", "webhook")),
)
COMPANY_RUN_FILTERS = (  # with a period each; "agent" and "routine" stand for those of the question
    ({}, ALWAYS),
    ({"status": ("issue_created", "received")}, ALWAYS),
    ({"status": ("completed", "failed"), "assignee_agent_id": "agent"}, ALWAYS),
    ({"assignee_agent_id": "agent"}, (START + HOUR, LATEST)),
    ({"source": ("schedule", "manual"), "routine_id": "routine"}, (EARLIEST, START + 3 * HOUR)),
)
ISSUE_FILTERS = (
    {},
    {"statuses": ["todo", "in_progress"]},
    {"statuses": ["done", "cancelled"], "origin_kind": "routine_execution"},
    {"text": "a", "offset": 1},
)


def past_at(conn, position, *, most_events=10_000, most_bytes=PAGE):
    def decode(rows):
        return all_from_stored([Notification(*row) for row in rows], ReadKeys(conn))

    return Past(conn, position, decode, most_events=most_events, most_bytes=most_bytes)


def ids_of(log, kind):
    return [recorded.stream_id for recorded in log if isinstance(recorded.event, kind)]


class Asked(NamedTuple):
    """A question about a position."""

    kind: str
    company: UUID
    routine: UUID
    issue: UUID
    routine_filters: routine_list.Filters
    run_filters: run_history.Filters
    company_run_filters: tuple[dict[str, Any], tuple[datetime, datetime]]
    agent: UUID
    issue_filters: dict[str, Any]
    limit: int

    def listed_issues(self):
        return issues.Filters(limit=self.limit, **self.issue_filters)

    def listed_runs(self):
        """The filters of the company's runs, and their period."""
        (filters, period), ids = self.company_run_filters, {"agent": self.agent, "routine": self.routine}
        named: dict[str, Any] = {
            name: ids[value] if isinstance(value, str) else value for name, value in filters.items()
        }
        return run_history.CompanyFilters(**named), period


def answer_of_today(conn, question):
    """What is answered by the queries of today."""

    def listed(after=None):
        return routine_list.page(conn, question.company, question.routine_filters, limit=question.limit, after=after)

    def fired(before=None):
        return run_history.recent_runs(
            conn, question.routine, question.limit, filters=question.run_filters, before=before
        )

    def fired_in_company(after=None):
        filters, period = question.listed_runs()
        return run_history.of_company(conn, question.company, filters, period, question.limit, after=after)

    match question.kind:
        case "routine":
            return routines.detail(conn, question.routine)
        case "routines":
            return pages(listed, routine_list.place_of)
        case "runs":
            return pages(fired, lambda run: run_history.position(conn, question.routine, run.id))
        case "company runs":
            return pages(fired_in_company, lambda run: run_history.place(conn, question.company, run.id))
        case "issue":
            issue = issues.issue(conn, question.issue)
            return issue and (issue, issues.ancestors(conn, question.issue))
        case "issues":
            return whole_page(issues.page(conn, question.company, question.listed_issues()))


def answer_as_of(conn, position, question):
    """What is answered as of a position."""

    def listed(after=None):
        return as_of.routine_page(
            past_at(conn, position), question.company, question.routine_filters, after, question.limit, PAGE
        )

    def fired(before=None):
        return as_of.runs(past_at(conn, position), question.routine, question.run_filters, before, question.limit, PAGE)

    def fired_in_company(after=None):
        past, (filters, period) = past_at(conn, position), question.listed_runs()
        return as_of.company_runs(past, question.company, filters, period, after, question.limit, PAGE)

    match question.kind:
        case "routine":
            return as_of.routine_detail(past_at(conn, position), question.routine, PAGE)
        case "routines":
            return pages(listed, routine_list.place_of)
        case "runs":
            return pages(fired, lambda run: run_history.position(conn, question.routine, run.id))
        case "company runs":
            return pages(fired_in_company, lambda run: run_history.place(conn, question.company, run.id))
        case "issue":
            return as_of.issue_with_ancestors(past_at(conn, position), question.issue, PAGE)
        case "issues":
            return whole_page(
                as_of.issue_page(past_at(conn, position), question.company, question.listed_issues(), PAGE)
            )


def pages(read, place):
    """The first page, and the one after its second row, if it has so many."""
    first = read()
    return whole_page(first), whole_page(read(place(first[1]))) if len(first) > 1 else None


def whole_page(part):
    return list(part), part.more, part.last


@pytest.fixture
def questions(story_databases):
    """A question for every other position, so that all things are asked for at many of them, and all filters of all lists."""
    companies, agents, ids, opened = (
        ids_of(story_databases.log, kind) for kind in (CompanyCreated, AgentCreated, RoutineCreated, IssueOpened)
    )
    lists = (ROUTINE_FILTERS, RUN_FILTERS, COMPANY_RUN_FILTERS, agents, ISSUE_FILTERS, (2, 3, 100))
    things = (KINDS, companies, ids, opened, *lists)
    chosen = zip(*(cycle(random.Random(1).sample(some, len(some))) for some in things), strict=True)
    return [(recorded.position, Asked(*one)) for recorded, one in zip(story_databases.log[1::2], chosen, strict=False)]


def test_what_was_answered_at_a_position_is_answered_as_of_it_afterwards(
    projected_story, system, conn, story_databases, questions
):
    answers = []
    with bootstrap.connect(system.settings) as reader:
        for one in (conn, reader):
            one.execute("CREATE SCHEMA IF NOT EXISTS apart")
            one.execute("SET search_path TO apart, read_models")
        for model in as_of.MODELS:
            conn.execute(model.schema)
        for position, question in questions:
            fold_batch(conn, as_of.MODELS, story_databases.log[position - 2 : position])
            answers.append(answer_of_today(reader, question))
    conn.execute("SET search_path TO read_models")

    for (position, question), answer in zip(questions, answers, strict=True):
        assert answer == answer_as_of(conn, position, question), (position, question)


def test_lists_are_as_they_were_also_after_the_clock_was_set_back(story, conn):
    company = story.company()
    agent, other = story.agent(company), story.agent(company, "Other")
    routine = story.routine(
        company, agent, concurrency_policy="always_enqueue", parent_issue_id=story.issue(company, "Above")
    )
    answers_by_position, run_ids = [], []

    def questions(kind):
        things = {"company": company, "routine": routine, "issue": None, "agent": agent, "limit": 2}
        fixed = dict(zip(Asked._fields, (kind, *[None] * 9), strict=True)) | things
        company_filters = ({}, {"status": ("issue_created",)}, {"status": ("completed",)}, {"assignee_agent_id": agent})
        varied: list[dict[str, Any]]
        match kind:
            case "company runs":
                varied = [{"company_run_filters": (filters, ALWAYS)} for filters in company_filters]
            case "runs":
                varied = [{"run_filters": filters} for filters in RUN_FILTERS]
            case "issues":
                varied = [{"issue_filters": filters, "limit": 100} for filters in ISSUE_FILTERS]
            case _:
                varied = [{"routine_filters": routine_list.ALL}]
        return [Asked(**fixed | one) for one in varied]

    def note(*kinds):
        story.project_all()
        answers_by_position.extend(
            (story.store.head(), question, answer_of_today(conn, question))
            for kind in ("company runs", *kinds)
            for question in questions(kind)
        )

    for step in (HOUR, -3 * HOUR, HOUR, 5 * HOUR, -HOUR):
        story.passes(step)
        run_ids.append(story.fire(routine))
        note()
    linked = {run.id: run.linked_issue_id for run in run_history.recent_runs(conn, routine, 10)}
    done, handed_over, nobodys, *_ = (linked[run_id] for run_id in run_ids)
    for change in (
        partial(story.patch, done, status="done"),
        partial(story.patch, nobodys, assignee_agent_id=None),
        partial(story.change, routine, assignee_agent_id=other),
        partial(story.patch, handed_over, assignee_agent_id=other),
        partial(story.patch, nobodys, status="done"),
    ):
        note("runs", "issues", "routines", "routine")
        change()
    note()

    for position, question, answer in answers_by_position:
        assert answer == answer_as_of(conn, position, question), (position, question)


def test_a_routine_has_the_schedule_and_the_issue_of_then_whatever_else_fires_it(story, conn):
    """
    Its newest run is none of its schedule, and has no issue, so it is its routine's agent's; the issue that had changed
    last is not the newest.
    """
    company = story.company()
    agent = story.agent(company)
    routine = story.routine(company, agent, concurrency_policy="always_enqueue")
    story.routine(company, agent, "Next to it in the list")
    schedule, answers_by_position = story.schedule(routine), []
    fixed = dict.fromkeys(Asked._fields) | {"company": company, "routine": routine, "agent": agent, "limit": 1}
    fixed |= {"routine_filters": routine_list.ALL, "company_run_filters": ({"assignee_agent_id": "agent"}, ALWAYS)}
    questions = [Asked(**fixed | {"kind": kind}) for kind in ("routine", "routines", "company runs")]

    def note():
        story.project_all()
        answers_by_position.extend((story.store.head(), one, answer_of_today(conn, one)) for one in questions)

    story.passes(HOUR)
    story.tick()
    note()
    first, _, third = (issue_of_run(story.fire(routine, trigger_id=schedule)) for _ in range(3))
    note()
    story.patch(first, status="in_progress")
    note()
    story.ask(backfills.create, schedule, BackfillDraft(from_=story.now - 30 * HOUR, overlap="policy"))
    story.make_up()
    note()
    for _ in range(2):
        story.passes(MINUTE)
        story.fire(routine)
        story.ask(agents.pause, agent, "holiday")
    note()
    for issue in (first, third):
        story.patch(issue, status="done")
    story.change(routine, assignee_agent_id=story.agent(company, "Other"))
    note()

    for position, question, answer in answers_by_position:
        assert answer == answer_as_of(conn, position, question), (position, question)


@SHARED
def test_as_of_the_head_is_what_is_answered_now(projected_story, conn, story_databases, questions):
    head = story_databases.log[-1].position

    for _, question in questions[:: len(questions) // 20]:
        assert answer_of_today(conn, question) == answer_as_of(conn, head, question)


@SHARED
def test_an_answer_that_would_rest_on_too_much_is_refused(projected_story, conn, story_databases):
    head, routine = story_databases.log[-1].position, ids_of(story_databases.log, RoutineCreated)[0]

    for bound in ({"most_events": 3}, {"most_bytes": 300}):
        with pytest.raises(Oversized, match="ask for less"):
            as_of.routine_detail(past_at(conn, head, **bound), routine, PAGE)


def test_a_filter_that_few_rows_met_then_is_looked_for_in_few_steps():
    steps = []

    def candidates(beyond, many):
        return range(beyond - 1, max(beyond - 1 - many, 0), -1)

    def page():
        steps.append(1)
        return Part([])

    assert [] == as_of._load_until_full(candidates, page, beyond=3_001, limit=1)

    assert len(steps) < 20


def test_a_page_that_is_full_rests_on_no_more_candidates():
    steps = []

    def candidates(beyond, many):
        steps.append(many)
        return range(beyond - 1, beyond - 1 - many, -1)

    as_of._load_until_full(candidates, lambda: Part([1, 2], more=True), beyond=3_001, limit=2)

    assert [3] == steps


def test_issues_that_are_above_each_other_end(monkeypatch):
    one, other = (cast("Any", UUID(int=number)) for number in (1, 2))
    above = {one: other, other: one}
    past: Any = SimpleNamespace(one=lambda _table, id_: SimpleNamespace(doc=id_, parent_id=above[id_]), connection=None)
    monkeypatch.setattr(issues, "ancestors", lambda _conn, id_, _max_bytes: [above[id_]])

    assert (one, [other]) == as_of.issue_with_ancestors(past, one, PAGE)


class Log:
    """A connection to a log whose events have so many bytes, and in which no issue has a number; it notes who is asked for."""

    def __init__(self, *sizes: int) -> None:
        self.sizes, self.asked = sizes, []

    def execute(self, _query, values):
        if not isinstance(values, dict):
            return []
        self.asked += values["ids"]
        return self

    def fetchall(self):
        return [
            (STREAM, version, "run.fired", bytes(size), version) for version, size in enumerate(self.sizes, start=1)
        ]


STREAM = UUID(int=1)


def past_over(log, *events):
    return Past(log, 10, lambda _rows: events, most_events=3, most_bytes=100)


@pytest.mark.parametrize(("sizes", "is_refused"), [((33, 33, 33), False), ((1, 1, 1, 1), True), ((50, 50), True)])
def test_as_many_events_are_loaded_as_the_bounds_say_and_what_may_have_been_cut_off_is_refused(sizes, is_refused):
    """Of 100 bytes the log may have had more: it is read up to there."""
    if is_refused:
        with pytest.raises(Oversized):
            past_over(Log(*sizes)).load([STREAM])
    else:
        past_over(Log(*sizes)).load([STREAM])


def test_a_stream_that_is_loaded_is_not_loaded_again():
    log = Log(1)
    past = past_over(log)

    past.load([STREAM, None])
    past.load([STREAM])
    past.load([STREAM, UUID(int=2)])

    assert [STREAM, UUID(int=2)] == log.asked


def test_an_event_that_a_read_model_could_not_take_is_passed_over_as_it_was_then():
    opened = IssueOpened(details=IssueDetails(title="Look"), status="todo")
    recorded = Recorded(stream_id=STREAM, version=1, at=EARLIEST, actor="system", company_id=STREAM, event=opened)

    assert past_over(Log(1), recorded).one(issues.ISSUE, STREAM) is None
