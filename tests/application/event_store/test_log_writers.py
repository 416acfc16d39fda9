"""What the log believes of who writes to it: the attacks of somebody who has the service's login, and nothing else."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from msgspec.structs import replace
from psycopg.sql import SQL, Identifier

from application.access import Caller
from application.audit import grants, log_reader
from application.event_store.recorder import APPEND, APPEND_EACH, Batch, ClockDiffers, together, verdicts
from application.execute import Executor
from application.request_bodies.board import (
    AgentDraft,
    AgentKeyDraft,
    BoardKeyDraft,
    CompanyDraft,
    CompanyPatch,
    MemberDraft,
    MemberPatch,
)
from application.request_bodies.jetty import ApiKeyCreate, CollectionCreate
from application.use_cases import event_access
from application.use_cases.board import agents, companies, keys, members, sessions
from application.use_cases.jetty import collections
from domain.errors import Forbidden
from domain.events import AgentPaused
from domain.identity import FIRST_USER, membership_of
from domain.recorded import Recorded
from routines import bootstrap
from routines.settings import Settings

BOUND = timedelta(minutes=5)


class Scene:
    """Two companies on a database with the rules of an installation; Ann owns one of them, Vic is a viewer there."""

    def __init__(self, system, urls):
        self.system, self.urls = system, urls
        self.first = self.caller(system.executor.attempt(keys.mint_first).result)
        self.company = self.ask(self.first, companies.create, CompanyDraft(name="Ours"))
        self.other = self.ask(self.first, companies.create, CompanyDraft(name="Theirs"))
        self.ann, self.ann_key, self.ann_caller = self.join("Ann", "owner")
        self.vic, self.vic_key, self.vic_caller = self.join("Vic", "viewer")
        self.abe, self.abe_key, self.abe_caller = self.join("Abe", "admin")
        self.agent = self.ask(self.ann_caller, agents.create, self.company, AgentDraft(name="Scout")).agent_id

    def caller(self, minted):
        return Caller(token=minted.token)

    def ask(self, caller, use_case, *arguments):
        return self.system.executor.execute(caller, use_case, *arguments).result

    def join(self, name, role):
        added = self.ask(self.first, members.add, self.company, MemberDraft(name=name, membership_role=role))
        return added.user_id, added.key.key_id, self.caller(added.key)

    def seat(self, user_id, company_id=None):
        return membership_of(user_id, company_id or self.company)

    def log(self):
        """Everything, as an auditor reads it."""
        with psycopg.connect(self.urls("routines_auditor"), autocommit=True) as conn:
            return list(log_reader.read_rows(conn, log_reader.read_head(conn).position))

    def append(self, *events, evidence=(), login="routines_service"):
        """By hand, over a connection with the service's login; each event is (stream, name, body), of a next version."""
        with psycopg.connect(self.urls(login), autocommit=True) as conn:
            return conn.execute(APPEND, self.batch(*events, evidence=evidence)).fetchone()[0]

    def batch(self, *events, evidence=()):
        """What `append` gives to the log."""
        ids = [stream for stream, _, _ in events]
        now = {id_: sum(row.stream_id == id_ for row in self.log()) for id_ in {*ids, *evidence}}
        versions = [now[id_] + 1 for id_ in ids]
        names, bodies = [name for _, name, _ in events], [body for _, _, body in events]
        guarded = [id_ for id_ in evidence if id_ not in ids]
        return Batch(ids, versions, names, bodies, guarded, [now[id_] for id_ in guarded])


@pytest.fixture(scope="module")
def writers_fixture(postgres, template):
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.url("postgres", "postgres"), autocommit=True) as conn:
        conn.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template)))
        with psycopg.connect(postgres.url("postgres", name), autocommit=True) as owner:
            owner.execute("UPDATE log.rules SET max_clock_difference = DEFAULT")
        with bootstrap.system(Settings(database_url=postgres.url("routines_service", name))) as system:
            yield Scene(system, lambda login: postgres.url(login, name))
        conn.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def text(moment):
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def body(kind, actor="system", company=None, at=None, **fields):
    """As the service writes it."""
    plain = {key: str(value) if isinstance(value, UUID) else value for key, value in fields.items()}
    envelope = {"at": text(at or datetime.now(UTC)), "actor": actor, "event": {"type": kind, **plain}}
    return json.dumps(envelope | ({"company_id": str(company)} if company else {}), separators=(",", ":")).encode()


