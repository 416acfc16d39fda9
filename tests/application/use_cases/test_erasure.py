from uuid import uuid4

import pytest

from application.access import Caller
from application.event_store.stream_kinds import KEY
from application.request_bodies.board import MemberDraft
from application.request_bodies.issues import Checkout
from application.use_cases import erasure, run_logs
from application.use_cases.board import companies, issues, keys, members
from domain.errors import Conflict, NotFound, Unauthenticated
from domain.events import CompanyErased, KeyRevoked, UserErased
from domain.identity import FIRST_USER, issue_of_run

REASON = "request 2026-114"


def test_a_company_is_erased_once_it_is_archived_and_once_only(app):
    with pytest.raises(Conflict, match="archive it first"):
        app.carry_out(erasure.must_be_erasable, app.company)
    with pytest.raises(Conflict, match="archive it first"):
        app.carry_out(erasure.erase_company, app.company, REASON)
    app.ask(companies.archive, app.company)

    app.carry_out(erasure.must_be_erasable, app.company)
    app.carry_out(erasure.erase_company, app.company, REASON)
    app.carry_out(erasure.erase_company, app.company, "another")

    assert [CompanyErased(reason=REASON)] == app.events(CompanyErased)
    with pytest.raises(NotFound):
        app.carry_out(erasure.erase_company, uuid4(), REASON)


def test_the_log_of_a_run_in_an_erased_company_takes_nothing_more(app):
    run, session = app.fire(app.routine()), uuid4()
    agent = app.as_agent()
    take = Checkout(agent_id=app.agent, expected_statuses=("todo",))
    app.ask(issues.check_out, issue_of_run(run), take, session, caller=agent)
    app.ask(companies.archive, app.company)
    assert app.executor.query_as(agent, run_logs.open_to, run, session)

    app.carry_out(erasure.erase_company, app.company, REASON)

    with pytest.raises(Conflict, match="erased"):
        app.executor.query_as(agent, run_logs.open_to, run, session)


def test_a_user_is_erased_once_they_are_no_member_of_a_company_at_work_and_can_do_nothing_afterwards(app):
    added, other = (app.ask(members.add, app.company, MemberDraft(name=name)) for name in ("Ada", "Bo"))
    user, caller = added.user_id, Caller(token=added.key.token)
    with pytest.raises(Conflict, match=str(app.company)):
        app.carry_out(erasure.erase_user, user, REASON, [app.company], [])
    app.ask(members.remove, members.MembershipRef(company_id=app.company, user_id=user, owners=()))

    app.carry_out(erasure.erase_user, user, REASON, [app.company], [added.key.key_id, other.key.key_id, uuid4()])
    app.carry_out(erasure.erase_user, user, "another", [], [added.key.key_id])

    assert [UserErased(reason=REASON)] == app.events(UserErased)
    assert app.state(KEY, added.key.key_id).revoked
    assert len(app.events(KeyRevoked)) == 1
    with pytest.raises(Unauthenticated):
        app.ask(keys.may_manage, app.company, caller=caller)
    with pytest.raises(Conflict, match="erased"):
        app.carry_out(keys.mint_board_key, "again", user)
    with pytest.raises(Conflict, match="erased"):
        app.ask(members.add, app.company, MemberDraft(user_id=user))
    with pytest.raises(NotFound):
        app.carry_out(erasure.erase_user, uuid4(), REASON, [], [])


def test_a_key_that_the_erasure_of_its_user_did_not_know_opens_nothing(app):
    added = app.ask(members.add, app.company, MemberDraft(name="Ada"))
    app.ask(members.remove, members.MembershipRef(company_id=app.company, user_id=added.user_id, owners=()))
    made_meanwhile = app.carry_out(keys.mint_board_key, "another", added.user_id)

    app.carry_out(erasure.erase_user, added.user_id, REASON, [], [added.key.key_id])

    with pytest.raises(Unauthenticated):
        app.ask(keys.may_manage, app.company, caller=Caller(token=made_meanwhile.token))


def test_the_administrator_is_not_erased_since_nobody_could_take_their_place(app):
    app.carry_out(keys.mint_first)

    with pytest.raises(Conflict, match="administers the installation"):
        app.carry_out(erasure.erase_user, FIRST_USER, REASON, [], [])


def test_a_membership_in_an_archived_company_keeps_nobody_from_being_erased(app):
    added = app.ask(members.add, app.company, MemberDraft(name="Ada"))
    app.ask(companies.archive, app.company)

    app.carry_out(erasure.erase_user, added.user_id, REASON, [app.company], [])

    assert [UserErased(reason=REASON)] == app.events(UserErased)
