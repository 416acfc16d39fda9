"""Quotas: how much a company and a holder of keys may record, and how many of each thing there may be."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import OperationalError
from hypothesis import given as for_all
from hypothesis import strategies as st

from application.event_store.in_memory import MemoryRecorder
from application.event_store.postgres_errors import OutcomeUnknown
from application.event_store.store import EventStore
from application.execute import Executor
from application.quotas import delivery_costs, rates
from application.quotas.charge import Charge, OverQuota
from application.quotas.delivery_costs import DeliveryCosts
from application.quotas.quotas import Quotas
from application.quotas.rates import MINUTE_S, MOST_OWNERS, Rate
from application.secrets.key_ring import VaultClosed
from domain.bounds.limits import Limits
from domain.errors import Oversized, RuleViolation
from domain.events import AgentCreated, AgentPaused, CommentAdded, GoalCreated, GoalDeleted, GoalUpdated, KeyIssued
from domain.recorded import Recorded
from domain.values import AgentProfile, EndpointSettings, GoalDetails

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
ACME, OTHER, KEY = UUID(int=1), UUID(int=2), UUID(int=3)
GOAL = GoalCreated(details=GoalDetails(title="Grow"))


class Desk:
    """Use cases that record, in memory, with these limits."""

    def __init__(self, count=None, delivery_bytes=None, **limits):
        self.now_s = 0.0
        self.quotas = Quotas(Limits(**limits), count, lambda: self.now_s, delivery_bytes=delivery_bytes)
        self.store = EventStore(MemoryRecorder(), self.quotas.limits)
        self.executor = Executor(self.store, lambda: NOON, quotas=self.quotas)

    def record(self, *events, holder=KEY, company_id=ACME, stream_id=None):
        def decide(work):
            work.holder = holder
            work.record(stream_id or work.new_id(), events, company_id)

        self.executor.attempt(decide)

    def edit(self, stream_id, title, **more):
        self.record(GoalUpdated(details=GoalDetails(title=title)), stream_id=stream_id, **more)


def refusal(call, kind=OverQuota):
    with pytest.raises(kind) as error:
        call()
    return error.value


def test_a_minutes_quota_may_be_recorded_in_one_go_and_as_much_again_in_each_minute():
    desk = Desk(max_company_events_per_minute=60)
    for _ in range(60):
        desk.record(GOAL)

    desk.now_s += 0.5
    error = refusal(lambda: desk.record(GOAL))

    assert ("max_company_events_per_minute", 1) == (error.details["quota"], error.retry_after_s)
    desk.now_s += error.retry_after_s
    desk.record(GOAL)
    refusal(lambda: desk.record(GOAL))


def test_the_deliveries_that_an_event_causes_count_as_bytes_of_the_company_but_not_of_the_key():
    read_companies = []

    def subscriptions(companies):
        read_companies.append(set(companies))
        endpoint = EndpointSettings(url="https://a.example", events=("goal.*",))
        return {ACME: [endpoint] * 20} if ACME in companies else {}

    costs = DeliveryCosts(subscriptions, clock=lambda: 0.0)
    desk = Desk(delivery_bytes=costs, max_company_bytes_per_minute=30_000, max_key_bytes_per_minute=30_000)

    for name in ("Robin", "Scout"):
        desk.record(AgentCreated(profile=AgentProfile(name=name), url_key=name))  # no endpoint wants it
    desk.record(GOAL, GOAL)

    assert "max_company_bytes_per_minute" == refusal(lambda: desk.record(GOAL)).details["quota"]
    desk.record(GOAL, company_id=OTHER)
    assert [{ACME}, {OTHER}] == read_companies  # each company's endpoints are read once


class ReadMeanwhile(dict):
    """What is known of companies, where another thread looks up a company right after somebody has missed it."""

    def __init__(self, endpoints):
        super().__init__()
        self._endpoints = endpoints

    def _is_missed(self, key):
        if is_missed := not super().__contains__(key):
            self[key] = (0.0, self._endpoints)
        return is_missed

    def get(self, key, default=None):
        return default if self._is_missed(key) else self[key]

    def __contains__(self, key):
        return not self._is_missed(key)


def test_deliveries_cost_the_same_for_a_company_that_two_threads_look_up_at_once():
    endpoints = [EndpointSettings(url="https://a.example", events=("goal.*",))] * 20
    costs = DeliveryCosts(lambda _companies: {ACME: endpoints}, clock=lambda: 0.0)
    costs._known = ReadMeanwhile(endpoints)
    desk = Desk(delivery_bytes=costs, max_company_bytes_per_minute=30_000)

    desk.record(GOAL, GOAL)

    assert "max_company_bytes_per_minute" == refusal(lambda: desk.record(GOAL)).details["quota"]


def test_bytes_count_as_they_are_stored():
    desk = Desk(max_company_bytes_per_minute=10_240)
    large = GoalCreated(details=GoalDetails(title="x" * 6_000))

    desk.record(large)
    desk.record(large)

    error = refusal(lambda: desk.record(GOAL))
    assert (
        "The company has recorded more than 10240 bytes in a minute, its deliveries included: try again"
        in error.message
    )
    assert 2 == len(list(desk.store.history()))


def test_a_company_that_is_over_its_quota_keeps_no_other_from_recording():
    desk = Desk(max_company_events_per_minute=1)
    desk.record(GOAL)
    refusal(lambda: desk.record(GOAL))

    desk.record(GOAL, company_id=OTHER)


def test_a_holder_of_keys_has_a_quota_of_its_own_over_all_companies():
    desk = Desk(max_key_events_per_minute=2)
    desk.record(GOAL)
    desk.record(GOAL, company_id=OTHER)

    assert "max_key_events_per_minute" == refusal(lambda: desk.record(GOAL)).details["quota"]
    desk.record(GOAL, holder=uuid4())


def test_what_nobody_asked_for_is_recorded_all_the_same_and_counts():
    desk = Desk(max_company_events_per_minute=2)
    for _ in range(3):
        desk.record(GOAL, holder=None)

    assert desk.quotas.is_over(ACME)
    assert not desk.quotas.is_over(OTHER)
    refusal(lambda: desk.record(GOAL))


def test_however_much_was_recorded_at_once_nobody_waits_for_more_than_a_minute():
    desk = Desk(max_company_events_per_minute=10)
    desk.record(*[GOAL] + [GoalUpdated(details=GoalDetails(title=str(n))) for n in range(4_999)])

    error = refusal(lambda: desk.record(GOAL))

    assert error.retry_after_s <= MINUTE_S + 6


def test_a_lost_race_costs_nothing():
    desk = Desk(max_company_events_per_minute=2)
    goal = uuid4()
    desk.record(GOAL, stream_id=goal)
    races = iter([True, False])

    def decide(work):
        work.holder = KEY
        work.history(goal)
        if next(races, False):
            rival = Executor(desk.store, lambda: NOON)
            rival.attempt(lambda other: other.record(goal, [GoalUpdated(details=GoalDetails(title="first"))]))
        work.record(goal, [GoalUpdated(details=GoalDetails(title="second"))])

    desk.executor.attempt(decide)

    assert 3 == len(list(desk.store.history()))
    refusal(lambda: desk.record(GOAL))


class Failing(MemoryRecorder):
    """Records nothing as long as it has an error to raise."""

    error: Exception | None = None

    def insert_events(self, stored_events, *, guards=(), **kwargs):
        if self.error is not None:
            raise self.error
        return super().insert_events(stored_events, guards=guards, **kwargs)


@pytest.mark.parametrize(
    "error", [OperationalError("away"), Oversized("too much"), VaultClosed("no key"), ValueError()]
)
def test_what_was_not_recorded_costs_nothing_whatever_the_reason(error):
    desk = Desk(max_company_events_per_minute=1, max_company_goals=1)
    desk.store.recorder = Failing()
    desk.store.recorder.error = error
    for _ in range(3):
        refusal(lambda: desk.record(GOAL), type(error))

    desk.store.recorder.error = None
    desk.record(GOAL)


def test_what_was_reserved_is_given_back_as_it_was_taken_whatever_the_endpoints_are_by_then():
    costs = iter([[2_000], [0]])  # of the deliveries; they are looked up once for each charge
    desk = Desk(delivery_bytes=lambda _: next(costs), max_company_bytes_per_minute=1_024)
    desk.store.recorder = Failing()
    desk.store.recorder.error = OperationalError("away")
    refusal(lambda: desk.record(GOAL), OperationalError)

    desk.store.recorder.error = None
    desk.record(GOAL)


def test_what_may_be_recorded_is_paid_for():
    desk = Desk(max_company_events_per_minute=1)
    desk.store.recorder = Failing()
    desk.store.recorder.error = OutcomeUnknown("the answer was lost")
    refusal(lambda: desk.record(GOAL), OutcomeUnknown)

    refusal(lambda: desk.record(GOAL))


def test_of_those_who_look_at_the_same_time_only_as_many_as_there_is_room_for_go_on():
    looking = Barrier(8)

    def count(*_):
        looking.wait(30)
        return 0

    quotas = Quotas(Limits(max_company_goals=3), count)
    recorded = Recorded(stream_id=ACME, version=1, at=NOON, actor="user:x", company_id=ACME, event=GOAL)

    def take(_):
        try:
            quotas.take(Charge(batch=[recorded], sizes=[100], holder=KEY))
        except RuleViolation:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert 3 == sum(pool.map(take, range(8)))


def test_what_a_company_has_left_is_looked_at_only_while_no_other_thread_takes_of_it():
    desk, is_locked = Desk(), []

    class Levels(dict):
        def get(self, *args):
            is_locked.append(desk.quotas._lock.locked())
            return super().get(*args)

    for rate in desk.quotas._rates.all:
        rate._levels = Levels()
    desk.quotas.is_over(ACME)
    desk.quotas.is_half_used(ACME)

    assert {True} == set(is_locked)


def test_what_was_added_just_now_counts_though_no_read_model_shows_it_yet():
    desk = Desk(lambda *_: 0, max_company_goals=2)
    desk.record(GOAL)
    desk.record(GOAL)

    desk.now_s += 1
    refusal(lambda: desk.record(GOAL), RuleViolation)

    desk.now_s += 2  # and now it would show it
    desk.record(GOAL)


def test_a_process_that_begins_knows_whose_work_piles_up():
    counts = []

    def count_all(quota, least):
        counts.append((quota, least))
        return {ACME: 200} if quota == "max_company_open_issues" else {}

    limits = Limits(max_company_open_issues=200, max_company_log_bytes=0)
    quotas = Quotas(limits, lambda *_: 200, count_all=count_all)

    assert [True, False, True] == [quotas.is_over(ACME), quotas.is_over(OTHER), quotas.is_over(ACME)]
    assert [("max_company_open_issues", 198), ("max_company_live_trajectories", 9_900)] == counts


def test_what_the_service_adds_is_counted_again_after_a_share_of_the_quota_and_while_it_is_full():
    stored, counts = [0], []

    def count(quota, *_):
        counts.append(quota)
        return stored[0] if quota == "max_company_log_bytes" else 0

    desk = Desk(count, max_company_log_bytes=100_000)
    assert (False, []) == (desk.quotas.is_over(ACME), counts)
    desk.record(GoalCreated(details=GoalDetails(title="x" * 6_000)), holder=None)
    stored[0] = 100_000  # by other processes
    assert (True, ["max_company_log_bytes"]) == (desk.quotas.is_over(ACME), counts)

    desk.now_s += 3
    assert desk.quotas.is_over(ACME)
    stored[0] = 50_000
    desk.now_s += 0.5
    assert (True, 2) == (desk.quotas.is_over(ACME), len(counts))
    desk.now_s += 0.5
    assert (False, 3) == (desk.quotas.is_over(ACME), len(counts))


def test_what_an_event_loop_takes_is_known_without_a_look_into_the_database():
    looks = []
    costs = DeliveryCosts(lambda companies: looks.append(companies) or {}, clock=lambda: 0.0)
    quotas = Quotas(Limits(), lambda *_: 0, clock=lambda: 0.0, delivery_bytes=costs)
    recorded = Recorded(
        stream_id=uuid4(), version=1, at=NOON, actor="user", company_id=ACME, event=GOAL, position=1, hash=b""
    )
    by_caller, by_service = (Charge(batch=[recorded], sizes=[100], holder=holder) for holder in (KEY, None))

    assert quotas.take_if_known(by_service) is None  # what its deliveries cost is not known
    assert [] == looks
    quotas.take(by_service)
    assert quotas.take_if_known(by_service) is not None
    assert quotas.take_if_known(by_caller) is None  # how many goals there are is not known
    quotas.take(by_caller)
    assert quotas.take_if_known(by_caller) is not None
    assert 1 == len(looks)


def test_a_process_remembers_the_endpoints_of_so_many_companies(monkeypatch):
    monkeypatch.setattr(delivery_costs, "MOST_COMPANIES", 2)
    looks = []
    desk = Desk(delivery_bytes=DeliveryCosts(lambda companies: looks.append([*companies]) or {}, clock=lambda: 0.0))

    for company_id in (ACME, OTHER, UUID(int=4), OTHER, ACME):
        desk.record(GOAL, company_id=company_id)

    assert [[ACME], [OTHER], [UUID(int=4)], [ACME]] == looks


def test_keys_count_for_whom_they_open_something():
    desk = Desk(lambda _quota, who, _most: 1 if who == OTHER else 0, max_holder_keys=1)

    for key, another in (
        (KeyIssued(name="ci", user_id=OTHER), KeyIssued(name="ci", user_id=ACME)),
        (KeyIssued(name="ci", agent_id=OTHER), KeyIssued(name="ci", agent_id=ACME)),
        (KeyIssued(name="ci", collection_id=OTHER), KeyIssued(name="ci", collection_id=UUID(int=4))),
    ):
        error = refusal(lambda key=key: desk.record(key), RuleViolation)
        assert "The holder of keys may have at most 1 keys" in error.message
        desk.record(another, holder=None)


def test_whoever_is_over_a_quota_can_still_stop_things():
    desk = Desk(max_company_events_per_minute=1)
    goal = uuid4()
    desk.record(GOAL, stream_id=goal)
    refusal(lambda: desk.edit(goal, "a"))

    desk.record(GoalDeleted(), stream_id=goal)
    desk.record(AgentCreated(profile=AgentProfile(name="Scout"), url_key="scout"), stream_id=ACME, holder=None)
    desk.record(AgentPaused(), stream_id=ACME)


def test_what_there_may_be_so_many_of_is_counted_where_it_is_known():
    counts = []

    def count(quota, who, most):
        counts.append((quota, who, most))
        return 1

    desk = Desk(count, max_company_goals=2, max_company_log_bytes=0)
    desk.record(GOAL)

    error = refusal(lambda: desk.record(GOAL), RuleViolation)

    assert "The company may have at most 2 goals: end some, or ask the operator for more" == error.message
    assert {"code": "over_quota", "quota": "max_company_goals", "limit": 2} == error.details
    assert [("max_company_goals", ACME, 2)] == counts  # what was added since is known


def test_whoever_makes_room_may_go_on():
    there = [2]
    desk = Desk(lambda *_: there[0], max_company_goals=2)
    refusal(lambda: desk.record(GOAL), RuleViolation)

    there[0] = 1
    desk.now_s += 1

    desk.record(GOAL)


def test_comments_count_for_their_issue():
    desk = Desk(lambda _quota, who, _most: 1 if who == OTHER else 0, max_issue_comments=1)

    desk.record(CommentAdded(issue_id=ACME, body="hello"))
    assert "issue" in refusal(lambda: desk.record(CommentAdded(issue_id=OTHER, body="hello")), RuleViolation).message


def test_a_backfill_leaves_half_of_the_minute_to_others():
    desk = Desk(max_company_events_per_minute=4)
    desk.record(GOAL)
    assert not desk.quotas.is_half_used(ACME)
    desk.record(GOAL)
    desk.record(GOAL)
    assert (True, False) == (desk.quotas.is_half_used(ACME), desk.quotas.is_over(ACME))


def test_a_backfill_waits_as_well_while_its_company_has_all_that_it_may_have():
    limits = Limits(max_company_open_issues=200, max_company_log_bytes=0)
    quotas = Quotas(limits, lambda *_: 200, count_all=lambda *_: {ACME: 200})

    assert [True, False] == [quotas.is_half_used(ACME), quotas.is_half_used(OTHER)]


def test_refusals_are_counted_and_who_is_near_a_quota_is():
    desk = Desk(max_company_events_per_minute=1)
    desk.record(GOAL)
    refusal(lambda: desk.record(GOAL))

    assert {"max_company_events_per_minute": 1} == desk.quotas.refusals
    assert 1 == desk.quotas.count_near_limit()["max_company_events_per_minute"]
    assert 0 == desk.quotas.count_near_limit()["max_key_events_per_minute"]


def test_a_process_remembers_so_many_and_no_more():
    rate = Rate("events", 10)
    for n in range(MOST_OWNERS + 10):
        rate.spend(UUID(int=n), 1, 0.0)

    assert MOST_OWNERS == len(rate.used_shares(0.0))
    assert 9 == rate.remaining(UUID(int=MOST_OWNERS + 9), 0.0)


def test_whoever_records_again_is_not_forgotten_first(monkeypatch):
    monkeypatch.setattr(rates, "MOST_OWNERS", 2)
    rate = Rate("events", 10)
    for payer in (ACME, OTHER, ACME, KEY):
        rate.spend(payer, 1, 0.0)

    assert [8, 10, 9] == [rate.remaining(payer, 0.0) for payer in (ACME, OTHER, KEY)]


@for_all(st.lists(st.tuples(st.integers(1, 30), st.floats(0, 90)), max_size=60))
def test_whatever_is_asked_for_no_minute_lets_through_more_than_two_quotas_and_the_last_unit(amounts):
    """One that was saved up, one that is refilled, and the unit of work that goes beyond."""
    rate, now, let_through = Rate("events", 20), 0.0, []
    for amount, pause_s in amounts:
        now += pause_s
        if not rate.wait_s(ACME, now):
            rate.spend(ACME, amount, now)
            let_through.append((now, amount))

    for start, _ in let_through:
        within = [amount for at, amount in let_through if start <= at < start + MINUTE_S]
        assert sum(within) <= 2 * 20 + 30


def test_what_a_company_has_recorded_over_all_time_is_bounded_and_what_ends_things_is_not_refused():
    stored = {ACME: 10_000}
    desk = Desk(
        lambda quota, who, _: stored.get(who, 0) if quota == "max_company_log_bytes" else 0,
        max_company_log_bytes=10_000,
    )
    agent = UUID(int=9)
    desk.record(AgentCreated(profile=AgentProfile(name="Scout"), url_key="scout"), holder=None, stream_id=agent)

    error = refusal(lambda: desk.record(GOAL), RuleViolation)

    assert {"code": "over_quota", "quota": "max_company_log_bytes", "limit": 10_000} == error.details
    assert error.message == (
        "What the company has recorded may take up at most 10000 bytes, and nothing of it can be removed: "
        "ask the operator for more"
    )
    assert desk.quotas.is_over(ACME)
    desk.record(AgentPaused(reason=None), stream_id=agent)
    desk.record(GOAL, company_id=OTHER)
    assert 1 == desk.quotas.refusals_by_quota()["max_company_log_bytes"]


def test_a_company_fills_its_bytes_by_what_is_stored_and_no_further():
    desk = Desk(max_company_log_bytes=20_000)
    large = GoalCreated(details=GoalDetails(title="x" * 6_000))

    for _ in range(3):
        desk.record(large)
    refusal(lambda: desk.record(large), RuleViolation)

    desk.record(GOAL)
    assert 4 == len(list(desk.store.history()))


def test_without_a_bound_a_company_may_fill_the_disk():
    desk = Desk(lambda quota, *_: 10**15 if quota == "max_company_log_bytes" else 0, max_company_log_bytes=0)

    desk.record(GOAL)

    assert not desk.quotas.is_over(ACME)
