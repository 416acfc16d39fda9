"""A grant is recorded only if what it rests on is in the log, and gives its maker that right."""

from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest

from application.access import Caller
from application.audit import grants
from application.event_store.recorder import APPEND_EACH, together, verdicts
from application.execute import Executor
from application.request_bodies.board import (
    AgentKeyDraft,
    BoardKeyDraft,
    CompanyDraft,
    CompanyPatch,
    MemberDraft,
    MemberPatch,
)
from application.request_bodies.jetty import ApiKeyCreate, CollectionCreate
from application.use_cases import event_access
from application.use_cases.board import companies, keys, members, sessions
from application.use_cases.jetty import collections
from domain.errors import Forbidden
from domain.identity import FIRST_USER, membership_of
from routines import bootstrap
from routines.settings import Settings
from tests.application.event_store.writers import body, body_at, text


def test_grants_that_follow_from_what_they_read_are_recorded(writers_fixture):
    """As the API makes them, with the checks on."""
    begun_at = writers_fixture.system.store.head()
    minted = writers_fixture.ask(writers_fixture.ann_caller, keys.create_for_board, BoardKeyDraft(name="mine"))
    writers_fixture.ask(writers_fixture.ann_caller, keys.revoke_board_key, minted.key_id)
    writers_fixture.ask(writers_fixture.ann_caller, keys.create_for_agent, writers_fixture.agent, AgentKeyDraft())
    added = writers_fixture.ask(
        writers_fixture.abe_caller,
        members.add,
        writers_fixture.company,
        MemberDraft(name="Bob", membership_role="member"),
    )
    bob = members.MembershipRef(
        company_id=writers_fixture.company, user_id=added.user_id, owners=(writers_fixture.ann,)
    )
    writers_fixture.ask(writers_fixture.ann_caller, members.change, bob, MemberPatch(membership_role="owner"))
    writers_fixture.ask(writers_fixture.ann_caller, members.remove, bob)
    writers_fixture.ask(
        writers_fixture.first,
        members.add,
        writers_fixture.company,
        MemberDraft(user_id=added.user_id, membership_role="viewer"),
    )
    writers_fixture.ask(
        writers_fixture.first, keys.create_for_member, writers_fixture.company, writers_fixture.vic, BoardKeyDraft()
    )
    writers_fixture.ask(writers_fixture.first, collections.create, CollectionCreate(name="nightly"))
    writers_fixture.ask(
        writers_fixture.first, collections.create_key, ApiKeyCreate(name="ci", collection_name="nightly")
    )
    fresh = Executor(
        writers_fixture.system.store, writers_fixture.system.clock, writers_fixture.system.vault
    )  # remembers nothing
    assert fresh.execute(writers_fixture.ann_caller, keys.create_for_board, BoardKeyDraft()).result.token

    service_grants = [
        grant
        for grant in grants.review(writers_fixture.log())
        if grant.position > begun_at and grant.recorded_by == "routines_service"
    ]
    assert len(service_grants) > 10
    assert [grant for grant in service_grants if grant.flags] == []


def test_an_operator_who_logs_in_as_the_owner_may_do_what_the_service_may_not(writers_fixture):
    begun_at = writers_fixture.system.store.head()
    with bootstrap.system(Settings(database_url=writers_fixture.urls("postgres"))) as system:
        minted = bootstrap.another_board_token(system, "lost")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="does not follow"):
        bootstrap.another_board_token(writers_fixture.system, "stolen")

    (grant,) = [
        grant
        for grant in grants.review(writers_fixture.log())
        if grant.position > begun_at and grant.recorded_by == "postgres" and grant.flags
    ]
    assert (grant.actor, grant.flags) == ("system", ("given by no user: by an operator at the database, or forged",))
    assert writers_fixture.ask(Caller(token=minted), companies.create, CompanyDraft(name="Third"))


