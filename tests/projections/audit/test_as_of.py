"""What was answered at a position is what is answered as of it afterwards, whatever has happened since."""

import random
from itertools import cycle
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from eventsourcing.persistence import Notification

from application.event_store.data_keys import ReadKeys
from application.event_store.store import all_from_stored
from domain.errors import Oversized
from domain.events import CompanyCreated, IssueOpened, RoutineCreated
from projections.audit import as_of
from projections.audit.as_of import Past
from projections.board import issues
from projections.engine.documents import Part
from projections.engine.read_model import fold_batch
from projections.firing import run_history
from projections.routines import routines
from routines import bootstrap

PAGE = 4 * 1024**2
KINDS = ("routine", "routines", "runs", "issue", "issues")
ROUTINE_FILTERS = (
    routines.ALL,
    routines.Filters(status=("active",)),
    routines.Filters(status=("paused", "archived")),
)
RUN_FILTERS = (
    run_history.ALL,
    run_history.Filters(status=("issue_created", "received")),
    run_history.Filters(status=("completed",), source=("schedule",)),
    run_history.Filters(source=("manual", "webhook")),
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
    routine_filters: routines.Filters
    run_filters: run_history.Filters
    issue_filters: dict[str, Any]
    limit: int

    def listed_issues(self):
        return issues.Filters(limit=self.limit, **self.issue_filters)


def answer_of_today(conn, question):
    """What is answered by the queries of today."""

    def listed(after=None):
        return routines.page(conn, question.company, question.routine_filters, limit=question.limit, after=after)

    def fired(before=None):
        return run_history.recent_runs(
            conn, question.routine, question.limit, filters=question.run_filters, before=before
        )

    match question.kind:
        case "routine":
            return routines.detail(conn, question.routine)
        case "routines":
            return pages(listed, routines.place_of)
        case "runs":
            return pages(fired, lambda run: run_history.position(conn, question.routine, run.id))
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

    match question.kind:
        case "routine":
            return as_of.routine_detail(past_at(conn, position), question.routine, PAGE)
        case "routines":
            return pages(listed, routines.place_of)
        case "runs":
            return pages(fired, lambda run: run_history.position(conn, question.routine, run.id))
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
    """A question for each position, so that all things are asked for at many of them, and all filters of all lists."""
    companies, ids, opened = (
        ids_of(story_databases.log, kind) for kind in (CompanyCreated, RoutineCreated, IssueOpened)
    )
    things = (KINDS, companies, ids, opened, ROUTINE_FILTERS, RUN_FILTERS, ISSUE_FILTERS, (2, 3, 100))
    chosen = zip(*(cycle(random.Random(1).sample(some, len(some))) for some in things), strict=True)
    return [(recorded.position, Asked(*one)) for recorded, one in zip(story_databases.log, chosen, strict=False)]


def test_what_was_answered_at_a_position_is_answered_as_of_it_afterwards(
    projected_story, system, conn, story_databases, questions
):
    noted = []
    with bootstrap.connect(system.settings) as reader:
        for one in (conn, reader):
            one.execute("CREATE SCHEMA IF NOT EXISTS apart")
            one.execute("SET search_path TO apart, read_models")
        for model in as_of.MODELS:
            conn.execute(model.schema)
        for recorded, (_, question) in zip(story_databases.log, questions, strict=True):
            fold_batch(conn, as_of.MODELS, [recorded])
            noted.append(answer_of_today(reader, question))
    conn.execute("SET search_path TO read_models")

    for (position, question), answer in zip(questions, noted, strict=True):
        assert answer == answer_as_of(conn, position, question), (position, question)


def test_as_of_the_head_is_what_is_answered_now(projected_story, conn, story_databases, questions):
    head = story_databases.log[-1].position

    for _, question in questions[:: len(questions) // 20]:
        assert answer_of_today(conn, question) == answer_as_of(conn, head, question)


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

    assert [] == as_of._load_until_full(candidates, page, before=3_001, limit=1)

    assert len(steps) < 20
