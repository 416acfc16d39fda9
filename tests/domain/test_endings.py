"""What only stops or ends something leads downward: nobody can go round in it, so it cannot fill a disk."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import product
from typing import Any, get_args
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain.board.access import Membership
from domain.board.company import Company
from domain.board.issue import Issue
from domain.delivery.endpoint import Endpoint
from domain.endings import ends
from domain.events import (
    AgentResumed,
    CompanyEnvironmentChanged,
    EndpointUpdated,
    IssueCheckedOut,
    IssueMoved,
    IssueReleased,
    MemberChanged,
    ProjectResumed,
    RoutineTriggerChanged,
    RoutineUpdated,
    TrajectoryMoved,
    TriggerUpdated,
)
from domain.jetty.trajectory import Trajectory
from domain.routines.routine import Routine
from domain.routines.trigger import Trigger
from domain.values import (
    Cadence,
    CompanyDetails,
    EndpointSettings,
    IssueDetails,
    IssueStatus,
    MemberRole,
    RoutineSettings,
    RoutineStatus,
    Sealed,
    TaskCall,
    TrajectoryStatus,
    TriggerSettings,
    TriggerState,
)
from domain.webhooks.signing_keys import Signing

ID = UUID(int=1)
SCHEDULE = TriggerSettings(cron_expression="0 9 * * *", timezone="UTC")
HOOK = EndpointSettings(url="https://example.com", events=("*",))


def routine(status: RoutineStatus) -> tuple[Any, Any]:
    settings = RoutineSettings(title="Check", status=status)
    return Routine(settings=settings), RoutineUpdated(settings=settings)


def issue(status: IssueStatus) -> tuple[Any, Any]:
    return Issue(details=IssueDetails(title="Look"), status=status), IssueMoved(status=status)


def trajectory(status: TrajectoryStatus) -> tuple[Any, Any]:
    begun = Trajectory(
        task_id=ID, workflow={}, init_params={}, routine_id=None, run_id=None, secrets=None, callback=None
    )
    return replace(begun, status=status), TrajectoryMoved(status=status)


def trigger(enabled: bool) -> tuple[Any, Any]:
    settings = replace(SCHEDULE, enabled=enabled)
    return Trigger(routine_id=ID, kind="schedule", settings=settings), TriggerUpdated(settings=settings)


def revision(enabled: bool) -> tuple[Any, Any]:
    state = TriggerState(kind="schedule", settings=replace(SCHEDULE, enabled=enabled))
    routine = Routine(settings=RoutineSettings(title="Check"), triggers={ID: state})
    return routine, RoutineTriggerChanged(trigger_id=ID, kind="schedule", state=state)


def endpoint(enabled: bool) -> tuple[Any, Any]:
    settings = replace(HOOK, enabled=enabled)
    return Endpoint(settings=settings, signing=Signing(secret_id=ID)), EndpointUpdated(settings=settings)


def member(rights: tuple[MemberRole, tuple[str, ...]]) -> tuple[Any, Any]:
    return Membership(role=rights[0], permissions=rights[1]), MemberChanged(role=rights[0], permissions=rights[1])


def environment(names: tuple[str, ...]) -> tuple[Any, Any]:
    sealed = Sealed(id=ID, names=names) if names else None
    company = Company(details=CompanyDetails(name="Acme"), environment=sealed)
    return company, CompanyEnvironmentChanged(environment=sealed)


KINDS: list[tuple[Callable[[Any], tuple[Any, Any]], list[Any], set[Any]]] = [  # with the last of their steps
    (routine, list(get_args(RoutineStatus)), {"archived"}),
    (issue, list(get_args(IssueStatus)), {"done", "cancelled"}),
    (trajectory, list(get_args(TrajectoryStatus)), {"archived"}),
    (trigger, [True, False], {False}),
    (revision, [True, False], {False}),
    (endpoint, [True, False], {False}),
    (member, list(product(get_args(MemberRole), [(), ("tasks:assign",)])), {("viewer", ())}),
    (environment, [(), ("A",), ("B",), ("A", "B")], {()}),
]


@pytest.mark.parametrize(("kind", "values", "last"), KINDS)
def test_nobody_goes_round_in_what_ends_a_thing(kind: Any, values: list[Any], last: set[Any]):
    steps = {value: {other for other in values if ends(kind(other)[1], kind(value)[0])} for value in values}

    reached = {value: steps[value] for value in values}
    for _ in values:
        reached = {value: others.union(*(reached[one] for one in others)) for value, others in reached.items()}

    assert not [value for value in values if value in reached[value]]
    assert last == {value for value in values if not steps[value]}


def test_an_end_changes_nothing_else():
    old = RoutineSettings(title="Check", description="x" * 1_000)
    paused = replace(old, status="paused", pause_note="It runs away")
    routine = Routine(settings=old)

    assert ends(RoutineUpdated(settings=paused), routine)
    for change in ({"title": "Look"}, {"description": "y"}, {"resume_at": datetime(2999, 1, 1, tzinfo=UTC)}):
        assert not ends(RoutineUpdated(settings=replace(paused, **change)), routine)


def test_to_archive_a_call_takes_its_secrets_away_and_nothing_else():
    call = TaskCall(task_id=ID, name="daily", cadence=Cadence(type="daily"), secrets=Sealed(id=ID, names=("A",)))
    routine = Routine(settings=RoutineSettings(title="Check", call=call))
    ended = replace(routine.settings, status="archived", call=replace(call, secrets=None))

    assert ends(RoutineUpdated(settings=ended), routine)
    assert not ends(RoutineUpdated(settings=replace(ended, call=replace(call, overrides={"a": 1}))), routine)


@pytest.mark.parametrize(
    "event", [AgentResumed(), ProjectResumed(), IssueReleased(), IssueCheckedOut(agent_id=ID, run_id=None)]
)
def test_what_can_be_done_again_and_again_is_no_end(event: Any):
    assert not ends(event, None)


def test_where_it_is_not_known_what_was_before_nothing_is_presumed():
    assert not ends(IssueMoved(status="done"), None)