def body_at(at, *, start="", after=""):
    """A body that says a time, with something before and after it."""
    return f'{{{start}"at":"{at}","actor":"system","event":{{"type":"agent.paused","reason":"x"}}{after}}}'.encode()


# What the database knows itself


def test_the_log_says_which_login_recorded_an_event_and_when(writers_fixture, postgres):
    with psycopg.connect(writers_fixture.urls("postgres"), autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS web_of_acme")
        owner.execute("CREATE ROLE web_of_acme LOGIN IN ROLE routines_service")
    try:
        start = datetime.now(UTC)
        positions = [
            writers_fixture.append((uuid4(), "agent.paused", body_at(text(datetime.now(UTC)))), login=login)
            for login in ("routines_service", "web_of_acme", "postgres")
        ]
        rows = {row.position: row for row in writers_fixture.log()}
    finally:
        with psycopg.connect(writers_fixture.urls("postgres"), autocommit=True) as owner:
            owner.execute("DROP ROLE web_of_acme")

    assert [rows[at].recorded_by for at in positions] == ["routines_service", "web_of_acme", "postgres"]
    assert all(start - timedelta(seconds=1) <= rows[at].recorded_at for at in positions)


def test_the_service_acting_for_another_login_is_recorded_as_that_login(writers_fixture):
    """Whoever the settings log in as: `SET ROLE` hides nobody."""
    with bootstrap.system(Settings(database_url=writers_fixture.urls("postgres"))) as system:
        position = system.store.append(
            [Recorded(stream_id=uuid4(), version=1, at=system.clock(), actor="x", company_id=None, event=AgentPaused())]
        )

    assert writers_fixture.log()[position - 1].recorded_by == "postgres"


# Time


@pytest.mark.parametrize("difference", [timedelta(), BOUND * 0.9, -BOUND * 0.9])
def test_an_event_of_about_now_is_recorded(writers_fixture, difference):
    assert writers_fixture.append((uuid4(), "agent.paused", body_at(text(datetime.now(UTC) + difference))))


@pytest.mark.parametrize(
    "difference", [BOUND * 1.1, -BOUND * 1.1, timedelta(days=400), -timedelta(days=400)], ids=lambda d: f"{d}"
)
def test_an_event_of_another_time_is_refused(writers_fixture, difference):
    other = text(datetime.now(UTC) + difference)

    with pytest.raises(psycopg.errors.DatetimeFieldOverflow):
        writers_fixture.append((uuid4(), "agent.paused", body_at(other)))


NOW, PAST = "{now}", "2020-01-01T00:00:00Z"
TRICKS = {
    "the past last": body_at(NOW, after=f',"at":"{PAST}"'),
    "the past last, spelt with escapes": body_at(NOW, after=f',"\\u0061t":"{PAST}"'),
    "the past last, in capital escapes": body_at(NOW, after=f',"a\\u0074":"{PAST}"'),
    "the past last, with room": body_at(NOW, after=f' , "at" : "{PAST}" '),
    "something before it": body_at(PAST, start='"x":{"at":"{now}"},'),
    "room before it": body_at(PAST, start=" "),
    "another field first": body_at(PAST, start='"z":1,'),
    "no time": b'{"actor":"system","event":{"type":"agent.paused"}}',
    "a number": b'{"at":1764398000,"actor":"system","event":{"type":"agent.paused"}}',
    "a word for now": body_at("now"),
    "for ever": body_at("infinity"),
    "of a zone": body_at("{naive}+00:00"),
    "of another shape": body_at("20261129T000000Z"),
    "no such day": body_at("2026-02-30T00:00:00Z"),
    "nothing": b"",
    "no JSON": b"not json",
    "half a JSON": b'{"at":',
    "a list": b'["at"]',
    "NUL": b"\x00",
    "no text": b"\xff\xfe",
    "no text, with a second time": b'{"at":"{now}","at":"\xff"}',
}


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_of_writing_records_another_time(writers_fixture, trick):
    now = text(datetime.now(UTC)).encode()
    written_body = TRICKS[trick].replace(b"{now}", now).replace(b"{naive}", now[:-1])

    with pytest.raises(psycopg.Error) as refusal:
        writers_fixture.append((uuid4(), "agent.paused", written_body))

    assert isinstance(refusal.value, psycopg.DataError | psycopg.errors.InvalidTextRepresentation), refusal.value


def test_one_event_of_another_time_refuses_its_whole_batch(writers_fixture):
    """Also when one before it begins like it, and ends at the right time."""
    past, now = "2020-01-01T00:00:00.000000Z", text(datetime.now(UTC))
    many = len(writers_fixture.log())

    with pytest.raises(psycopg.errors.DatetimeFieldOverflow):
        writers_fixture.append(
            (uuid4(), "agent.paused", body_at(now)),
            (uuid4(), "agent.paused", body_at(past, after=f',"at":"{now}"')),
            (uuid4(), "agent.paused", body_at(past)),
        )

    assert len(writers_fixture.log()) == many


def test_what_events_carry_does_not_make_them_late(writers_fixture):
    """Payloads may have a field `at`, NULs and quotes of their own."""
    for inner in ('{"at":"2020-01-01T00:00:00Z"}', '"\\u0000"', '{"\\u0000at":1}', '"\\"at\\""'):
        now = text(datetime.now(UTC))
        written_body = f'{{"at":"{now}","actor":"system","event":{{"type":"agent.paused","extra":{inner}}}}}'.encode()

        assert writers_fixture.append((uuid4(), "agent.paused", written_body))


def test_a_decision_that_was_held_up_is_taken_again_on_the_present_time(writers_fixture):
    """A frozen process wakes up and commits what it decided an hour ago."""
    clocks = [writers_fixture.system.clock() - timedelta(hours=1), writers_fixture.system.clock()]
    times = iter(clocks)
    executor = Executor(writers_fixture.system.store, lambda: next(times))

    attempt = executor.attempt(lambda work: work.record(uuid4(), [AgentPaused()]))

    assert [recorded.at for recorded in attempt.recorded] == clocks[1:]


def test_a_clock_that_stays_wrong_is_a_refusal_that_recorded_nothing(writers_fixture):
    many = len(writers_fixture.log())
    executor = Executor(writers_fixture.system.store, lambda: writers_fixture.system.clock() + timedelta(hours=1))

    with pytest.raises(ClockDiffers) as refusal:
        executor.attempt(lambda work: work.record(uuid4(), [AgentPaused()]))

    assert len(writers_fixture.log()) == many
    assert refusal.value.difference_s == pytest.approx(3_600, abs=60)


# Grants: what the service itself does with them is recorded


def test_grants_that_follow_from_what_they_read_are_recorded(writers_fixture):
    """As the API makes them, with the checks on."""
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
        grant for grant in grants.review(writers_fixture.log()) if grant.recorded_by == "routines_service"
    ]
    assert len(service_grants) > 20
    assert [grant for grant in service_grants if grant.flags] == []


