from uuid import uuid4

import pytest

from application.event_store.stream_kinds import TRAJECTORY
from application.request_bodies.jetty import (
    EnvironmentChange,
    FinishRequest,
    IngestCreate,
    LabelCreate,
    RoutineChange,
    RunCreate,
    StepReport,
)
from application.use_cases.jetty import collections, task_routines, trajectories
from domain.errors import Conflict, InvalidField, NotFound, RuleViolation
from domain.events import TrajectoryLabelled, TrajectoryOpened
from domain.jetty.trajectory import LEASE
from tests.application.use_cases.installation import ECHO, Installation


@pytest.fixture
def collection(app):
    return app.collection()[0]


@pytest.fixture
def task(app, collection):
    return app.task(collection)


@pytest.fixture
def waiting_trajectory(app, task):
    return app.ask(trajectories.run, task, RunCreate())


def claim(app, collection, *ids, worker="w"):
    return app.ask(trajectories.claim, collection, None, worker, ids)


def status(app, trajectory):
    return app.state(TRAJECTORY, trajectory).status


def test_a_call_has_the_tasks_parameters_and_those_that_it_is_given(app, task):
    app.ask(trajectories.run, task, RunCreate(init_params={"more": 1}))

    assert [{"q": "?", "more": 1}] == [event.init_params for event in app.events(TrajectoryOpened)]


def test_what_needs_no_worker_is_over_at_once_and_its_secrets_are_gone(app, collection):
    trajectory = app.ask(trajectories.run, app.task(collection, ECHO), RunCreate(secret_params={"k": "v"}))

    assert "completed" == status(app, trajectory)
    assert {} == app.vault.secrets


def test_a_worker_gets_a_trajectory_that_nobody_has_with_its_secrets_and_the_environment(app, collection, task):
    change = EnvironmentChange(environment_variables={"HOST": "db"})
    app.ask(collections.change_environment, collection, change)
    trajectory = app.ask(trajectories.run, task, RunCreate(secret_params={"k": "v"}))

    claimed = claim(app, collection, trajectory)

    assert (trajectory, {"k": "v"}, {"HOST": "db"}) == (
        claimed.trajectory_id,
        claimed.secret_params,
        claimed.environment,
    )
    assert claim(app, collection, trajectory) is None
    assert claim(app, app.collection()[0], trajectory) is None


def test_a_routines_secrets_are_those_that_it_has_now(app, collection, task):
    path = app.task_routine(task, secret_params={"k": "old"})
    trajectory = app.ask(task_routines.run_now, path)
    app.ask(task_routines.update, path, RoutineChange(secret_params={"k": "new"}))

    assert {"k": "new"} == claim(app, collection, trajectory).secret_params


def test_a_call_whose_secrets_are_gone_has_failed_and_the_next_is_taken(app, collection, task, waiting_trajectory):
    lost = app.ask(trajectories.run, task, RunCreate(secret_params={"k": "v"}))
    app.vault.secrets.clear()

    assert waiting_trajectory == claim(app, collection, lost, waiting_trajectory).trajectory_id
    assert "failed" == status(app, lost)


def test_a_worker_that_is_gone_loses_its_trajectory_to_the_next(app, collection, waiting_trajectory):
    first = claim(app, collection, waiting_trajectory)
    app.passes(LEASE)

    second = claim(app, collection, waiting_trajectory)

    assert second is not None
    for use_case, *arguments in (
        (trajectories.extend,),
        (trajectories.report, StepReport(step="ask")),
        (trajectories.finish, FinishRequest()),
    ):
        with pytest.raises(Conflict):
            app.ask(use_case, collection, waiting_trajectory, first.claim_id, *arguments)


def test_a_worker_that_needs_longer_keeps_it_reports_its_steps_and_finishes(app, collection, waiting_trajectory):
    claimed = claim(app, collection, waiting_trajectory)
    app.passes(LEASE / 2)
    app.ask(trajectories.extend, collection, waiting_trajectory, claimed.claim_id)
    app.passes(LEASE * 3 / 4)
    assert claim(app, collection, waiting_trajectory) is None

    app.ask(
        trajectories.report, collection, waiting_trajectory, claimed.claim_id, StepReport(step="ask", outputs={"a": 1})
    )
    app.ask(trajectories.finish, collection, waiting_trajectory, claimed.claim_id, FinishRequest())

    assert "completed" == status(app, waiting_trajectory)


def test_a_worker_hands_back_what_it_cannot_do_and_does_not_end_with_running(app, collection, waiting_trajectory):
    claimed = claim(app, collection, waiting_trajectory)

    with pytest.raises(InvalidField, match="hands back with pending"):
        app.ask(trajectories.finish, collection, waiting_trajectory, claimed.claim_id, FinishRequest(status="running"))
    app.ask(trajectories.finish, collection, waiting_trajectory, claimed.claim_id, FinishRequest(status="pending"))

    assert claim(app, collection, waiting_trajectory) is not None


def test_statuses_are_set_together_or_not_at_all(app, task, waiting_trajectory):
    other = app.ask(trajectories.run, app.task(app.collection()[0]), RunCreate())

    with pytest.raises(NotFound):
        app.ask(trajectories.set_statuses, task, {waiting_trajectory: "completed", other: "completed"})
    assert "pending" == status(app, waiting_trajectory)
    app.ask(trajectories.set_statuses, task, {waiting_trajectory: "failed"})
    assert "failed" == status(app, waiting_trajectory)


def test_a_label_belongs_to_a_trajectory_of_the_task(app, task, waiting_trajectory):
    label = LabelCreate(key="score", value="1", author="me")

    app.ask(trajectories.label, task, waiting_trajectory, label)

    assert ["score"] == [event.key for event in app.events(TrajectoryLabelled)]
    with pytest.raises(NotFound):
        app.ask(trajectories.label, task, uuid4(), label)


def test_a_run_from_elsewhere_is_taken_in_once_and_over(app, task):
    pushed = IngestCreate(output="x", scores={"a": 1}, labels={"ok": True}, cost_usd=0.5, trajectory_id="theirs")

    first, again = (app.ask(trajectories.ingest, task, pushed) for _ in range(2))

    assert first == again
    assert "completed" == status(app, first)
    assert {"score.a": "1", "ok": "true", "cost_est_usd": "0.5"} == {
        event.key: event.value for event in app.events(TrajectoryLabelled)
    }
    with pytest.raises(InvalidField, match="is over"):
        app.ask(trajectories.ingest, task, IngestCreate(status="running"))


def test_what_is_too_large_or_has_nothing_to_sign_is_refused():
    app = Installation(max_trajectory_bytes=16_384)
    task = app.task(app.collection()[0])

    with pytest.raises(RuleViolation):
        app.ask(trajectories.run, task, RunCreate(init_params={"q": "x" * 20_000}))
    with pytest.raises(InvalidField, match="needs a webhook_url"):
        app.ask(trajectories.run, task, RunCreate(webhook_secret="signs"))
