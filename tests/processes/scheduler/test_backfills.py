"""Backfills: what was missed runs after all, once, and never in the way of what is due."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest

from application.access import BoardUser
from application.execute import Executor
from application.request_bodies.issues import IssuePatch
from application.request_bodies.routines import BackfillDraft
from application.use_cases import backfills
from application.use_cases.board import issues
from domain.errors import Conflict, InvalidField
from domain.events import (
    AgentPaused,
    AgentResumed,
    BackfillCancelled,
    BackfillCompleted,
    IssueOpened,
    ProjectCreated,
    ProjectPaused,
    RoutineUpdated,
    RunFired,
    TriggerDeleted,
)
from domain.identity import run_of_occurrence
from domain.values import Coalesced, Opened, ProjectDetails, RoutineSettings, Skipped
from processes.scheduler import quarantine
from processes.scheduler import scheduler as schedulers
from processes.scheduler.scheduler import Scheduler
from projections import catalogue
from projections.engine import positions
from projections.firing import backfills as read_model
from projections.firing import triggers_due
from routines import bootstrap
from tests.processes.due import NOON, CompanyFixture
from tests.waiting import wait_for
from verification.faults.environment import Processes
from verification.faults.forked import Forked

MINUTE = timedelta(minutes=1)
BOARD = BoardUser(user_id=uuid4(), key_id=uuid4(), instance_admin=True)
FIVE = [NOON - n * MINUTE for n in (5, 4, 3, 2, 1)]


class Making:
    """Makes up for the past of a workplace, as people ask for it and the scheduler does it."""

    def __init__(self, system, executor):
        self.system, self.executor = system, executor
        self.company_fixture = CompanyFixture(executor)
        self.scheduler = Scheduler(executor, system.store.after, batch=50)
        self.conn = None

    def ask(self, use_case, *args):
        return self.executor.attempt(lambda work: use_case(work, BOARD, *args)).result

    def up(self, armed, since=NOON - 5 * MINUTE, until=NOON - MINUTE, **fields):
        return self.ask(backfills.create, armed.trigger_id, BackfillDraft(from_=since, to=until, **fields))

    def tick(self):
        return self.scheduler.tick(self.conn)

    def finish(self, number=-1):
        """The issue that was opened as that one is done."""
        self.ask(issues.update, self.happened(IssueOpened)[number].stream_id, IssuePatch(status="done"), None)

    def happened(self, kind):
        return [one for one in self.system.store.history() if isinstance(one.event, kind)]

    def runs(self):
        """The firings in order."""
        return [one.event for one in self.happened(RunFired)]

    def shown(self, id_):
        """A backfill as clients read it."""
        while positions.advance(self.conn, [read_model.backfills], self.system.store.after):
            pass
        return read_model.backfill(self.conn, id_)


@pytest.fixture
def backfill_fixture(system, executor, conn):
    workplace = Making(system, executor)
    workplace.conn = conn
    return workplace


@pytest.fixture
def company_fixture(backfill_fixture):
    return backfill_fixture.company_fixture


def settings(company_fixture, **fields):
    return RoutineSettings(title="Check the inbox", assignee_agent_id=company_fixture.agent_id, **fields)


# One at a time, or all at once


def test_each_run_begins_when_the_issue_of_the_one_before_is_closed(company_fixture, backfill_fixture):
    [armed] = company_fixture.routines(next_at=NOON + MINUTE)
    id_ = backfill_fixture.up(armed)

    for number in range(1, 6):
        assert 1 == backfill_fixture.tick()
        assert 0 == backfill_fixture.tick()
        opened = backfill_fixture.happened(IssueOpened)
        assert number == len(opened)
        backfill = backfill_fixture.shown(id_)
        assert ("completed" if number == 5 else "waiting", number) == (backfill.status, backfill.fired)
        backfill_fixture.finish()

    assert FIVE == [run.occurrence for run in backfill_fixture.runs()]
    assert {id_} == {run.backfill_id for run in backfill_fixture.runs()}
    assert 1 == len(backfill_fixture.happened(BackfillCompleted))


def test_a_run_and_its_issue_name_their_occurrence_and_the_texts_have_its_date(company_fixture, backfill_fixture):
    """What is made up for on the second of March is the work of the first: its report bears that date."""
    template = {"title": "Report of {{date}}", "description": "{{timestamp}}", "concurrency_policy": "always_enqueue"}
    yesterday = NOON - timedelta(days=1)
    [armed] = company_fixture.routines(next_at=NOON, cron="0 12 * * *", **template)

    backfill_fixture.up(armed, since=yesterday, until=yesterday, overlap="policy")
    for _ in range(3):
        backfill_fixture.tick()

    issues = [one.event for one in backfill_fixture.happened(IssueOpened)]
    assert [(NOON, "Report of 2026-03-02"), (yesterday, "Report of 2026-03-01")] == [
        (issue.occurrence, issue.details.title) for issue in issues
    ]
    assert "March 1, 2026 at 12:00 PM UTC" == issues[1].details.description


def test_it_waits_for_work_that_is_live_already_and_then_goes_on(company_fixture, clock, backfill_fixture):
    [armed] = company_fixture.routines(next_at=NOON)
    backfill_fixture.tick()
    id_ = backfill_fixture.up(armed)

    assert 0 == backfill_fixture.tick()
    backfill_fixture.finish(0)

    assert 1 == backfill_fixture.tick()
    assert id_ == backfill_fixture.runs()[-1].backfill_id


@pytest.mark.parametrize(
    ("policy", "kinds"),
    [
        ("always_enqueue", [Opened] * 5),
        ("coalesce_if_active", [Opened] + [Coalesced] * 4),
        ("skip_if_active", [Opened] + [Skipped] * 4),
    ],
)
def test_by_policy_all_run_at_once_as_the_routine_says(company_fixture, backfill_fixture, policy, kinds):
    [armed] = company_fixture.routines(next_at=NOON + MINUTE, concurrency_policy=policy)
    backfill_fixture.up(armed, overlap="policy")

    assert 5 == backfill_fixture.tick()

    assert dict(zip(FIVE, kinds, strict=True)) == {run.occurrence: type(run.outcome) for run in backfill_fixture.runs()}


def test_more_than_one_unit_of_work_holds_is_carried_out_by_the_ticks_that_follow(company_fixture, backfill_fixture):
    [armed] = company_fixture.routines(next_at=NOON + MINUTE, concurrency_policy="always_enqueue")
    id_ = backfill_fixture.up(armed, NOON - 70 * MINUTE, NOON - MINUTE, overlap="policy")

    ticks = 0
    while backfill_fixture.shown(id_).status != "completed":
        assert backfill_fixture.tick() <= backfills.AT_ONCE
        assert (0.0 == backfill_fixture.scheduler.pause_s(backfill_fixture.conn)) or backfill_fixture.shown(
            id_
        ).status == "completed"
        ticks += 1

    assert (4, 70) == (ticks, len(backfill_fixture.runs()))
    assert (70, 70, 0) == (
        backfill_fixture.shown(id_).count,
        backfill_fixture.shown(id_).fired,
        backfill_fixture.shown(id_).left_out,
    )


# Once


def test_a_company_with_more_backfills_than_a_tick_carries_on_does_not_hide_that_of_another(
    company_fixture, executor, backfill_fixture, monkeypatch
):
    monkeypatch.setattr(schedulers, "MAX_BACKFILLS", 2)
    quiet = CompanyFixture(executor)
    for armed in company_fixture.routines(3, next_at=NOON + MINUTE):
        backfill_fixture.up(armed)
    [armed] = quiet.routines(next_at=NOON + MINUTE)
    backfill_fixture.up(armed)

    backfill_fixture.tick()

    fired_ids = [run.event.routine_id for run in backfill_fixture.happened(RunFired)]
    assert (2, True) == (len(fired_ids), armed.routine_id in fired_ids)


def test_it_waits_while_a_read_model_is_far_behind_the_log(company_fixture, clock, backfill_fixture, monkeypatch):
    """Whoever reads waits for the slowest; a schedule that is due fires all the same."""
    monkeypatch.setattr(schedulers, "MAX_EVENTS_BEHIND", 5)
    [armed, due] = company_fixture.routines(2, next_at=NOON + MINUTE, concurrency_policy="always_enqueue")
    backfill_fixture.up(armed, overlap="policy")

    assert 0 == backfill_fixture.tick()
    clock.now = NOON + MINUTE
    assert 2 == backfill_fixture.tick()
    assert {armed.trigger_id, due.trigger_id} == {run.trigger_id for run in backfill_fixture.runs()}

    while positions.advance(backfill_fixture.conn, catalogue.ALL, backfill_fixture.system.store.after):
        pass
    clock.now += quarantine.REST
    assert 5 == backfill_fixture.tick()


def test_what_has_run_is_left_out_however_often_it_is_asked_for(company_fixture, backfill_fixture):
    [armed] = company_fixture.routines(next_at=NOON + MINUTE, concurrency_policy="always_enqueue")
    backfill_fixture.up(armed, NOON - 3 * MINUTE, NOON - 2 * MINUTE, overlap="policy")
    backfill_fixture.tick()

    second, third = backfill_fixture.up(armed, overlap="policy"), backfill_fixture.up(armed)
    backfill_fixture.tick()

    assert sorted(FIVE) == sorted(run.occurrence for run in backfill_fixture.runs())
    assert (3, 2) == (backfill_fixture.shown(second).fired, backfill_fixture.shown(second).left_out)
    assert (0, 5, "completed") == (
        backfill_fixture.shown(third).fired,
        backfill_fixture.shown(third).left_out,
        backfill_fixture.shown(third).status,
    )


def test_an_occurrence_of_a_backfill_has_the_run_that_the_schedule_would_have_given_it(
    company_fixture, backfill_fixture
):
    [armed] = company_fixture.routines(next_at=NOON + MINUTE)
    backfill_fixture.up(armed, NOON - MINUTE)
    backfill_fixture.tick()

    assert [run_of_occurrence(armed.trigger_id, NOON - MINUTE)] == [
        one.stream_id for one in backfill_fixture.happened(RunFired)
    ]


def test_many_schedulers_on_two_backfills_of_one_range_fire_every_occurrence_once(
    company_fixture, executor, system, backfill_fixture
):
    [armed] = company_fixture.routines(next_at=NOON + MINUTE, concurrency_policy="always_enqueue")
    ids = [backfill_fixture.up(armed, NOON - 60 * MINUTE, NOON - MINUTE, overlap="policy") for _ in range(2)]

    def race(_):
        scheduler = Scheduler(Executor(system.store, executor.clock), system.store.after, batch=50)
        with bootstrap.connect(system.settings) as conn:
            for _ in range(40):
                scheduler.tick(conn)

    with ThreadPoolExecutor(4) as racers:
        list(racers.map(race, range(4)))

    assert [NOON - n * MINUTE for n in range(60, 0, -1)] == sorted(run.occurrence for run in backfill_fixture.runs())
    assert ["completed"] * 2 == [backfill_fixture.shown(id_).status for id_ in ids]
    assert 60 == sum(backfill_fixture.shown(id_).fired for id_ in ids)


# Not in the way of the schedule


def test_the_schedule_itself_does_not_move(company_fixture, clock, backfill_fixture):
    [armed] = company_fixture.routines(next_at=NOON + MINUTE, concurrency_policy="always_enqueue")
    backfill_fixture.up(armed, overlap="policy")
    backfill_fixture.tick()

    assert NOON + MINUTE == triggers_due.next_due(backfill_fixture.conn, NOON)
    clock.now = NOON + MINUTE
    assert 1 == backfill_fixture.tick()
    assert (NOON + MINUTE, None) == (backfill_fixture.runs()[-1].occurrence, backfill_fixture.runs()[-1].backfill_id)


def test_a_range_ends_before_what_the_schedule_still_has_to_settle(company_fixture, backfill_fixture):
    [armed] = company_fixture.routines(next_at=NOON - 2 * MINUTE)

    backfill = backfill_fixture.shown(backfill_fixture.up(armed, until=NOON + 60 * MINUTE))

    assert (3, "2026-03-02T11:57:59.999Z") == (backfill.count, backfill.to)
    with pytest.raises(InvalidField, match="no occurrence in this range"):
        backfill_fixture.up(armed, NOON - 2 * MINUTE, NOON)


def test_what_is_due_comes_first(company_fixture, clock, backfill_fixture):
    [other] = company_fixture.routines(next_at=NOON)
    [armed] = company_fixture.routines(next_at=NOON + MINUTE)
    backfill_fixture.up(armed)

    backfill_fixture.tick()
    assert [other.trigger_id] == [run.trigger_id for run in backfill_fixture.runs()]
    backfill_fixture.tick()
    assert [other.trigger_id, armed.trigger_id] == [run.trigger_id for run in backfill_fixture.runs()]


def test_the_loop_wakes_up_for_a_backfill(company_fixture, backfill_fixture, scheduler_loop):
    [armed] = company_fixture.routines(next_at=NOON + MINUTE, concurrency_policy="always_enqueue")
    scheduler_loop()

    backfill_fixture.up(armed, overlap="policy")

    wait_for(lambda: len(backfill_fixture.runs()) == 5)


# When it cannot go on


def test_one_that_is_cancelled_halfway_runs_no_more(company_fixture, backfill_fixture):
    [armed] = company_fixture.routines(next_at=NOON + MINUTE)
    id_ = backfill_fixture.up(armed)
    backfill_fixture.tick()

    backfill_fixture.ask(backfills.cancel, id_)
    backfill_fixture.finish(0)

    assert 0 == backfill_fixture.tick()
    assert ("cancelled", "cancelled", 1) == (
        backfill_fixture.shown(id_).status,
        backfill_fixture.shown(id_).reason,
        backfill_fixture.shown(id_).fired,
    )
    with pytest.raises(Conflict, match="The backfill is over"):
        backfill_fixture.ask(backfills.cancel, id_)


def pause_routine(company_fixture, armed):
    company_fixture.record((armed.routine_id, [RoutineUpdated(settings=settings(company_fixture, status="paused"))]))


def pause_agent(company_fixture, _armed):
    company_fixture.record((company_fixture.agent_id, [AgentPaused()]))


def pause_project(company_fixture, armed):
    project = uuid4()
    event = ProjectCreated(details=ProjectDetails(name="Move"), url_key="move")
    company_fixture.record((project, [event, ProjectPaused()]))
    company_fixture.record((armed.routine_id, [RoutineUpdated(settings=settings(company_fixture, project_id=project))]))


def delete_trigger(company_fixture, armed):
    company_fixture.record((armed.trigger_id, [TriggerDeleted()]))


OBSTACLES = {
    pause_routine: "routine_paused",
    pause_agent: "agent_not_invokable",
    pause_project: "project_paused",
    delete_trigger: "trigger_deleted",
}


@pytest.mark.parametrize(("hinder", "reason"), OBSTACLES.items(), ids=OBSTACLES.values())
def test_one_whose_routine_cannot_work_any_more_ends_and_burns_no_occurrence(
    company_fixture, backfill_fixture, hinder, reason
):
    [armed] = company_fixture.routines(next_at=NOON + MINUTE)
    backfill_fixture.up(armed)
    backfill_fixture.tick()

    hinder(company_fixture, armed)
    backfill_fixture.finish(0)

    assert 0 == backfill_fixture.tick()
    assert [reason] == [one.event.reason for one in backfill_fixture.happened(BackfillCancelled)]
    assert 1 == len(backfill_fixture.runs())


@pytest.mark.parametrize("hinder", [pause_routine, pause_agent, pause_project], ids=lambda hinder: hinder.__name__)
def test_one_that_could_not_work_is_refused(company_fixture, backfill_fixture, hinder):
    [armed] = company_fixture.routines(next_at=NOON + MINUTE)
    hinder(company_fixture, armed)

    with pytest.raises(Conflict, match=r"paused|not invokable"):
        backfill_fixture.up(armed)


def test_asked_for_again_it_goes_on_where_it_stopped(company_fixture, backfill_fixture):
    [armed] = company_fixture.routines(next_at=NOON + MINUTE, concurrency_policy="always_enqueue")
    backfill_fixture.up(armed)
    backfill_fixture.tick()
    pause_agent(company_fixture, armed)
    backfill_fixture.finish(0)
    backfill_fixture.tick()

    company_fixture.record((company_fixture.agent_id, [AgentResumed()]))
    backfill_fixture.up(armed, overlap="policy")
    backfill_fixture.tick()

    assert FIVE == sorted(run.occurrence for run in backfill_fixture.runs())


def test_one_that_cannot_be_carried_out_ends_with_the_reason(company_fixture, clock, backfill_fixture, monkeypatch):
    [armed] = company_fixture.routines(next_at=NOON + timedelta(days=1), cron="* * * * *")
    backfill_fixture.up(armed)
    monkeypatch.setattr("domain.schedule.plan.occurrences", raise_error)

    for _ in range(3):
        backfill_fixture.tick()
        clock.now += timedelta(seconds=6)

    assert ["could_not_be_carried_out: ZeroDivisionError"] == [
        one.event.reason for one in backfill_fixture.happened(BackfillCancelled)
    ]


def raise_error(*_):
    raise ZeroDivisionError


# What would happen


def test_a_preview_says_what_would_run_and_records_nothing(company_fixture, system, backfill_fixture):
    [armed] = company_fixture.routines(next_at=NOON + MINUTE, concurrency_policy="always_enqueue")
    backfill_fixture.up(armed, NOON - 3 * MINUTE, NOON - 2 * MINUTE, overlap="policy")
    backfill_fixture.tick()
    head = system.store.head()

    preview = backfill_fixture.ask(backfills.preview, armed.trigger_id, BackfillDraft(from_=NOON - 5 * MINUTE))

    ran = {at: run_of_occurrence(armed.trigger_id, at) for at in FIVE[2:4]}
    assert tuple((at, ran.get(at)) for at in [*FIVE, NOON]) == preview.occurrences
    assert (6, 2, None) == (preview.count, preview.left_out, preview.obstacle)
    assert head == system.store.head()


def test_up_to_now_counts_where_the_schedule_itself_settles_nothing(company_fixture, backfill_fixture):
    [armed] = company_fixture.routines(next_at=NOON + MINUTE)

    assert 6 == backfill_fixture.shown(backfill_fixture.up(armed, until=None)).count


# Under kill -9


def test_a_scheduler_that_is_killed_again_and_again_makes_up_for_every_occurrence_once(system, tmp_path):
    backfill_fixture = Making(system, system.executor)
    now = system.executor.clock().replace(second=0, microsecond=0)
    [armed] = backfill_fixture.company_fixture.routines(
        next_at=now + timedelta(days=400), concurrency_policy="always_enqueue"
    )
    backfill_fixture.up(armed, now - 499 * MINUTE, now, overlap="policy")
    processes, kills = Processes(system.settings.database_url, tmp_path, launch=Forked), []
    projector = processes.start("projector")  # a backfill waits for read models that are far behind

    while not backfill_fixture.happened(BackfillCompleted):
        wanted = (
            len(backfill_fixture.runs()) + 75 if kills else 1
        )  # the first comes as soon as there is anything to cut short
        scheduler = processes.start("scheduler")
        wait_for(
            lambda many=wanted: len(backfill_fixture.runs()) >= many or backfill_fixture.happened(BackfillCompleted),
            limit_s=30,
        )
        scheduler.kill()
        scheduler.wait()
        kills.append(len(backfill_fixture.runs()))
    projector.kill()
    projector.wait()

    assert [now - n * MINUTE for n in range(499, -1, -1)] == [run.occurrence for run in backfill_fixture.runs()]
    assert 500 == len(backfill_fixture.happened(IssueOpened))
    assert any(0 < runs < 500 for runs in kills)
