"""Addresses to which the service sends: each that is private by its name is refused when it is given, with its field."""

from typing import Any

import pytest
from msgspec.structs import replace

from application.event_store.stream_kinds import ROUTINE
from application.request_bodies.board import AgentDraft, AgentPatch
from application.request_bodies.endpoints import EndpointDraft, EndpointPatch
from application.request_bodies.jetty import RoutineChange, RunCreate
from application.request_bodies.routines import ProbeDraft, RoutinePatch
from application.use_cases import endpoints, revisions, routines
from application.use_cases.board import agents
from application.use_cases.jetty import task_routines, trajectories
from domain.errors import InvalidField
from domain.events import AgentCreated, EndpointCreated, RoutineCreated, TrajectoryOpened
from domain.identity import revision_of

PRIVATE, PUBLIC = "http://10.0.0.5/hook", "https://example.com/hook"


def create_endpoint(app, url):
    return app.ask(endpoints.create, app.company, EndpointDraft(url=url, events=("*",))).endpoint_id


def change_endpoint(app, id_, **fields):
    app.ask(endpoints.update, app.company, id_, EndpointPatch(**fields))


def create_agent(app, url):
    return app.ask(agents.create, app.company, AgentDraft(name="Hears", heartbeat_url=url)).agent_id


def change_agent(app, id_, **fields):
    app.ask(agents.update, id_, AgentPatch(**fields))


def create_probe(app, url):
    return app.routine(probe=ProbeDraft(url=url))


def change_probe(app, id_, **fields):
    app.ask(routines.update, id_, RoutinePatch(**fields))


def create_task_routine(app, url):
    return app.task_routine(app.task(app.collection()[0]), webhook_url=url)


def change_task_routine(app, path, **fields):
    app.ask(task_routines.update, path, RoutineChange(**fields))


def call_task(app, url):
    app.ask(trajectories.run, app.task(app.collection()[0]), RunCreate(webhook_url=url))


CREATIONS: Any = [
    (create_endpoint, "url"),
    (create_agent, "heartbeatUrl"),
    (create_probe, "probe.url"),
    (create_task_routine, "webhook_url"),
    (call_task, "webhook_url"),
]
# How to create it, how to change it, what gives it an address, and a change of something else.
CHANGES: Any = [
    (create_endpoint, change_endpoint, lambda url: {"url": url}, {"enabled": False}),
    (create_agent, change_agent, lambda url: {"heartbeat_url": url}, {"title": "Listener"}),
    (create_probe, change_probe, lambda url: {"probe": ProbeDraft(url=url)}, {"status": "paused"}),
    (create_task_routine, change_task_routine, lambda url: {"webhook_url": url}, {"paused": True}),
]


def allow_private(app, *, allowed):
    app.store.limits = replace(app.store.limits, allow_private_targets=allowed)


@pytest.mark.parametrize(("create", "field"), CREATIONS)
def test_whoever_gives_a_private_address_is_told_the_field_at_once(app, create, field):
    with pytest.raises(InvalidField, match="must name a public host") as refusal:
        create(app, PRIVATE)

    assert field == refusal.value.field
    assert [] == app.events(EndpointCreated, RoutineCreated, TrajectoryOpened)
    assert 1 == len(app.events(AgentCreated))  # the one that is there from the start


@pytest.mark.parametrize(("create", "_field"), CREATIONS)
def test_a_service_that_allows_private_addresses_takes_them(app, create, _field):
    allow_private(app, allowed=True)

    create(app, PRIVATE)


@pytest.mark.parametrize(("create", "change", "address", "_other"), CHANGES)
def test_a_change_to_a_private_address_is_refused_as_well(app, create, change, address, _other):
    thing = create(app, PUBLIC)

    with pytest.raises(InvalidField, match="must name a public host"):
        change(app, thing, **address(PRIVATE))


@pytest.mark.parametrize(("create", "change", "address", "other"), CHANGES)
def test_an_address_that_is_there_does_not_stand_in_the_way_of_other_changes(app, create, change, address, other):
    allow_private(app, allowed=True)
    thing = create(app, PRIVATE)
    allow_private(app, allowed=False)

    change(app, thing, **other)
    change(app, thing, **address(PRIVATE))


def test_a_revision_with_a_private_address_is_not_restored(app):
    allow_private(app, allowed=True)
    routine = create_probe(app, PRIVATE)
    change_probe(app, routine, probe=None)
    allow_private(app, allowed=False)

    with pytest.raises(InvalidField) as refusal:
        app.ask(revisions.restore, routine, revision_of(routine, 1))

    assert "probe.url" == refusal.value.field
    assert app.state(ROUTINE, routine).settings.probe is None
