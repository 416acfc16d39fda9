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
from domain.routines.backfill import Waiting
from domain.routines.deadline import Overdue
from domain.webhooks.verification import WebhookRequest
from tests.application.use_cases.installation import HOUR, Installation

SESSION = None


@pytest.fixture
def here():
    return Installation()


def refused(here, *request, **fields):
    before = here.store.head()
    with pytest.raises(Conflict, match="Company is archived"):
        here.ask(*request, **fields)
    assert before == here.store.head()


def test_nothing_begins_in_it(here):
    routine, issue, company = here.routine(), here.issue(), here.company
    schedule = here.schedule(routine)
    api = here.ask(triggers.create, routine, ApiDraft(enabled=False)).trigger_id
    asleep = here.routine(status="paused")
    here.passes(3 * HOUR)
    here.ask(companies.archive, company)

    for request in (
        (runs.fire_by_hand, routine, RunRequest()),
        (runs.fire_by_hand, routine, RunRequest(source="api")),
        (backfills.create, schedule, BackfillDraft(from_=here.now - 9 * HOUR)),
        (routines.create, company, RoutineDraft(title="New")),
        (routines.update, routine, RoutinePatch(title="New")),
        (routines.update, asleep, RoutinePatch(status="active")),
        (triggers.create, routine, WebhookDraft()),
        (triggers.update, api, TriggerPatch(enabled=True)),
        (issues.create, company, IssueDraft(title="New")),
        (issues.update, issue, IssuePatch(assignee_agent_id=here.agent), SESSION),
        (issues.update, issue, IssuePatch(status="in_progress"), SESSION),
        (issues.check_out, issue, Checkout(agent_id=here.agent, expected_statuses=("backlog",)), SESSION),
        (agents.create, company, AgentDraft(name="New")),
        (agents.update, here.agent, AgentPatch(name="New")),
        (projects.create, company, ProjectDraft(name="New")),
        (goals.create, company, GoalDraft(title="New")),
        (folders.create, company, FolderDraft(name="New")),
        (endpoints.create, company, EndpointDraft(url="https://example.com/", events=("*",))),
        (keys.create_for_agent, here.agent, AgentKeyDraft()),
        (members.add, company, MemberDraft(name="Robin", membership_role="member")),
        (companies.update, company, CompanyPatch(name="New")),
    ):
        refused(here, *request)


def test_nothing_begins_in_it_through_jettys_api_either(here):
    name, caller = here.collection()
    task = here.task(name)
    path = here.task_routine(task, "hourly")
    paused = here.task_routine(task, paused=True)
    here.ask(trajectories.run, task, RunCreate())
    here.ask(companies.archive, here.ids(CompanyCreated)[-1])

    for request in (
        (task_routines.run_now, path),
        (task_routines.resume, paused),
        (task_routines.update, path, RoutineChange(paused=False, name="other")),
        (trajectories.run, task, RunCreate()),
        (tasks.create, name, TaskCreate(name="new")),
    ):
        refused(here, *request, caller=caller)
    refused(here, collections.create_key, ApiKeyCreate(name="ci", collection_name=name))
    waiting = here.ids(TrajectoryOpened)
    assert here.ask(trajectories.claim, name, None, "w", waiting, caller=caller) is None
    assert 1 == len(here.ids(TaskCreated))


def test_what_is_under_way_is_finished_and_things_are_ended(here):
    routine = here.routine()
    run = here.fire(routine)
    worker = here.as_agent()
    other = here.issue()
    here.ask(companies.archive, here.company)

    here.ask(issues.comment, issue_of_run(run), CommentDraft(body="nearly"), SESSION, caller=worker)
    here.ask(issues.update, issue_of_run(run), IssuePatch(status="done", comment="it is"), SESSION, caller=worker)
    here.ask(issues.update, other, IssuePatch(status="cancelled"), SESSION)
    here.ask(routines.update, routine, RoutinePatch(status="archived"))
    here.ask(agents.terminate, here.agent)
    here.ask(companies.archive, here.company)

    assert [run] == here.ids(RunCompleted)
    refused(here, issues.update, issue_of_run(run), IssuePatch(status="todo"), SESSION)


