"""The occurrence ledger: every occurrence in exactly one row, whatever happened."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from application.request_bodies.triggers import TriggerPatch
from application.use_cases import triggers
from application.use_cases.board import projects
from domain.identity import run_of_occurrence
from projections.firing import occurrences
from projections.firing.occurrences import Place
from tests.examples import examples
from tests.projections.story import DAY, HOUR, MINUTE, START

ALWAYS = (START - 10 * DAY, START + 1_000 * DAY)
MATCHES = {
    "* * * * *": lambda _: True,
    "*/15 * * * *": lambda at: at.minute % 15 == 0,
    "0 * * * *": lambda at: at.minute == 0,
    "30 14 * * *": lambda at: (at.hour, at.minute) == (14, 30),
}


@pytest.fixture
def acme(story):
    return story.company()


@pytest.fixture
def scout(story, acme):
    return story.agent(acme)


def rows(story, trigger_id, period=ALWAYS, after=None, limit=1_000):
    story.project_all()
    return occurrences.rows_within(story.conn, trigger_id, period, after=after, limit=limit)


def edit(story, trigger_id, **fields):
    story.ask(triggers.update, trigger_id, TriggerPatch(**fields))


def test_a_firing_is_one_row_with_its_run_issue_and_policies(story, acme, scout):
    routine = story.routine(acme, scout, catch_up_policy="enqueue_missed_with_cap")
    trigger = story.schedule(routine)
    story.passes(HOUR)
    story.tick()

    (row,) = rows(story, trigger)

    at = START.replace(hour=13, second=0)
    assert (at, at, 1, at) == (row.first, row.last, row.count, row.due_at)
    assert ("issue_created", None, None) == (row.outcome, row.reason, row.blocking_run_id)
    assert ("coalesce_if_active", "enqueue_missed_with_cap") == (row.concurrency_policy, row.catch_up_policy)
    assert run_of_occurrence(trigger, at) == row.id == row.run_id
    assert (routine, trigger, acme) == (row.routine_id, row.trigger_id, row.company_id)
    assert story.now == row.settled_at
    assert row.position == next(one.position for one in story.store.history() if one.stream_id == row.id)


def test_what_met_a_live_issue_names_its_run(story, acme, scout):
    trigger_by_policy = {}
    for policy in ("coalesce_if_active", "skip_if_active"):
        trigger_by_policy[policy] = story.schedule(story.routine(acme, scout, concurrency_policy=policy))
    for _ in range(2):
        story.passes(HOUR)
        story.tick()

    for policy, outcome in (("coalesce_if_active", "coalesced"), ("skip_if_active", "skipped")):
        first, second = rows(story, trigger_by_policy[policy])
        assert (outcome, "live_execution_issue", policy) == (second.outcome, second.reason, second.concurrency_policy)
        assert (first.run_id, first.issue_id) == (second.blocking_run_id, second.issue_id)


def test_a_paused_project_and_an_agent_that_cannot_work_are_reasons(story, acme, scout):
    project = story.project(acme)
    skipped = story.schedule(story.routine(acme, scout, project_id=project))
    story.ask(projects.pause, project)
    failed = story.schedule(story.routine(acme, scout, title="Hello {{who}}"), enabled=False)
    story.passes(HOUR)
    story.tick()

    (row,) = rows(story, skipped)
    assert ("skipped", "project_paused", None) == (row.outcome, row.reason, row.issue_id)
    assert [] == rows(story, failed)


def test_a_missed_range_is_one_row(story, acme, scout):
    trigger = story.schedule(story.routine(acme, scout), "* * * * *")
    story.passes(DAY)
    story.tick()

    missed, last = rows(story, trigger)

    assert ("missed", "skip_missed", 1439) == (missed.outcome, missed.reason, missed.count)
    assert (START.replace(second=0) + MINUTE, last.first - MINUTE) == (missed.first, missed.last)
    assert (None, None) == (missed.run_id, missed.issue_id)


@pytest.mark.parametrize("change", ["edited", "deleted", "paused", "archived"])
def test_what_a_change_leaves_behind_is_a_row_that_says_so(story, acme, scout, change):
    routine = story.routine(acme, scout)
    trigger = story.schedule(routine)
    story.passes(HOUR)
    if change == "edited":
        edit(story, trigger, cron_expression="30 * * * *")
    elif change == "deleted":
        story.ask(triggers.delete, trigger)
    else:
        story.change(routine, status=change)
        story.passes(HOUR)
        story.change(routine, status="active" if change == "paused" else change)

    (row,) = rows(story, trigger)

    assert ("missed", change, 1) == (row.outcome, row.reason, row.count)


def test_the_policy_of_that_time_is_kept(story, acme, scout):
    routine = story.routine(acme, scout)
    trigger = story.schedule(routine)
    story.passes(HOUR)
    story.tick()
    story.change(routine, concurrency_policy="always_enqueue", catch_up_policy="enqueue_missed_with_cap")
    story.passes(HOUR)
    story.tick()

    assert ["coalesce_if_active", "always_enqueue"] == [row.concurrency_policy for row in rows(story, trigger)]


def test_the_due_moment_of_a_schedule_with_jitter_is_kept(story, acme, scout):
    trigger = story.schedule(story.routine(acme, scout), jitter_sec=1_800)
    story.passes(HOUR + 1_800 * timedelta(seconds=1))
    story.tick()
    edit(story, trigger, jitter_sec=0)
    story.passes(HOUR)
    story.tick()

    first, second = rows(story, trigger)

    (created, *_) = story.store.load([trigger])[trigger]
    assert created.event.due_at == first.due_at
    assert first.first <= first.due_at <= first.first + HOUR / 2
    assert second.first == second.due_at


def test_a_period_is_read_page_by_page(story, acme, scout):
    trigger = story.schedule(story.routine(acme, scout))
    for _ in range(5):
        story.passes(HOUR)
        story.tick()
    whole = rows(story, trigger)

    pages, after = [], None
    while page := rows(story, trigger, after=after, limit=2):
        pages += page
        after = Place(page[-1].first, page[-1].id)

    assert whole == pages
    assert whole[1:3] == rows(story, trigger, period=(whole[1].first, whole[2].first))
    assert whole[-1].last == occurrences.latest_occurrence(story.conn, trigger)


def test_a_period_is_a_range_of_an_index(story, acme, scout):
    trigger = story.schedule(story.routine(acme, scout))
    story.project_all()
    story.conn.execute("SET enable_seqscan = off")
    values = {"trigger_id": trigger, "since": START, "until": START + DAY, "limit": 100}
    plan = "\n".join(
        line
        for (line,) in story.conn.execute(
            "EXPLAIN " + occurrences._WITHIN, {**values, "after": START - DAY, "after_id": UUID(int=0)}
        )
    )

    assert "Index Scan using occurrence_trigger_id_first_id_idx" in plan
    assert "Sort" not in plan
    assert "Seq Scan" not in plan


class History:
    """What people do to one routine's schedules, and when each of these counted."""

    def __init__(self, story, acme, scout):
        self.story, self.active, self.counting, self.periods = story, True, {}, []
        self.routine = story.routine(acme, scout)
        self.crons, self.enabled = {}, {}
        self.add("* * * * *")

    def add(self, cron):
        trigger = self.story.schedule(self.routine, cron)
        self.crons[trigger], self.enabled[trigger] = cron, True
        self.begin(trigger)

    def begin(self, trigger):
        if self.active and self.enabled[trigger]:
            self.counting[trigger] = self.story.now

    def end(self, trigger):
        if (since := self.counting.pop(trigger, None)) is not None:
            self.periods.append((trigger, self.crons[trigger], since, self.story.now))

    def do(self, what, argument):
        newest = next(reversed(self.crons))
        match what:
            case "pass":
                self.story.passes(argument)
            case "tick":
                self.story.tick()
            case "add":
                self.add(argument)
            case "edit" if newest in self.enabled:
                self.end(newest)
                edit(self.story, newest, cron_expression=argument)
                self.crons[newest] = argument
                self.begin(newest)
            case "able" if newest in self.enabled:
                self.end(newest)
                edit(self.story, newest, enabled=argument)
                self.enabled[newest] = argument
                self.begin(newest)
            case "delete" if newest in self.enabled:
                self.end(newest)
                self.story.ask(triggers.delete, newest)
                del self.enabled[newest]
            case "status" if self.active != (argument == "active"):
                for trigger in self.enabled:
                    self.end(trigger)
                self.story.change(self.routine, status=argument)
                self.active = argument == "active"
                for trigger in self.enabled:
                    self.begin(trigger)
            case "policy":
                self.story.change(self.routine, catch_up_policy=argument)

    def expected(self):
        """The occurrences of each trigger, by a walk over minutes."""
        for trigger in list(self.counting):
            self.end(trigger)
        moments_by_trigger = {trigger: [] for trigger in self.crons}
        for trigger, cron, since, until in self.periods:
            at = since.replace(second=0, microsecond=0) + MINUTE
            while at <= until:
                if MATCHES[cron](at):
                    moments_by_trigger[trigger].append(at)
                at += MINUTE
        return moments_by_trigger