def test_only_an_operator_makes_an_auditor_of_the_installation(writers_fixture):
    with bootstrap.system(Settings(database_url=writers_fixture.urls("postgres"))) as system:
        auditor = Caller(token=bootstrap.auditor_key(system, "Ada"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="does not follow"):
        bootstrap.auditor_key(writers_fixture.system, "Eve")

    (grant,) = [grant for grant in grants.review(writers_fixture.log()) if "makes an instance auditor" in grant.flags]
    assert (grant.name, grant.recorded_by) == ("user.registered", "postgres")
    assert writers_fixture.ask(auditor, event_access.of_all).hidden == ()
    with pytest.raises(Forbidden, match="Auditor access is read-only"):
        writers_fixture.ask(auditor, companies.update, writers_fixture.company, CompanyPatch(name="Ours"))


def forged(writers_fixture):
    """(what, events, evidence): each names streams that are there, as somebody would who has read the log."""
    ann, first, vic, abe = (
        f"user:{id_}" for id_ in (writers_fixture.ann, FIRST_USER, writers_fixture.vic, writers_fixture.abe)
    )
    seats = {
        writers_fixture.ann_key: writers_fixture.membership(writers_fixture.ann),
        writers_fixture.vic_key: writers_fixture.membership(writers_fixture.vic),
        writers_fixture.abe_key: writers_fixture.membership(writers_fixture.abe),
    }
    everything = [
        *seats,
        *seats.values(),
        writers_fixture.ann,
        FIRST_USER,
        writers_fixture.company,
        writers_fixture.other,
        writers_fixture.agent,
    ]
    by_ann = [writers_fixture.ann_key, writers_fixture.ann, writers_fixture.membership(writers_fixture.ann)]
    by_vic = [writers_fixture.vic_key, writers_fixture.vic, writers_fixture.membership(writers_fixture.vic)]
    by_abe = [writers_fixture.abe_key, writers_fixture.abe, writers_fixture.membership(writers_fixture.abe)]
    new, past = uuid4(), datetime(2020, 1, 1, tzinfo=UTC)
    theirs = uuid4()

    def joined(user_id, company, role="member", actor=ann):
        written_body = body("member.joined", actor, company, user_id=user_id, role=role)
        return (membership_of(user_id, company), "member.joined", written_body)

    def issued(actor, company=None, **holder):
        return (uuid4(), "key.issued", body("key.issued", actor, company, name="k", **holder))

    def registered(user_id, actor=ann, **fields):
        return (user_id, "user.registered", body("user.registered", actor, name="Mallory", **fields))

    return {
        "an instance admin by nobody": ([registered(new, "system", instance_admin=True)], everything),
        "an instance admin by an owner": ([registered(new, instance_admin=True)], by_ann),
        "an instance admin by the first user, whose key is not among what was read": (
            [registered(new, first, instance_admin=True)],
            by_ann,
        ),
        "an instance admin, and the first user's key": (
            [registered(new, "system", instance_admin=True), issued("system", user_id=FIRST_USER)],
            everything,
        ),
        "the first user's key by nobody": ([issued("system", user_id=FIRST_USER)], everything),
        "the first user's key by another": ([issued(ann, user_id=FIRST_USER)], by_ann),
        "the first user's key without one that was read": ([issued(first, user_id=FIRST_USER)], [FIRST_USER]),
        "a key of another member": ([issued(ann, user_id=writers_fixture.abe)], by_ann),
        "a key by an agent": ([issued(f"agent:{writers_fixture.agent}", writers_fixture.company, agent_id=writers_fixture.agent)], everything),
        "a key by a name of one's own": ([issued("user:mallory", user_id=writers_fixture.ann)], everything),
        "a key by a user who is not there": ([issued(f"user:{new}", user_id=writers_fixture.ann)], everything),
        "a key by a user who vouches for themselves": (
            [registered(new, f"user:{new}"), issued(f"user:{new}", user_id=new)],
            everything,
        ),
        "a key by a key of the same batch": (
            [issued(f"user:{new}", user_id=new), registered(new, f"user:{new}")],
            [],
        ),
        "an agent's key by a viewer": ([issued(vic, writers_fixture.company, agent_id=writers_fixture.agent)], by_vic),
        "an agent's key by somebody without a key": (
            [issued(ann, writers_fixture.company, agent_id=writers_fixture.agent)],
            [writers_fixture.ann, writers_fixture.membership(writers_fixture.ann)],
        ),
        "an agent's key by somebody else's membership": (
            [issued(vic, writers_fixture.company, agent_id=writers_fixture.agent)],
            [*by_ann, writers_fixture.vic_key, writers_fixture.vic],
        ),
        "an agent's key through another company": ([issued(ann, writers_fixture.other, agent_id=writers_fixture.agent)], by_ann),
        "another collection's key": ([issued(ann, writers_fixture.other, collection_id=writers_fixture.other)], by_ann),
        "another collection's key through one's own": ([issued(ann, writers_fixture.company, collection_id=writers_fixture.other)], by_ann),
        "a key of nobody": ([issued(ann, writers_fixture.company)], by_ann),
        "a member by nobody": ([joined(writers_fixture.vic, writers_fixture.other, actor="system")], everything),
        "a member of another company": ([joined(writers_fixture.ann, writers_fixture.other, "owner")], by_ann),
        "a member by a viewer": ([joined(FIRST_USER, writers_fixture.company, actor=vic)], by_vic),
        "an owner by an admin": ([joined(FIRST_USER, writers_fixture.company, "owner", actor=abe)], by_abe),
        "an owner of oneself": (
            [(writers_fixture.membership(writers_fixture.abe), "member.changed", body("member.changed", abe, writers_fixture.company, role="owner", permissions=[]))],
            by_abe,
        ),
        "an owner of a viewer": (
            [(writers_fixture.membership(writers_fixture.vic), "member.changed", body("member.changed", vic, writers_fixture.company, role="owner", permissions=[]))],
            by_vic,
        ),
        "a member by a membership of the same batch": (
            [joined(writers_fixture.vic, writers_fixture.other, "owner", vic), joined(writers_fixture.ann, writers_fixture.other, "owner", vic)],
            by_vic,
        ),
        "a key that is no JSON": ([(uuid4(), "key.issued", body_at(text(datetime.now(UTC)))[:-1])], by_ann),
        "the first user again": ([registered(FIRST_USER, "system", instance_admin=True)], everything),
        "the first user again, and a key": (
            [registered(FIRST_USER, "system", instance_admin=True), issued("system", user_id=FIRST_USER)],
            everything,
        ),
        "a user in another's stream": ([registered(writers_fixture.abe)], by_ann),
        "a key in a stream that is there": (
            [(writers_fixture.vic_key, "key.issued", body("key.issued", ann, name="k", user_id=writers_fixture.ann))],
            by_ann,
        ),
        "the first user elsewhere": (
            [registered(theirs, "system", instance_admin=True), issued("system", user_id=theirs)],
            everything,
        ),
        "a key of long ago": (
            [(uuid4(), "key.issued", body("key.issued", ann, name="k", user_id=writers_fixture.ann, at=past))],
            by_ann,
        ),
    }  # fmt: skip


def test_what_the_service_makes_up_is_refused(writers_fixture):
    many, recorded = len(writers_fixture.log()), []
    for name, (events, evidence) in forged(writers_fixture).items():
        try:
            writers_fixture.append(*events, evidence=evidence)
        except (psycopg.errors.InsufficientPrivilege, psycopg.DataError):
            continue
        recorded.append(name)

    assert recorded == []
    assert len(writers_fixture.log()) == many


def test_no_grant_rests_on_what_another_batch_of_its_group_has_read(writers_fixture):
    """An admin's membership is made up by the viewer, who has read only her own; what the others read would prove it."""
    by_abe, by_vic = (
        [key, user, writers_fixture.membership(user)]
        for key, user in (
            (writers_fixture.abe_key, writers_fixture.abe),
            (writers_fixture.vic_key, writers_fixture.vic),
        )
    )
    joined = body(
        "member.joined", f"user:{writers_fixture.abe}", writers_fixture.company, user_id=(new := uuid4()), role="member"
    )
    forged = (writers_fixture.membership(new), "member.joined", joined)
    plain = (uuid4(), "agent.paused", body("agent.paused", company=writers_fixture.company, reason="rest"))
    group = [writers_fixture.batch(plain, evidence=by_abe), writers_fixture.batch(forged, evidence=by_vic)]

    with psycopg.connect(writers_fixture.urls("routines_service"), autocommit=True) as conn:
        recorded, refusal = verdicts(conn.execute(APPEND_EACH, together(group)).fetchall())

    position = writers_fixture.log()[-1].position
    assert recorded == position
    assert isinstance(refusal, psycopg.errors.InsufficientPrivilege)
    assert writers_fixture.append(forged, evidence=by_abe) == position + 1


def test_a_key_that_is_revoked_or_expired_and_a_membership_that_ended_vouch_for_nothing(writers_fixture):
    eve, eve_key, caller = writers_fixture.join("Eve", "owner")
    further = writers_fixture.ask(caller, keys.create_for_board, BoardKeyDraft())
    expired = writers_fixture.ask(
        caller, keys.create_for_board, BoardKeyDraft(expires_at=writers_fixture.system.clock())
    )
    writers_fixture.ask(caller, keys.revoke_board_key, further.key_id)
    mine = (uuid4(), "key.issued", body("key.issued", f"user:{eve}", name="k", user_id=eve))
    agents_own = body("key.issued", f"user:{eve}", writers_fixture.company, name="k", agent_id=writers_fixture.agent)
    for key_id in (further.key_id, expired.key_id):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writers_fixture.append(mine, evidence=[key_id, eve])
    seat = members.MembershipRef(company_id=writers_fixture.company, user_id=eve, owners=(writers_fixture.ann,))
    writers_fixture.ask(writers_fixture.ann_caller, members.remove, seat)

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        writers_fixture.append((uuid4(), "key.issued", agents_own), evidence=[eve_key, eve, seat.member_id])
    assert writers_fixture.append(mine, evidence=[eve_key, eve])


def test_a_session_vouches_for_nothing_once_its_key_is_revoked_or_its_user_has_signed_out(writers_fixture):
    for end in ("key", "everywhere"):
        base = writers_fixture.ask(writers_fixture.ann_caller, keys.create_for_board, BoardKeyDraft())
        session = writers_fixture.ask(writers_fixture.caller(base), sessions.open_session)
        vouched = (
            uuid4(),
            "key.issued",
            body("key.issued", f"user:{writers_fixture.ann}", name="x", user_id=str(writers_fixture.ann)),
        )
        assert writers_fixture.append(vouched, evidence=[session.key_id])

        if end == "key":
            writers_fixture.ask(writers_fixture.ann_caller, keys.revoke_board_key, base.key_id)
        else:
            writers_fixture.ask(writers_fixture.ann_caller, sessions.close_all)

        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writers_fixture.append((uuid4(), *vouched[1:]), evidence=[session.key_id])
    assert not [
        grant for grant in grants.review(writers_fixture.log()) if grant.stream_id == session.key_id and grant.flags
    ]


def test_a_membership_in_a_stream_of_another_company_lets_nobody_in(writers_fixture):
    """The log believes that an owner of one company adds a member there; who reads it sees which company it names."""
    seat = writers_fixture.membership(writers_fixture.ann, writers_fixture.other)
    written_body = body(
        "member.joined",
        f"user:{writers_fixture.ann}",
        writers_fixture.company,
        user_id=writers_fixture.ann,
        role="owner",
    )
    position = writers_fixture.append(
        (seat, "member.joined", written_body),
        evidence=[writers_fixture.ann_key, writers_fixture.ann, writers_fixture.membership(writers_fixture.ann)],
    )

    with pytest.raises(Forbidden):
        writers_fixture.ask(writers_fixture.ann_caller, companies.archive, writers_fixture.other)
    (grant,) = [grant for grant in grants.review(writers_fixture.log()) if grant.position == position]
    assert grant.flags == ("another company's member, or another user",)


def test_a_grant_under_another_name_is_none(writers_fixture):
    """The row says that an agent was paused, so nobody checks; and nobody reads the key in it."""
    key_id = uuid4()
    writers_fixture.append((key_id, "agent.paused", body("key.issued", "system", name="k", user_id=FIRST_USER)))

    with pytest.raises(Exception, match=r"says that it is key\.issued"):
        writers_fixture.system.store.load([key_id])


def test_what_the_log_cannot_know_is_not_refused_and_not_flagged(writers_fixture):
    """Stolen rights of the service suffice to act in the name of an owner with a good key: only she can tell."""
    written_body = body("key.issued", f"user:{writers_fixture.ann}", name="forged", user_id=writers_fixture.ann)
    position = writers_fixture.append(
        (uuid4(), "key.issued", written_body), evidence=[writers_fixture.ann_key, writers_fixture.ann]
    )

    (grant,) = [grant for grant in grants.review(writers_fixture.log()) if grant.position == position]
    assert (grant.flags, grant.actor, grant.recorded_by) == ((), f"user:{writers_fixture.ann}", "routines_service")
