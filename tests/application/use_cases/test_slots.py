from datetime import timedelta
from uuid import uuid4

import pytest

from application.event_store.stream_kinds import ROUTINE
from application.request_bodies import IssuePatch
from application.use_cases import runs, slots
from application.use_cases.board import issues
from domain.errors import RuleViolation
from domain.events import RunFired
from domain.identity import issue_of_run
from domain.values import Failed, LiveWork
from tests.application.use_cases.installation import HOUR, Installation


def live(here, routine):
    return [one.run_id for one in here.executor.query(lambda work: slots.of(work, routine)).live]


def test_the_slot_of_a_routine_that_never_ran_is_empty(here):
    assert [] == live(here, uuid4())


def test_live_work_is_in_the_slot_until_it_ends_and_again_when_it_goes_on(here):
    routine, one = here.routine(), LiveWork(issue_id=uuid4(), run_id=uuid4())

    for is_live in (True, True, False, True):
        here.carry_out(slots.follow, routine, one, here.company, is_live=is_live)
        assert ([one.run_id] if is_live else []) == live(here, routine)


def test_of_several_live_issues_the_one_that_changed_last_counts(here):
    routine = here.routine(concurrency_policy="always_enqueue")
    first, second = here.fire(routine), here.fire(routine)
    here.passes(timedelta(seconds=1))
    here.ask(issues.update, issue_of_run(first), IssuePatch(title="Touched"), None)

    def newest(work, policy):
        of = work.get(ROUTINE, routine)
        settings = type(of.settings)(title="x", concurrency_policy=policy)
        return slots.newest(work, type(of)(settings=settings, revision=1), slots.of(work, routine))

    assert [first, second] == live(here, routine)
    assert first == here.executor.query(lambda work: newest(work, "coalesce_if_active")).run_id
    assert here.executor.query(lambda work: newest(work, "always_enqueue")) is None


def test_a_routine_has_so_much_live_work_and_no_more_is_begun():
    here = Installation(max_routine_open_issues=1)
    routine = here.routine(concurrency_policy="always_enqueue")
    trigger = here.schedule(routine)
    here.fire(routine)

    with pytest.raises(RuleViolation, match="may have at most 1"):
        here.fire(routine)
    here.passes(HOUR)
    here.carry_out(runs.fire_due, [here.due(trigger, here.now.replace(minute=0, second=0))])

    last = here.events(RunFired)[-1].outcome
    assert isinstance(last, Failed)
    assert "may have at most 1" in last.reason
