import pytest

from application.use_cases import event_access
from application.use_cases.board import sessions
from domain.errors import Forbidden
from domain.events import KeyIssued


def test_the_events_of_a_company_are_for_those_who_run_or_audit_it(here):
    for caller in (here.admin, here.auditor(), here.member("owner"), here.member("auditor")):
        assert here.company == here.ask(event_access.of_company, here.company, caller=caller).company_id

    others = (here.member(), here.member("viewer"), here.member("owner", here.other_company()), here.as_agent())
    for caller in others:
        with pytest.raises(Forbidden):
            here.ask(event_access.of_company, here.company, caller=caller)


def test_that_something_has_changed_is_told_to_all_who_read_the_company_and_of_deliveries_to_those_who_see_them(here):
    for caller, sees_deliveries in ((here.admin, True), (here.member(), True), (here.member("viewer"), False)):
        right = here.ask(event_access.of_changes, here.company, caller=caller)
        assert (here.company, sees_deliveries) == (right.company_id, "delivery.dead" not in right.hidden)
        assert "key.issued" in right.hidden

    for caller in (here.member("owner", here.other_company()), here.as_agent()):
        with pytest.raises(Forbidden):
            here.ask(event_access.of_changes, here.company, caller=caller)


def test_keys_and_names_are_for_auditors_of_the_instance_alone(here):
    assert () == here.ask(event_access.of_all, caller=here.auditor()).hidden
    assert {"key.issued", "name.claimed"} <= set(here.ask(event_access.of_all).hidden)
    assert {"key.issued", "user.registered"} <= set(here.ask(event_access.of_company, here.company).hidden)
    with pytest.raises(Forbidden):
        here.ask(event_access.of_all, caller=here.member("owner"))


def test_a_right_rests_on_the_key_and_on_the_membership_that_give_it(here):
    caller = here.member("auditor")

    right = here.ask(event_access.of_company, here.company, caller=caller)

    assert caller.key_id in right.rests_on
    assert 2 == len(right.rests_on)
    assert 0 < right.ends_in_s


def test_the_right_of_a_session_rests_on_its_key_as_well_and_ends_with_the_session(here):
    token = here.ask(sessions.open_session).token
    caller = type(here.admin)(token=token)

    right = here.ask(event_access.of_company, here.company, caller=caller)

    (issued,) = [event for event in here.events(KeyIssued) if event.session is not None]
    assert {caller.key_id, issued.session.rests_on, issued.user_id} <= right.rests_on
    assert 0 < right.ends_in_s
