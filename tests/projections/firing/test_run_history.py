"""Run history: what became of every firing, as clients read it (contract 5)."""

from uuid import UUID

import msgspec
import pytest

from application.use_cases import triggers
from application.use_cases.board import agents, projects
from domain.bounds.json_size import size_of
from domain.bounds.limits import SHOWN_PAYLOAD_BYTES
from domain.events import RunFired
from domain.identity import issue_of_run, revision_of, run_of_occurrence
from domain.recorded import Recorded
from domain.values import Failed
from projections.firing import run_history
from projections.firing.run_documents import run_of, with_shortened_payload
from projections.responses import time
from tests.projections.story import HOUR, MINUTE, START

ONE = START.replace(hour=13, minute=0, second=0)


@pytest.fixture
def acme(story):
    return story.company()


@pytest.fixture
def scout(story, acme):
    return story.agent(acme)


def history(story, routine_id, limit=200):
    story.project_all()
    return run_history.recent_runs(story.conn, routine_id, limit)


def run_with(payload):
    event = RunFired(routine_id=UUID(int=1), revision=1, source="api", outcome=Failed(reason="x"), payload=payload)
    recorded = Recorded(stream_id=UUID(int=2), version=1, at=START, actor="x", company_id=UUID(int=3), event=event)
    return run_of([recorded])


def test_a_run_by_hand_shows_its_issue(story, acme, scout):
    id_ = story.routine(acme, scout)
    run_id = story.fire(id_, payload={"a": 1}, idempotency_key="k")

    (run,) = history(story, id_)

    assert (run.id, run.company_id, run.routine_id, run.source) == (run_id, acme, id_, "manual")
    assert (run.status, run.failure_reason, run.completed_at) == ("issue_created", None, None)
    assert (run.linked_issue_id, run.coalesced_into_run_id) == (issue_of_run(run_id), None)
    assert (run.trigger_payload, run.idempotency_key) == ({"a": 1}, "k")
    assert run.routine_revision_id == revision_of(id_, 1)
    assert (run.linked_issue.identifier, run.linked_issue.title) == ("ACM-1", "Check")
    assert run.trigger is None
    assert len(run.dispatch_fingerprint) == 64


def test_a_scheduled_run_names_its_trigger(story, acme, scout):
    id_ = story.routine(acme, scout)
    hourly = story.schedule(id_, label="hourly")
    story.passes(HOUR)
    story.tick()

    (run,) = history(story, id_)

    assert run.id == run_of_occurrence(hourly, ONE)
    assert (run.source, run.trigger_id, run.triggered_at) == ("schedule", hourly, time(START + HOUR))
    assert (run.trigger.id, run.trigger.kind, run.trigger.label) == (hourly, "schedule", "hourly")
    assert run.routine_revision_id == revision_of(id_, 2)


@pytest.mark.parametrize(("policy", "status"), [("coalesce_if_active", "coalesced"), ("skip_if_active", "skipped")])
def test_a_run_that_met_a_live_issue_is_linked_to_it_and_over_at_once(story, acme, scout, policy, status):
    id_ = story.routine(acme, scout, concurrency_policy=policy)
    first = story.fire(id_)
    story.passes(MINUTE)
    story.fire(id_)

    run, _ = history(story, id_)

    assert (run.status, run.failure_reason) == (status, None)
    assert (run.linked_issue_id, run.coalesced_into_run_id) == (issue_of_run(first), first)
    assert run.completed_at == run.triggered_at == time(START + MINUTE)


def test_a_schedule_of_a_paused_project_is_skipped_without_an_issue_and_a_run_by_hand_is_not(story, acme, scout):
    move = story.project(acme)
    id_ = story.routine(acme, scout, project_id=move)
    story.schedule(id_)
    story.ask(projects.pause, move)
    story.passes(HOUR)
    story.tick()
    story.fire(id_)

    by_hand, scheduled = history(story, id_)

    assert (scheduled.status, scheduled.failure_reason, scheduled.linked_issue_id) == ("skipped", "paused", None)
    assert (scheduled.completed_at, scheduled.trigger_payload) == (scheduled.triggered_at, None)
    assert by_hand.status == "issue_created"


