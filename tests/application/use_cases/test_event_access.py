import pytest

from application.use_cases import event_access
from application.use_cases.board import sessions
from domain.errors import Forbidden
from domain.events import KeyIssued


def test_the_events_of_a_company_are_for_those_who_run_or_audit_it(app):
    for caller in (app.admin, app.auditor(), app.member("owner"), app.member("auditor")):
        assert app.company == app.ask(event_access.of_company, app.company, caller=caller).company_id

    others = (app.member(), app.member("viewer"), app.member("owner", app.other_company()), app.as_agent())
    for caller in others:
        with pytest.raises(Forbidden):
            app.ask(event_access.of_company, app.company, caller=caller)


def test_that_something_has_changed_is_told_to_all_who_read_the_company_and_of_deliveries_to_those_who_see_them(app):
    for caller, sees_deliveries in ((app.admin, True), (app.member(), True), (app.member("viewer"), False)):
        right = app.ask(event_access.of_changes, app.company, caller=caller)
        assert (app.company, sees_deliveries) == (right.company_id, "delivery.dead" not in right.hidden)
        assert "key.issued" in right.hidden

    for caller in (app.member("owner", app.other_company()), app.as_agent()):
        with pytest.raises(Forbidden):
            app.ask(event_access.of_changes, app.company, caller=caller)


def test_keys_and_names_are_for_auditors_of_the_instance_alone(app):
    assert () == app.ask(event_access.of_all, caller=app.auditor()).hidden
    assert {"key.issued", "name.claimed"} <= set(app.ask(event_access.of_all).hidden)
    assert {"key.issued", "user.registered"} <= set(app.ask(event_access.of_company, app.company).hidden)
    with pytest.raises(Forbidden):
        app.ask(event_access.of_all, caller=app.member("owner"))


def test_a_right_rests_on_the_key_and_on_the_membership_that_give_it(app):
    caller = app.member("auditor")

    right = app.ask(event_access.of_company, app.company, caller=caller)

    assert caller.key_id in right.rests_on
    assert 2 == len(right.rests_on)
    assert 0 < right.ends_in_s


def test_the_right_of_a_session_rests_on_its_key_as_well_and_ends_with_the_session(app):
    token = app.ask(sessions.open_session).token
    caller = type(app.admin)(token=token)

    right = app.ask(event_access.of_company, app.company, caller=caller)

    (issued,) = [event for event in app.events(KeyIssued) if event.session is not None]
    assert {caller.key_id, issued.session.rests_on, issued.user_id} <= right.rests_on
    assert 0 < right.ends_in_s