PASSING = [timedelta(seconds=20), MINUTE, 3 * MINUTE, timedelta(minutes=40, seconds=7), 3 * HOUR, DAY]
STEPS = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from(PASSING)),
    st.tuples(st.just("pass"), st.sampled_from(PASSING)),
    st.tuples(st.just("tick"), st.none()),
    st.tuples(st.sampled_from(["add", "edit"]), st.sampled_from(list(MATCHES))),
    st.tuples(st.just("able"), st.booleans()),
    st.tuples(st.just("delete"), st.none()),
    st.tuples(st.just("status"), st.sampled_from(["active", "paused"])),
    st.tuples(st.just("policy"), st.sampled_from(["skip_missed", "enqueue_missed_with_cap"])),
)


def walk_occurrences(row, cron):
    """The occurrences that a row stands for."""
    moments, at = [], row.first
    while at <= row.last:
        if MATCHES[cron](at):
            moments.append(at)
        at += MINUTE
    assert len(moments) == row.count
    return moments


@settings(
    max_examples=examples(suite=12, campaign=25),
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(STEPS, min_size=4, max_size=14))
def test_every_past_occurrence_of_an_enabled_schedule_of_an_active_routine_is_in_exactly_one_row(story, steps):
    company = story.company()
    history = History(story, company, story.agent(company))
    for what, argument in steps:
        history.do(what, argument)
    story.tick()

    story.project_all()
    expected = history.expected()
    for trigger, occurred in expected.items():
        periods = [period for id_, *period in history.periods if id_ == trigger]
        covered = []
        for row in rows(story, trigger, limit=100_000):
            (cron,) = (cron for cron, since, until in periods if since < row.first and row.last <= until)
            covered += walk_occurrences(row, cron)
        assert occurred == covered