def test_a_run_for_a_paused_agent_failed_at_once(story, acme, scout):
    id_ = story.routine(acme, scout)
    story.ask(agents.pause, scout, "manual")
    story.fire(id_)

    (run,) = history(story, id_)

    assert (run.status, run.failure_reason) == ("failed", "Agent is not invokable in its current state")
    assert (run.completed_at, run.linked_issue) == (run.triggered_at, None)


def test_a_run_ends_with_its_issue_and_those_that_joined_stay_as_they_are(story, acme, scout):
    id_ = story.routine(acme, scout)
    first, _ = story.fire(id_), story.fire(id_)
    story.passes(MINUTE)
    story.patch(issue_of_run(first), status="done")

    joined, run = history(story, id_)

    assert (run.status, run.completed_at, run.failure_reason) == ("completed", time(START + MINUTE), None)
    assert (joined.status, joined.completed_at) == ("coalesced", time(START))
    assert run.linked_issue.status == "done"


def test_a_later_end_replaces_an_earlier_one_and_its_reason(story, acme, scout):
    id_ = story.routine(acme, scout)
    issue_id = issue_of_run(story.fire(id_))
    seen = []
    for status in ("cancelled", "todo", "done", "in_progress", "blocked", "cancelled"):
        story.passes(MINUTE)
        story.patch(issue_id, status=status)
        (run,) = history(story, id_)
        seen.append((run.status, run.failure_reason, run.completed_at))

    cancelled = "Execution issue moved to cancelled"
    at = [time(START + n * MINUTE) for n in range(7)]
    assert seen == [
        ("failed", cancelled, at[1]),
        ("failed", cancelled, at[1]),
        ("completed", None, at[3]),
        ("completed", None, at[3]),
        ("completed", None, at[3]),
        ("failed", cancelled, at[6]),
    ]


def test_runs_stand_newest_first_and_as_many_as_asked_for(story, acme, scout):
    id_, other = story.routine(acme, scout), story.routine(acme, scout)
    fired = [story.fire(id_) for _ in range(5)]
    story.fire(other)

    assert [one.id for one in history(story, id_)] == fired[::-1]
    assert [one.id for one in history(story, id_, limit=2)] == fired[:2:-1]
    assert history(story, scout) == []


def test_a_run_outlives_its_trigger(story, acme, scout):
    id_ = story.routine(acme, scout)
    by_code = story.by_code(id_)
    story.fire(id_, source="api", trigger_id=by_code)
    story.ask(triggers.delete, by_code)

    (run,) = history(story, id_)

    assert (run.source, run.trigger_id, run.trigger) == ("api", by_code, None)


def test_a_run_read_from_its_stream_is_the_run_of_the_list(story, conn, acme, scout):
    id_ = story.routine(acme, scout)
    run_id = story.fire(id_)
    story.passes(MINUTE)
    story.patch(issue_of_run(run_id), status="done")

    (listed,) = history(story, id_)
    own = run_of(story.store.load([run_id])[run_id])

    fields = set(own.__struct_fields__) & set(listed.__struct_fields__)
    assert {name: getattr(own, name) for name in fields} == {name: getattr(listed, name) for name in fields}


def test_a_large_payload_is_shown_without_its_largest_fields():
    few = {"action": "opened", "diff": "x" * SHOWN_PAYLOAD_BYTES, "number": 7}
    many = {f"field {number}": "x" * 1_000 for number in range(1_000)}
    exact = {"a": "x" * (SHOWN_PAYLOAD_BYTES - len('{"a":""}'))}

    for payload in ({}, {"a": 1}, exact, None):
        assert msgspec.UNSET is with_shortened_payload(run_with(payload)).trigger_payload_bytes
    cut = with_shortened_payload(run_with(few))
    assert ({"action": "opened", "number": 7}, size_of(few)) == (cut.trigger_payload, cut.trigger_payload_bytes)
    of_many = with_shortened_payload(run_with(many)).trigger_payload
    assert 250 < len(of_many) < 260
    assert size_of(of_many) <= SHOWN_PAYLOAD_BYTES
    assert {} == with_shortened_payload(run_with({"a": "x" * SHOWN_PAYLOAD_BYTES})).trigger_payload
