"""A patch that changes nothing records nothing, whatever it is sent to."""

import pytest

from application.request_bodies.board import (
    AgentPatch,
    CompanyPatch,
    FolderDraft,
    FolderMove,
    FolderPatch,
    GoalDraft,
    GoalPatch,
    MemberPatch,
    ProjectDraft,
    ProjectPatch,
)
from application.request_bodies.endpoints import EndpointDraft, EndpointPatch
from application.request_bodies.issues import IssuePatch
from application.request_bodies.jetty import CadenceConfig, EnvironmentChange, RoutineChange, TaskChange
from application.request_bodies.routines import RoutinePatch, VariableDraft
from application.request_bodies.triggers import TriggerPatch, WebhookDraft
from application.use_cases import endpoints, folders, routines, triggers
from application.use_cases.board import agents, companies, goals, issues, members, projects
from application.use_cases.board.members import MembershipRef
from application.use_cases.jetty import collections, task_routines, tasks
from domain.events import UserRegistered
from domain.identity import issue_of_run
from tests.application.use_cases.installation import Installation


@pytest.fixture
def app():
    return Installation()


def patches(app):
    """A patch of everything that can be patched."""
    company, routine = app.company, app.routine()
    app.member("member")
    robin = app.ids(UserRegistered)[-1]
    run = app.fire(app.routine())
    webhook = app.ask(triggers.create, routine, WebhookDraft()).trigger_id
    endpoint = app.ask(endpoints.create, company, EndpointDraft(url="https://example.com/", events=("*",)))
    variables = (VariableDraft(name="who", default_value="all"),)
    name, _ = app.collection()
    task = app.task(name)
    path = app.task_routine(task, "hourly", secret_params={"a": "1"}, webhook_url="https://example.com/")
    secrets = RoutineChange(
        cadence=CadenceConfig(type="hourly", minute_utc=30),
        init_params_overrides={"q": "!"},
        secret_params={"a": "2"},
        webhook_url="https://example.com/done",
        webhook_secret="signs",
    )
    folder = app.ask(folders.create, company, FolderDraft(name="Moon"))
    return (
        (companies.update, company, CompanyPatch(name="Better", description="d")),
        (agents.update, app.agent, AgentPatch(name="Better", heartbeat_url="https://example.com/wake")),
        (projects.update, app.ask(projects.create, company, ProjectDraft(name="Moon")), ProjectPatch(name="Mars")),
        (goals.update, app.ask(goals.create, company, GoalDraft(title="Moon")), GoalPatch(title="Mars")),
        (folders.update, company, folder, FolderPatch(name="Mars")),
        (
            folders.update,
            company,
            folder,
            FolderMove(parent_id=app.ask(folders.create, company, FolderDraft(name="All"))),
        ),
        (issues.update, app.issue(), IssuePatch(title="Mars", status="todo", priority="low"), None),
        (issues.update, issue_of_run(run), IssuePatch(status="done"), None),
        (members.change, MembershipRef(company_id=company, user_id=robin, owners=()), MemberPatch("viewer")),
        (routines.update, routine, RoutinePatch(title="{{who}}", variables=variables, status="paused")),
        (triggers.update, app.schedule(routine), TriggerPatch(cron_expression="5 * * * *", label="five")),
        (triggers.update, webhook, TriggerPatch(signing_mode="github_hmac", replay_window_sec=60)),
        (endpoints.update, company, endpoint.endpoint_id, EndpointPatch(description="d")),
        (tasks.update, task, TaskChange(description="d")),
        (task_routines.update, path, secrets),
        (collections.change_environment, name, EnvironmentChange(environment_variables={"A": "1", "B": None})),
    )


def test_the_second_of_two_equal_patches_records_nothing(app):
    for use_case, *arguments in patches(app):
        old_head = app.store.head()
        app.ask(use_case, *arguments)
        changed, old_secrets = app.store.head(), dict(app.vault.secrets)

        app.ask(use_case, *arguments)

        assert old_head < changed == app.store.head(), f"{use_case.__module__}.{use_case.__name__} {arguments}"
        assert old_secrets == app.vault.secrets