def test_a_worker_finishes_what_it_has(here):
    name, caller = here.collection()
    here.ask(trajectories.run, here.task(name), RunCreate())
    claim = here.ask(trajectories.claim, name, None, "w", here.ids(TrajectoryOpened), caller=caller)
    here.ask(companies.archive, here.ids(CompanyCreated)[-1])
    here.passes(HOUR / 120)
    held = (name, claim.trajectory_id, claim.claim_id)

    here.ask(trajectories.extend, *held, caller=caller)
    here.ask(trajectories.report, *held, StepReport(step="ask", status="completed"), caller=caller)
    here.ask(trajectories.finish, *held, FinishRequest(status="completed"), caller=caller)


def test_what_comes_due_is_missed_once_and_then_nothing_does(here):
    trigger = here.schedule(here.routine())
    here.passes(3 * HOUR)
    here.ask(companies.archive, here.company)
    first = here.now.replace(minute=0, second=0) - 2 * HOUR

    row = here.due(trigger, first)
    here.carry_out(runs.fire_due, [row])

    assert [("company_archived", 3, None)] == [
        (event.reason, event.count, event.next_at) for event in here.events(TriggerMissed)
    ]
    assert 0 == here.carry_out(runs.fire_due, [row])
    assert 1 == len(here.events(TriggerMissed))
    assert [] == here.events(RunFired)


def test_an_occurrence_that_cannot_be_carried_out_is_missed_too(here):
    trigger = here.schedule(here.routine())
    here.passes(HOUR)
    here.ask(companies.archive, here.company)

    here.carry_out(runs.fail_due, [here.due(trigger, here.now.replace(minute=0, second=0))], "MemoryError")

    assert ["company_archived"] == [event.reason for event in here.events(TriggerMissed)]


def test_a_webhook_is_refused_and_who_lacks_the_secret_does_not_learn_why(here):
    minted = here.ask(triggers.create, here.routine(), WebhookDraft()).minted
    here.ask(companies.archive, here.company)
    request = WebhookRequest(headers=(("authorization", f"Bearer {minted.secret}"),), body=b"")

    with pytest.raises(Conflict, match="Company is archived"):
        here.carry_out(
            lambda work: webhooks.must_be_active(work, webhooks.authenticate(work, minted.public_id, request))
        )


def test_a_backfill_ends_and_a_pause_that_is_over_does_not(here):
    routine = here.routine()
    trigger = here.schedule(routine)
    backfill = here.ask(backfills.create, trigger, BackfillDraft(from_=here.now - 3 * HOUR))
    asleep = here.routine(status="paused", resume_at=here.now + HOUR)
    here.ask(companies.archive, here.company)
    here.passes(2 * HOUR)
    row = Waiting(id=backfill, trigger_id=trigger, routine_id=routine, company_id=here.company)

    assert 0 == here.carry_out(backfills.carry_on, [row])
    here.carry_out(deadlines.settle, [Overdue(id=asleep, kind="pause", ends_at=here.now - HOUR)])

    assert ["company_archived"] == [event.reason for event in here.events(BackfillCancelled)]
    settings = here.events(RoutineUpdated)[-1].settings
    assert ("paused", None, "Could not be resumed: Company is archived") == (
        settings.status,
        settings.resume_at,
        settings.pause_note,
    )


def test_everything_is_read_and_explained(here):
    routine = here.routine()
    trigger = here.schedule(routine)
    here.ask(companies.archive, here.company)
    here.passes(2 * HOUR)
    first = here.now.replace(minute=0, second=0) - HOUR
    here.carry_out(runs.fire_due, [here.due(trigger, first)])

    here.ask(read_access.company, here.company)
    [(missed, missed_text)] = here.ask(explanations.explain, routine, first)
    [(later, later_text)] = here.ask(explanations.explain, routine, here.now + HOUR)

    assert ("missed", "company_archived") == (missed.verdict, later.verdict)
    assert missed_text.endswith("was missed: the company was archived by Board on Mon 2 Mar 2026 12:00:30 UTC.")
    assert "will not run as things stand: the company was archived by Board" in later_text
    assert "company_archived" == here.ask(explanations.ahead, trigger).why_none
