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


def test_a_company_is_erased_once_it_is_archived_and_once_only(here):
    with pytest.raises(Conflict, match="archive it first"):
        here.carry_out(erasure.erase_company, here.company, REASON)
    here.ask(companies.archive, here.company)

    here.carry_out(erasure.must_be_erasable, here.company)
    here.carry_out(erasure.erase_company, here.company, REASON)
    here.carry_out(erasure.erase_company, here.company, "another")

    assert [CompanyErased(reason=REASON)] == here.events(CompanyErased)
    with pytest.raises(NotFound):
        here.carry_out(erasure.erase_company, uuid4(), REASON)


def test_the_log_of_a_run_in_an_erased_company_takes_nothing_more(here):
    run, session = here.fire(here.routine()), uuid4()
    agent = here.as_agent()
    take = Checkout(agent_id=here.agent, expected_statuses=("todo",))
    here.ask(issues.check_out, issue_of_run(run), take, session, caller=agent)
    here.ask(companies.archive, here.company)
    assert here.executor.query_as(agent, run_logs.open_to, run, session)

    here.carry_out(erasure.erase_company, here.company, REASON)

    with pytest.raises(Conflict, match="erased"):
        here.executor.query_as(agent, run_logs.open_to, run, session)


def test_a_user_is_erased_once_they_are_no_member_of_a_company_at_work_and_can_do_nothing_afterwards(here):
    added = here.ask(members.add, here.company, MemberDraft(name="Ada"))
    user, caller = added.user_id, Caller(token=added.key.token)
    with pytest.raises(Conflict, match=str(here.company)):
        here.carry_out(erasure.erase_user, user, REASON, [here.company], [])
    here.ask(members.remove, members.MembershipRef(company_id=here.company, user_id=user, owners=()))

    here.carry_out(erasure.erase_user, user, REASON, [here.company], [added.key.key_id, uuid4()])
    here.carry_out(erasure.erase_user, user, "another", [], [added.key.key_id])

    assert [UserErased(reason=REASON)] == here.events(UserErased)
    assert here.state(KEY, added.key.key_id).revoked
    assert len(here.events(KeyRevoked)) == 1
    with pytest.raises(Unauthenticated):
        here.ask(keys.may_manage, here.company, caller=caller)
    with pytest.raises(Conflict, match="erased"):
        here.carry_out(keys.mint_board_key, "again", user)
    with pytest.raises(Conflict, match="erased"):
        here.ask(members.add, here.company, MemberDraft(user_id=user))
    with pytest.raises(NotFound):
        here.carry_out(erasure.erase_user, uuid4(), REASON, [], [])


def test_a_key_that_the_erasure_of_its_user_did_not_know_opens_nothing(here):
    added = here.ask(members.add, here.company, MemberDraft(name="Ada"))
    here.ask(members.remove, members.MembershipRef(company_id=here.company, user_id=added.user_id, owners=()))
    made_meanwhile = here.carry_out(keys.mint_board_key, "another", added.user_id)

    here.carry_out(erasure.erase_user, added.user_id, REASON, [], [added.key.key_id])

    with pytest.raises(Unauthenticated):
        here.ask(keys.may_manage, here.company, caller=Caller(token=made_meanwhile.token))


def test_the_administrator_is_not_erased_since_nobody_could_take_their_place(here):
    here.carry_out(keys.mint_first)

    with pytest.raises(Conflict, match="administers the installation"):
        here.carry_out(erasure.erase_user, FIRST_USER, REASON, [], [])


def test_a_membership_in_an_archived_company_keeps_nobody_from_being_erased(here):
    added = here.ask(members.add, here.company, MemberDraft(name="Ada"))
    here.ask(companies.archive, here.company)

    here.carry_out(erasure.erase_user, added.user_id, REASON, [here.company], [])

    assert [UserErased(reason=REASON)] == here.events(UserErased)