def test_an_operator_who_logs_in_as_the_owner_may_do_what_the_service_may_not(writers_fixture):
    with bootstrap.system(Settings(database_url=writers_fixture.urls("postgres"))) as system:
        minted = bootstrap.another_board_token(system, "lost")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="does not follow"):
        bootstrap.another_board_token(writers_fixture.system, "stolen")

    (grant,) = [
        grant for grant in grants.review(writers_fixture.log()) if grant.recorded_by == "postgres" and grant.flags
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


# Grants: what somebody with the service's login makes up is refused


def forged(writers_fixture):
    """(what, events, evidence): each names streams that are there, as somebody would who has read the log."""
    ann, first, vic, abe = (
        f"user:{id_}" for id_ in (writers_fixture.ann, FIRST_USER, writers_fixture.vic, writers_fixture.abe)
    )
    seats = {
        writers_fixture.ann_key: writers_fixture.seat(writers_fixture.ann),
        writers_fixture.vic_key: writers_fixture.seat(writers_fixture.vic),
        writers_fixture.abe_key: writers_fixture.seat(writers_fixture.abe),
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
    by_ann = [writers_fixture.ann_key, writers_fixture.ann, writers_fixture.seat(writers_fixture.ann)]
    by_vic = [writers_fixture.vic_key, writers_fixture.vic, writers_fixture.seat(writers_fixture.vic)]
    by_abe = [writers_fixture.abe_key, writers_fixture.abe, writers_fixture.seat(writers_fixture.abe)]
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
            [writers_fixture.ann, writers_fixture.seat(writers_fixture.ann)],
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
            [(writers_fixture.seat(writers_fixture.abe), "member.changed", body("member.changed", abe, writers_fixture.company, role="owner", permissions=[]))],
            by_abe,
        ),
        "an owner of a viewer": (
            [(writers_fixture.seat(writers_fixture.vic), "member.changed", body("member.changed", vic, writers_fixture.company, role="owner", permissions=[]))],
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
        [key, user, writers_fixture.seat(user)]
        for key, user in (
            (writers_fixture.abe_key, writers_fixture.abe),
            (writers_fixture.vic_key, writers_fixture.vic),
        )
    )
    joined = body(
        "member.joined", f"user:{writers_fixture.abe}", writers_fixture.company, user_id=(new := uuid4()), role="member"
    )
    forged = (writers_fixture.seat(new), "member.joined", joined)
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
    seat = writers_fixture.seat(writers_fixture.ann, writers_fixture.other)
    written_body = body(
        "member.joined",
        f"user:{writers_fixture.ann}",
        writers_fixture.company,
        user_id=writers_fixture.ann,
        role="owner",
    )
    position = writers_fixture.append(
        (seat, "member.joined", written_body),
        evidence=[writers_fixture.ann_key, writers_fixture.ann, writers_fixture.seat(writers_fixture.ann)],
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


# The auditor's chain


@pytest.fixture
def rows(writers_fixture):
    return writers_fixture.log()


def defects(rows, head=None):
    last = rows[-1]
    faulty = log_reader.find_defects(rows, head or log_reader.Head(position=last.position, hash=last.hash))
    return [defect.position for defect in faulty]


def test_the_chain_of_what_was_recorded_has_no_defect(rows):
    assert defects(rows) == []


@pytest.mark.parametrize(
    "change",
    [
        {"body": b"{}"},
        {"name": "agent.resumed"},
        {"version": 9},
        {"stream_id": UUID(int=1)},
        {"recorded_at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"recorded_by": "somebody"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_is_changed_in_a_row_shows(rows, change):
    place = len(rows) // 2
    changed = replace(rows[place], **change)

    assert defects([*rows[:place], changed, *rows[place + 1 :]]) == [changed.position]


def test_a_row_without_its_login_among_those_that_have_one_shows_even_with_a_hash_that_fits(rows):
    place = len(rows) // 2
    bare = replace(rows[place], recorded_by=None)
    bare = replace(bare, hash=log_reader.hash_of(rows[place - 1].hash, bare))

    assert bare.position in defects([*rows[:place], bare, *rows[place + 1 :]])


def test_a_row_that_is_gone_shows_in_the_middle_and_at_the_end(rows):
    place, last = len(rows) // 2, rows[-1]
    head = log_reader.Head(position=last.position, hash=last.hash)

    assert defects([*rows[:place], *rows[place + 1 :]]) == [rows[place].position + 1]
    assert defects(rows[:-1], head) == [last.position]
