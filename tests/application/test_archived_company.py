"""An archived company: nothing fires and nothing begins, what is under way can be finished, everything can be read."""

import pytest

from application.request_bodies.board import (
    AgentDraft,
    AgentKeyDraft,
    AgentPatch,
    CompanyPatch,
    FolderDraft,
    GoalDraft,
    MemberDraft,
    ProjectDraft,
)
from application.request_bodies.endpoints import EndpointDraft
from application.request_bodies.issues import Checkout, CommentDraft, IssueDraft, IssuePatch
from application.request_bodies.jetty import (
    ApiKeyCreate,
    FinishRequest,
    RoutineChange,
    RunCreate,
    StepReport,
    TaskCreate,
)
from application.request_bodies.routines import BackfillDraft, RoutineDraft, RoutinePatch, RunRequest
from application.request_bodies.triggers import ApiDraft, TriggerPatch, WebhookDraft
from application.use_cases import (
    backfills,
    deadlines,
    endpoints,
    explanations,
    folders,
    read_access,
    routines,
    runs,
    schedule_firing,
    schedule_previews,
    triggers,
    webhooks,
)
from application.use_cases.board import agents, companies, goals, issues, keys, members, projects
from application.use_cases.jetty import collections, task_routines, tasks, trajectories
from domain.errors import Conflict
from domain.events import (
    BackfillCancelled,
    CompanyCreated,
    RoutineUpdated,
    RunCompleted,
    RunFired,
    TaskCreated,
    TrajectoryOpened,
    TriggerMissed,
)
from domain.identity import issue_of_run
from domain.routines.backfill import WaitingBackfill
from domain.routines.deadline import Overdue
from domain.webhooks.verification import WebhookRequest
from tests.application.use_cases.installation import HOUR, Installation

SESSION = None


@pytest.fixture
def app():
    return Installation()


def assert_refused(app, *request, **fields):
    old_head = app.store.head()
    with pytest.raises(Conflict, match="Company is archived"):
        app.ask(*request, **fields)
    assert old_head == app.store.head()


def test_nothing_begins_in_it(app):
    routine, issue, company = app.routine(), app.issue(), app.company
    schedule = app.schedule(routine)
    api = app.ask(triggers.create, routine, ApiDraft(enabled=False)).trigger_id
    asleep = app.routine(status="paused")
    app.passes(3 * HOUR)
    app.ask(companies.archive, company)

    for request in (
        (runs.fire_by_hand, routine, RunRequest()),
        (runs.fire_by_hand, routine, RunRequest(source="api")),
        (backfills.create, schedule, BackfillDraft(from_=app.now - 9 * HOUR)),
        (routines.create, company, RoutineDraft(title="New")),
        (routines.update, routine, RoutinePatch(title="New")),
        (routines.update, asleep, RoutinePatch(status="active")),
        (triggers.create, routine, WebhookDraft()),
        (triggers.update, api, TriggerPatch(enabled=True)),
        (issues.create, company, IssueDraft(title="New")),
        (issues.update, issue, IssuePatch(assignee_agent_id=app.agent), SESSION),
        (issues.update, issue, IssuePatch(status="in_progress"), SESSION),
        (issues.check_out, issue, Checkout(agent_id=app.agent, expected_statuses=("backlog",)), SESSION),
        (agents.create, company, AgentDraft(name="New")),
        (agents.update, app.agent, AgentPatch(name="New")),
        (projects.create, company, ProjectDraft(name="New")),
        (goals.create, company, GoalDraft(title="New")),
        (folders.create, company, FolderDraft(name="New")),
        (endpoints.create, company, EndpointDraft(url="https://example.com/", events=("*",))),
        (keys.create_for_agent, app.agent, AgentKeyDraft()),
        (members.add, company, MemberDraft(name="Robin", membership_role="member")),
        (companies.update, company, CompanyPatch(name="New")),
    ):
        assert_refused(app, *request)


def test_nothing_begins_in_it_through_jettys_api_either(app):
    name, caller = app.collection()
    task = app.task(name)
    path = app.task_routine(task, "hourly")
    paused = app.task_routine(task, paused=True)
    app.ask(trajectories.run, task, RunCreate())
    app.ask(companies.archive, app.ids(CompanyCreated)[-1])

    for request in (
        (task_routines.run_now, path),
        (task_routines.resume, paused),
        (task_routines.update, path, RoutineChange(paused=False, name="other")),
        (trajectories.run, task, RunCreate()),
        (tasks.create, name, TaskCreate(name="new")),
    ):
        assert_refused(app, *request, caller=caller)
    assert_refused(app, collections.create_key, ApiKeyCreate(name="ci", collection_name=name))
    waiting = app.ids(TrajectoryOpened)
    assert app.ask(trajectories.claim, name, None, "w", waiting, caller=caller) is None
    assert 1 == len(app.ids(TaskCreated))


