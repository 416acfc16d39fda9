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
def collection(here):
    return here.collection()[0]


@pytest.fixture
def task(here, collection):
    return here.task(collection)


@pytest.fixture
def waiting(here, task):
    return here.ask(trajectories.run, task, RunCreate())


def claim(here, collection, *ids, worker="w"):
    return here.ask(trajectories.claim, collection, None, worker, ids)


def status(here, trajectory):
    return here.state(TRAJECTORY, trajectory).status


def test_a_call_has_the_tasks_parameters_and_those_that_it_is_given(here, task):
    here.ask(trajectories.run, task, RunCreate(init_params={"more": 1}))

    assert [{"q": "?", "more": 1}] == [event.init_params for event in here.events(TrajectoryOpened)]


def test_what_needs_no_worker_is_over_at_once_and_its_secrets_are_gone(here, collection):
    trajectory = here.ask(trajectories.run, here.task(collection, ECHO), RunCreate(secret_params={"k": "v"}))

    assert "completed" == status(here, trajectory)
    assert {} == here.vault.secrets


def test_a_worker_gets_a_trajectory_that_nobody_has_with_its_secrets_and_the_environment(here, collection, task):
    change = EnvironmentChange(environment_variables={"HOST": "db"})
    here.ask(collections.change_environment, collection, change)
    trajectory = here.ask(trajectories.run, task, RunCreate(secret_params={"k": "v"}))

    claimed = claim(here, collection, trajectory)

    assert (trajectory, {"k": "v"}, {"HOST": "db"}) == (
        claimed.trajectory_id,
        claimed.secret_params,
        claimed.environment,
    )
    assert claim(here, collection, trajectory) is None
    assert claim(here, here.collection()[0], trajectory) is None


def test_a_routines_secrets_are_those_that_it_has_now(here, collection, task):
    path = here.task_routine(task, secret_params={"k": "old"})
    trajectory = here.ask(task_routines.run_now, path)
    here.ask(task_routines.update, path, RoutineChange(secret_params={"k": "new"}))

    assert {"k": "new"} == claim(here, collection, trajectory).secret_params


def test_a_call_whose_secrets_are_gone_has_failed_and_the_next_is_taken(here, collection, task, waiting):
    lost = here.ask(trajectories.run, task, RunCreate(secret_params={"k": "v"}))
    here.vault.secrets.clear()

    assert waiting == claim(here, collection, lost, waiting).trajectory_id
    assert "failed" == status(here, lost)


def test_a_worker_that_is_gone_loses_its_trajectory_to_the_next(here, collection, waiting):
    first = claim(here, collection, waiting)
    here.passes(LEASE)

    second = claim(here, collection, waiting)

    assert second is not None
    for use_case, *arguments in (
        (trajectories.extend,),
        (trajectories.report, StepReport(step="ask")),
        (trajectories.finish, FinishRequest()),
    ):
        with pytest.raises(Conflict):
            here.ask(use_case, collection, waiting, first.claim_id, *arguments)


def test_a_worker_that_needs_longer_keeps_it_reports_its_steps_and_finishes(here, collection, waiting):
    claimed = claim(here, collection, waiting)
    here.passes(LEASE / 2)
    here.ask(trajectories.extend, collection, waiting, claimed.claim_id)
    here.passes(LEASE * 3 / 4)
    assert claim(here, collection, waiting) is None

    here.ask(trajectories.report, collection, waiting, claimed.claim_id, StepReport(step="ask", outputs={"a": 1}))
    here.ask(trajectories.finish, collection, waiting, claimed.claim_id, FinishRequest())

    assert "completed" == status(here, waiting)


def test_a_worker_hands_back_what_it_cannot_do_and_does_not_end_with_running(here, collection, waiting):
    claimed = claim(here, collection, waiting)

    with pytest.raises(InvalidField, match="hands back with pending"):
        here.ask(trajectories.finish, collection, waiting, claimed.claim_id, FinishRequest(status="running"))
    here.ask(trajectories.finish, collection, waiting, claimed.claim_id, FinishRequest(status="pending"))

    assert claim(here, collection, waiting) is not None


def test_statuses_are_set_together_or_not_at_all(here, task, waiting):
    other = here.ask(trajectories.run, here.task(here.collection()[0]), RunCreate())

    with pytest.raises(NotFound):
        here.ask(trajectories.set_statuses, task, {waiting: "completed", other: "completed"})
    assert "pending" == status(here, waiting)
    here.ask(trajectories.set_statuses, task, {waiting: "failed"})
    assert "failed" == status(here, waiting)


def test_a_label_belongs_to_a_trajectory_of_the_task(here, task, waiting):
    label = LabelCreate(key="score", value="1", author="me")

    here.ask(trajectories.label, task, waiting, label)

    assert ["score"] == [event.key for event in here.events(TrajectoryLabelled)]
    with pytest.raises(NotFound):
        here.ask(trajectories.label, task, uuid4(), label)


def test_a_run_from_elsewhere_is_taken_in_once_and_over(here, task):
    pushed = IngestCreate(output="x", scores={"a": 1}, labels={"ok": True}, cost_usd=0.5, trajectory_id="theirs")

    first, again = (here.ask(trajectories.ingest, task, pushed) for _ in range(2))

    assert first == again
    assert "completed" == status(here, first)
    assert {"score.a": "1", "ok": "true", "cost_est_usd": "0.5"} == {
        event.key: event.value for event in here.events(TrajectoryLabelled)
    }
    with pytest.raises(InvalidField, match="is over"):
        here.ask(trajectories.ingest, task, IngestCreate(status="running"))


def test_what_is_too_large_or_has_nothing_to_sign_is_refused():
    here = Installation(max_trajectory_bytes=16_384)
    task = here.task(here.collection()[0])

    with pytest.raises(RuleViolation):
        here.ask(trajectories.run, task, RunCreate(init_params={"q": "x" * 20_000}))
    with pytest.raises(InvalidField, match="needs a webhook_url"):
        here.ask(trajectories.run, task, RunCreate(webhook_secret="signs"))
