from datetime import timedelta

import pytest

from application.request_bodies.issues import IssuePatch
from application.request_bodies.triggers import TriggerPatch
from application.use_cases import triggers
from application.use_cases.board import agents, issues
from domain.identity import issue_of_run, run_of_chain
from projections.engine import positions
from projections.firing import chains


def due_chains(story):
    while positions.advance(story.conn, [chains.chains], story.store.after):
        pass
    return [(row.trigger_id, row.cause_run_id) for row in chains.due(story.conn, limit=100)]


@pytest.fixture
def acme(story):
    return story.company()


@pytest.fixture
def scout(story, acme):
    return story.agent(acme)


@pytest.fixture
def fetch(story, acme, scout):
    return story.routine(acme, scout, "Fetch", concurrency_policy="cancel_previous")


@pytest.fixture
def write(story, acme, scout):
    return story.routine(acme, scout, "Write")


@pytest.mark.parametrize(
    ("wanted", "status", "due_runs"),
    [
        ("succeeded", "done", 1),
        ("succeeded", "cancelled", 0),
        ("failed", "done", 0),
        ("failed", "cancelled", 1),
        ("any", "done", 1),
        ("any", "cancelled", 1),
        ("any", "blocked", 0),
    ],
)
def test_a_run_is_due_when_the_run_before_it_has_ended_as_is_wanted(  # noqa: PLR0917
    story, fetch, write, wanted, status, due_runs
):
    trigger, run = story.after(write, fetch, after_outcome=wanted), story.fire(fetch)
    assert [] == due_chains(story)

    story.patch(issue_of_run(run), status=status)

    assert [(trigger, run)] * due_runs == due_chains(story)


def test_what_is_due_is_gone_once_it_is_fired(story, fetch, write):
    trigger, run = story.after(write, fetch), story.fire(fetch)
    story.patch(issue_of_run(run), status="done")

    [row] = story.carry_on_chains()

    assert (run_of_chain(trigger, run), []) == (row.id, due_chains(story))


def test_the_first_end_of_a_run_counts_and_no_later_one(story, fetch, write):
    story.after(write, fetch, after_outcome="any")
    run = story.fire(fetch)
    for status in ("done", "todo", "cancelled"):
        story.patch(issue_of_run(run), status=status)
        story.carry_on_chains()

    story.patch(issue_of_run(run), status="done")

    assert [] == due_chains(story)


def test_a_run_that_was_fired_before_the_link_is_not_followed(story, fetch, write):
    run = story.fire(fetch)
    story.after(write, fetch)

    story.patch(issue_of_run(run), status="done")

    assert [] == due_chains(story)


def test_a_run_whose_successor_took_its_place_has_not_ended_for_a_chain(story, fetch, write):
    trigger = story.after(write, fetch, after_outcome="any")
    story.fire(fetch)
    second = story.fire(fetch)
    assert [] == due_chains(story)

    story.patch(issue_of_run(second), status="done")

    assert [(trigger, second)] == due_chains(story)


def test_a_run_that_could_not_begin_has_failed(story, acme, fetch, write, scout):
    trigger = story.after(write, fetch, after_outcome="failed")
    story.ask(agents.pause, scout, "holiday")

    run = story.fire(fetch)

    assert [(trigger, run)] == due_chains(story)


def test_a_link_that_is_disabled_deleted_or_moved_waits_no_more(story, acme, scout, fetch, write):
    other = story.routine(acme, scout, "Other")
    disabled, deleted, moved = (story.after(write, fetch) for _ in range(3))
    run = story.fire(fetch)
    story.ask(triggers.update, disabled, TriggerPatch(enabled=False))
    story.ask(triggers.delete, deleted)
    story.ask(triggers.update, moved, TriggerPatch(after_routine_id=other))

    story.ask(issues.update, issue_of_run(run), IssuePatch(status="done"), None)
    assert [] == due_chains(story)
    story.passes(timedelta(minutes=1))
    run = story.fire(other)
    story.patch(issue_of_run(run), status="done")

    assert [(moved, run)] == due_chains(story)