def test_what_is_under_way_is_finished_and_things_are_ended(app):
    routine = app.routine()
    run = app.fire(routine)
    worker = app.as_agent()
    other = app.issue()
    app.ask(companies.archive, app.company)

    app.ask(issues.comment, issue_of_run(run), CommentDraft(body="nearly"), SESSION, caller=worker)
    app.ask(issues.update, issue_of_run(run), IssuePatch(status="done", comment="it is"), SESSION, caller=worker)
    app.ask(issues.update, other, IssuePatch(status="cancelled"), SESSION)
    app.ask(routines.update, routine, RoutinePatch(status="archived"))
    app.ask(agents.terminate, app.agent)
    app.ask(companies.archive, app.company)

    assert [run] == app.ids(RunCompleted)
    assert_refused(app, issues.update, issue_of_run(run), IssuePatch(status="todo"), SESSION)


def test_a_worker_finishes_what_it_has(app):
    name, caller = app.collection()
    app.ask(trajectories.run, app.task(name), RunCreate())
    claim = app.ask(trajectories.claim, name, None, "w", app.ids(TrajectoryOpened), caller=caller)
    app.ask(companies.archive, app.ids(CompanyCreated)[-1])
    app.passes(HOUR / 120)
    claim_arguments = (name, claim.trajectory_id, claim.claim_id)

    app.ask(trajectories.extend, *claim_arguments, caller=caller)
    app.ask(trajectories.report, *claim_arguments, StepReport(step="ask", status="completed"), caller=caller)
    app.ask(trajectories.finish, *claim_arguments, FinishRequest(status="completed"), caller=caller)


def test_what_comes_due_is_missed_once_and_then_nothing_does(app):
    trigger = app.schedule(app.routine())
    app.passes(3 * HOUR)
    app.ask(companies.archive, app.company)
    first = app.now.replace(minute=0, second=0) - 2 * HOUR

    row = app.due(trigger, first)
    app.carry_out(schedule_firing.fire_due, [row])

    assert [("company_archived", 3, None)] == [
        (event.reason, event.count, event.next_at) for event in app.events(TriggerMissed)
    ]
    assert 0 == app.carry_out(schedule_firing.fire_due, [row])
    assert 1 == len(app.events(TriggerMissed))
    assert [] == app.events(RunFired)


def test_an_occurrence_that_cannot_be_carried_out_is_missed_too(app):
    trigger = app.schedule(app.routine())
    app.passes(HOUR)
    app.ask(companies.archive, app.company)

    app.carry_out(schedule_firing.fail_due, [app.due(trigger, app.now.replace(minute=0, second=0))], "MemoryError")

    assert ["company_archived"] == [event.reason for event in app.events(TriggerMissed)]


def test_a_webhook_is_refused_and_who_lacks_the_secret_does_not_learn_why(app):
    minted = app.ask(triggers.create, app.routine(), WebhookDraft()).new_secret
    app.ask(companies.archive, app.company)
    request = WebhookRequest(headers=(("authorization", f"Bearer {minted.secret}"),), body=b"")

    with pytest.raises(Conflict, match="Company is archived"):
        app.carry_out(
            lambda work: webhooks.must_be_active(work, webhooks.authenticate(work, minted.public_id, request))
        )


def test_a_backfill_ends_and_a_pause_that_is_over_does_not(app):
    routine = app.routine()
    trigger = app.schedule(routine)
    backfill = app.ask(backfills.create, trigger, BackfillDraft(from_=app.now - 3 * HOUR))
    asleep = app.routine(status="paused", resume_at=app.now + HOUR)
    app.ask(companies.archive, app.company)
    app.passes(2 * HOUR)
    row = WaitingBackfill(id=backfill, trigger_id=trigger, routine_id=routine, company_id=app.company)

    assert 0 == app.carry_out(backfills.carry_on, [row])
    app.carry_out(deadlines.settle, [Overdue(id=asleep, company_id=app.company, kind="pause", ends_at=app.now - HOUR)])

    assert ["company_archived"] == [event.reason for event in app.events(BackfillCancelled)]
    settings = app.events(RoutineUpdated)[-1].settings
    assert ("paused", None, "Could not be resumed: Company is archived") == (
        settings.status,
        settings.resume_at,
        settings.pause_note,
    )


def test_everything_is_read_and_explained(app):
    routine = app.routine()
    trigger = app.schedule(routine)
    app.ask(companies.archive, app.company)
    app.passes(2 * HOUR)
    first = app.now.replace(minute=0, second=0) - HOUR
    app.carry_out(schedule_firing.fire_due, [app.due(trigger, first)])

    app.ask(read_access.company, app.company)
    [(missed, missed_text)] = app.ask(explanations.explain, routine, first)
    [(later, later_text)] = app.ask(explanations.explain, routine, app.now + HOUR)

    assert ("missed", "company_archived") == (missed.verdict, later.verdict)
    assert missed_text.endswith("was missed: the company was archived by Board on Mon 2 Mar 2026 12:00:30 UTC.")
    assert "will not run as things stand: the company was archived by Board" in later_text
    assert "company_archived" == app.ask(schedule_previews.plan_of_trigger, trigger).why_none
