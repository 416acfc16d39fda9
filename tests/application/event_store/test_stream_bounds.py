"""A history that whoever reads it would pay for cannot be made."""

from datetime import UTC, datetime

import pytest

from application.access import Caller
from application.event_store.in_memory import MemoryRecorder
from application.event_store.store import EventStore
from application.event_store.stream_cache import StreamCache
from application.event_store.unit_of_work import FULL
from application.execute import Executor
from application.request_bodies.board import AgentDraft, CompanyDraft
from application.request_bodies.issues import IssueDraft, IssuePatch
from application.request_bodies.routines import RoutineDraft, RoutinePatch, RunRequest
from application.use_cases import routines, runs
from application.use_cases.board import agents, companies, issues, keys
from domain.bounds.limits import KIB, MIB, Limits
from domain.errors import RuleViolation
from domain.events import IssueEdited, IssueMoved
from domain.identity import slot_of
from domain.values import IssueDetails

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TEXT = "x" * 100_000


class Shop:
    """A company with an issue and a routine, under its own limits."""

    def __init__(self, limits):
        self.executor = Executor(EventStore(MemoryRecorder(), limits), lambda: NOON, cache=StreamCache(limits))
        self.caller = Caller(token=self.executor.attempt(keys.mint_first).result.token)
        self.company = company = self.do(companies.create, CompanyDraft(name="Acme"))
        self.agent = self.do(agents.create, company, AgentDraft(name="Scout")).agent_id
        self.issue = self.do(issues.create, company, IssueDraft(title="Look"))
        self.routine = self.do(routines.create, company, RoutineDraft(title="Check", assignee_agent_id=self.agent))

    def do(self, use_case, *args):
        return self.executor.execute(self.caller, use_case, *args).result

    def move(self, status):
        self.do(issues.update, self.issue, IssuePatch(status=status), None)

    def edit(self, number):
        self.do(issues.update, self.issue, IssuePatch(description=f"{number} {TEXT}"), None)

    def until_full(self, change):
        for number in range(200):
            try:
                change(number)
            except RuleViolation:
                return number
        raise AssertionError


def test_a_thing_that_was_changed_too_often_cannot_be_changed_again():
    shop = Shop(Limits(max_stream_events=20))

    changes = shop.until_full(lambda number: shop.move(("todo", "in_progress")[number % 2]))

    assert changes == 19
    with pytest.raises(RuleViolation, match=FULL):
        shop.move("blocked")
    assert shop.executor.store.versions([shop.issue])[shop.issue] == 20
    shop.move("done")
    with pytest.raises(RuleViolation, match=FULL):
        shop.move("todo")


def test_what_the_service_has_recorded_takes_no_room_from_callers():
    shop = Shop(Limits(max_stream_events=20))
    for number in range(50):
        edited = [IssueEdited(details=IssueDetails(title=f"Look {number}"))]
        shop.executor.attempt(lambda work, edited=edited: work.record(shop.issue, edited), actor="scheduler")

    changes = shop.until_full(lambda number: shop.move(("todo", "in_progress")[number % 2]))

    assert changes == 19


def test_a_thing_that_was_changed_by_too_much_can_still_be_brought_to_its_end():
    shop = Shop(Limits(max_stream_bytes=2 * MIB))

    assert shop.until_full(shop.edit) == 5
    shop.move("done")

    with pytest.raises(RuleViolation):
        shop.edit(6)


def test_a_thing_that_began_large_can_be_changed_as_any_other():
    shop = Shop(Limits(max_stream_bytes=40 * KIB))
    shop.issue = shop.do(issues.create, shop.company, IssueDraft(title="Large", description=TEXT))

    assert shop.until_full(lambda number: shop.move(("todo", "in_progress")[number % 2])) > 20


def test_small_changes_end_too():
    shop = Shop(Limits(max_stream_bytes=40 * KIB))

    assert shop.until_full(lambda number: shop.move(("todo", "in_progress")[number % 2])) < 100


def test_a_routine_whose_history_is_full_fires_on():
    shop = Shop(Limits(max_stream_events=20))
    shop.until_full(lambda number: shop.do(routines.update, shop.routine, RoutinePatch(title=f"Check {number}")))

    for _ in range(50):
        issue = shop.do(runs.fire_by_hand, shop.routine, RunRequest())[0].event.outcome.issue_id
        shop.do(issues.update, issue, IssuePatch(status="done"), None)

    slot = slot_of(shop.routine)
    assert shop.executor.store.versions([slot])[slot] > 20


@pytest.mark.parametrize("actor", ["system", "scheduler", "delivery"])
def test_the_service_itself_can_always_record(actor):
    shop = Shop(Limits(max_stream_events=20))
    shop.until_full(lambda number: shop.move(("todo", "in_progress")[number % 2]))

    cancelled = [IssueMoved(status="cancelled")]
    attempt = shop.executor.attempt(lambda work: work.record(shop.issue, cancelled), actor=actor)

    assert attempt.recorded
