from application.event_store.stream_kinds import ISSUE, ROUTINE, RUN, SLOT, TRAJECTORY
from application.request_bodies import RoutinePatch
from application.use_cases import deadlines, routines
from application.use_cases.board import agents
from application.use_cases.jetty import task_routines
from domain.events import CommentAdded, RunFailed
from domain.identity import issue_of_run, slot_of
from domain.routines.deadline import Overdue
from domain.routines.run import TIMED_OUT
from tests.application.use_cases.installation import DAY, HOUR


def overdue(here, id_, kind="run"):
    return here.carry_out(deadlines.settle, [Overdue(id=id_, kind=kind, ends_at=here.now)])


def test_a_run_that_lasts_too_long_fails_its_issue_is_cancelled_and_the_slot_is_free(here):
    routine = here.routine(max_run_duration_sec=3_600)
    run = here.fire(routine)
    here.passes(HOUR)

    assert 1 == overdue(here, run)

    assert RunFailed(reason=TIMED_OUT) == here.state(RUN, run).ended
    assert "cancelled" == here.state(ISSUE, issue_of_run(run)).status
    assert 0 == len(here.state(SLOT, slot_of(routine)).live)
    assert ["maxRunDurationSec" in event.body for event in here.events(CommentAdded)] == [True]


def test_a_run_that_has_ended_meanwhile_is_left_alone(here):
    run = here.fire(here.routine())
    here.finish(run)
    before = len(list(here.store.history()))

    assert 0 == overdue(here, run)
    assert before == len(list(here.store.history()))


def test_a_call_that_lasts_too_long_ends_with_its_trajectory(here):
    trajectory = here.ask(task_routines.run_now, here.task_routine(here.task(here.collection()[0])))
    run = here.state(TRAJECTORY, trajectory).run_id

    assert [1, 0] == [overdue(here, run) for _ in range(2)]
    assert TIMED_OUT in str(here.state(RUN, run).ended)


def paused(here, routine):
    until = here.now + DAY
    here.ask(routines.update, routine, RoutinePatch(status="paused", resume_at=until))
    here.passes(DAY)
    return Overdue(id=routine, kind="pause", ends_at=until)


def test_a_pause_that_is_over_ends_and_one_that_was_changed_does_not(here):
    routine = here.routine()
    row = paused(here, routine)
    here.ask(routines.update, routine, RoutinePatch(resume_at=here.now + HOUR))
    assert 0 == here.carry_out(deadlines.settle, [row])

    assert 1 == here.carry_out(deadlines.settle, [Overdue(id=routine, kind="pause", ends_at=here.now + HOUR)])
    assert "active" == here.state(ROUTINE, routine).settings.status


def test_without_an_agent_that_can_work_a_routine_stays_paused_and_says_why(here):
    routine = here.routine()
    row = paused(here, routine)
    here.ask(agents.terminate, here.agent)

    assert 1 == here.carry_out(deadlines.settle, [row])

    settings = here.state(ROUTINE, routine).settings
    assert ("paused", None) == (settings.status, settings.resume_at)
    assert settings.pause_note.startswith("Could not be resumed: ")
