from uuid import UUID, uuid4

import pytest

from application.event_store.stream_kinds import ROUTINE
from application.request_bodies.issues import Checkout
from application.request_bodies.routines import PlainBinding, RoutinePatch, SecretBinding
from application.use_cases import routine_environment, routines
from application.use_cases.board import issues
from domain.errors import Conflict, Forbidden, InvalidField
from domain.events import RoutineUpdated
from domain.identity import issue_of_run

SESSION = UUID("5e551017-0000-4000-8000-000000000001")
VALUE = PlainBinding(value="eu")


def environment_of_new_issue(app, routine):
    """The environment for a new issue of the routine."""
    issue = issue_of_run(app.fire(routine))
    agent = app.as_agent()
    app.ask(issues.check_out, issue, Checkout(agent_id=app.agent, expected_statuses=("todo",)), SESSION, caller=agent)
    return app.ask(routine_environment.of_issue, issue, SESSION, caller=agent)


def test_values_are_in_the_vault_and_their_names_in_the_routine(app):
    routine = app.routine(env={"REGION": VALUE})

    env = app.state(ROUTINE, routine).settings.env
    assert ("REGION",) == env.sealed.names
    assert b'{"REGION":"eu"}' == app.vault.secrets[env.sealed.id].value
    assert {"REGION": "eu"} == environment_of_new_issue(app, routine).variables


def test_the_same_values_record_nothing_and_others_leave_nothing_in_the_vault(app):
    routine = app.routine(env={"REGION": VALUE})
    first = app.state(ROUTINE, routine).settings.env.sealed.id

    app.ask(routines.update, routine, RoutinePatch(env={"REGION": VALUE}))
    assert [] == app.events(RoutineUpdated)
    app.ask(routines.update, routine, RoutinePatch(env={"REGION": PlainBinding(value="us")}))
    assert first not in app.vault.secrets
    app.ask(routines.update, routine, RoutinePatch(env=None))
    assert {} == app.vault.secrets
    assert app.state(ROUTINE, routine).settings.env is None


def test_a_value_that_the_vault_has_lost_is_missing(app):
    routine = app.routine(env={"REGION": VALUE})
    app.vault.secrets.clear()

    environment = environment_of_new_issue(app, routine)

    assert ({}, ("REGION",)) == (environment.variables, environment.missing)


def test_nobody_prints_a_value(app):
    environment = environment_of_new_issue(app, app.routine(env={"REGION": PlainBinding(value="of nobody's business")}))

    assert "business" not in f"{environment!r} {PlainBinding(value='of nobody business')!r}"


def test_only_the_agent_that_has_checked_the_issue_out_gets_it(app):
    issue = issue_of_run(app.fire(app.routine(env={"REGION": VALUE})))

    with pytest.raises(Forbidden, match="Only the agent that works on the issue"):
        app.ask(routine_environment.of_issue, issue, SESSION)
    with pytest.raises(Conflict, match="Check the issue out first"):
        app.ask(routine_environment.of_issue, issue, SESSION, caller=app.as_agent())
    with pytest.raises(Forbidden):
        app.ask(routine_environment.of_issue, issue, uuid4(), caller=app.as_agent(app.another_agent()))


def test_what_refers_to_nothing_is_refused(app):
    with pytest.raises(InvalidField, match="the company's environment has no variable 'GONE'"):
        app.routine(env={"A": SecretBinding(name="GONE")})
    with pytest.raises(InvalidField, match="there is no value that could stay"):
        app.routine(env={"A": PlainBinding(value="***")})
