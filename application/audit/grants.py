"""
A review of all grants, for auditors: who was given which rights, checked once more from the log alone.

`log.append` refuses most doubtful grants from the service (log.sql). The review also sees those that were recorded
before it did so, or by an owner of the database.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from uuid import UUID

from eventsourcing.persistence import MapperDeserialisationError, StoredEvent
from msgspec.structs import replace

from application.audit.log_reader import Row
from application.event_store.codec import from_stored
from domain.board.access import Key, is_good, user_of
from domain.events import (
    AgentCreated,
    KeyIssued,
    KeyRevoked,
    MemberChanged,
    MemberJoined,
    MemberRemoved,
    UserRegistered,
    UserSignedOut,
    stored_name,
)
from domain.identity import FIRST_USER, membership_of
from domain.recorded import Recorded
from domain.values import Value

GRANTS = (UserRegistered, MemberJoined, MemberChanged, KeyIssued)
NAMES = tuple(stored_name(kind) for kind in (*GRANTS, MemberRemoved, KeyRevoked, AgentCreated, UserSignedOut))
MANAGERS, WRITERS = ("owner", "admin"), ("owner", "admin", "member")
MAX_CLOCK_DIFFERENCE = timedelta(minutes=5)  # the default bound of log.sql, which its owner can change


class Grant(Value, frozen=True):
    """A right that somebody was given, and what an auditor should know of it."""

    position: int
    name: str
    stream_id: UUID
    recorded_at: datetime
    recorded_by: str | None
    at: datetime | None = None  # what the writer of the event claims; None when it cannot be read
    actor: str | None = None  # what the writer of the event claims
    company_id: UUID | None = None
    flags: tuple[str, ...] = ()


class _Member(Value, frozen=True):
    user_id: UUID
    company_id: UUID | None
    role: str | None  # None: removed


class _Rights:
    """The users, memberships and keys that follow from the events so far."""

    def __init__(self) -> None:
        self.users: dict[UUID, UserRegistered] = {}
        self.registrations: dict[UUID, tuple[datetime, str]] = {}  # when each user was recorded, and by which actor
        self.members: dict[UUID, _Member] = {}
        self.keys: dict[UUID, dict[UUID, Key]] = {}  # by user and key id
        self.holders: dict[UUID, UUID] = {}  # the user of each of those keys
        self.companies_of_agents: dict[UUID, UUID | None] = {}

    def add(self, recorded: Recorded, recorded_at: datetime) -> None:
        id_ = recorded.stream_id
        match recorded.event:
            case UserRegistered() as event:
                self.users.setdefault(id_, event)
                self.registrations.setdefault(id_, (recorded_at, recorded.actor))
            case MemberJoined(user_id=user_id, role=role):
                self.members[id_] = _Member(user_id=user_id, company_id=recorded.company_id, role=role)
            case MemberChanged(role=role) if id_ in self.members:
                self.members[id_] = replace(self.members[id_], role=role)
            case MemberRemoved() if id_ in self.members:
                self.members[id_] = replace(self.members[id_], role=None)
            case KeyIssued(user_id=UUID() as user_id, expires_at=expires_at, session=session):
                key = Key(user_id=user_id, agent_id=None, expires_at=expires_at, session=session)
                self.keys.setdefault(user_id, {})[id_] = key
                self.holders[id_] = user_id
            case KeyRevoked() if id_ in self.holders:
                keys = self.keys[self.holders.pop(id_)]
                del keys[id_]
                for session_id in [other for other, key in keys.items() if key.session and key.session.rests_on == id_]:
                    del keys[session_id]
                    del self.holders[session_id]
            case UserSignedOut():
                keys = self.keys.get(id_, {})
                for session_id in [other for other, key in keys.items() if key.session]:
                    del keys[session_id]
                    del self.holders[session_id]
            case AgentCreated():
                self.companies_of_agents[id_] = recorded.company_id

    def role(self, user_id: UUID, company_id: UUID | None) -> str | None:
        if self.users[user_id].instance_admin:
            return "owner"
        member = self.members.get(membership_of(user_id, company_id)) if company_id else None
        return member.role if member else None

    def has_good_key(self, user_id: UUID, moment: datetime) -> bool:
        return any(is_good(key, moment) for key in self.keys.get(user_id, {}).values())


def review(rows: Iterable[Row], max_clock_difference: timedelta = MAX_CLOCK_DIFFERENCE) -> Iterator[Grant]:
    """Return every grant of the log, in order. `rows` must be all rows of NAMES, from the first position on."""
    rights = _Rights()
    for row in rows:
        try:
            recorded = from_stored(StoredEvent(row.stream_id, row.version, row.name, row.body))
        except MapperDeserialisationError:
            yield _grant_of(row, None, ["cannot be read"])
            continue
        if isinstance(recorded.event, GRANTS):
            is_late = abs(row.recorded_at - recorded.at) > max_clock_difference
            flags = ["the writer says another time than the database"] * is_late
            yield _grant_of(row, recorded, [*flags, *_find_doubts(rights, recorded, row.recorded_at)])
        rights.add(recorded, row.recorded_at)


def _grant_of(row: Row, recorded: Recorded | None, flags: list[str]) -> Grant:
    return Grant(
        position=row.position,
        name=row.name,
        stream_id=row.stream_id,
        recorded_at=row.recorded_at,
        recorded_by=row.recorded_by,
        at=recorded.at if recorded else None,
        actor=recorded.actor if recorded else None,
        company_id=recorded.company_id if recorded else None,
        flags=tuple(flags),
    )


def _find_doubts(rights: _Rights, recorded: Recorded, recorded_at: datetime) -> Iterator[str]:
    """Return the reasons for which this grant does not follow from those before it."""
    event, granter = recorded.event, user_of(recorded.actor)
    holder = event.user_id if isinstance(event, KeyIssued) else None
    is_new = holder is not None and rights.registrations.get(holder) == (recorded_at, recorded.actor)
    if recorded.version == 1 and (recorded.stream_id == FIRST_USER or (holder == FIRST_USER and is_new)):
        return  # the first user of an installation is admitted by nobody
    if recorded.version > 1 and isinstance(event, UserRegistered | KeyIssued):
        yield "in a stream that was there already"
    if isinstance(event, UserRegistered) and event.instance_admin:
        yield "makes an instance admin"
    if isinstance(event, UserRegistered) and event.instance_auditor:
        yield "makes an instance auditor"
    if granter is None or granter not in rights.users:
        yield "given by no user: by an operator at the database, or forged"
        return
    if not rights.has_good_key(granter, recorded.at):
        yield "the giver had no key"
    role = rights.role(granter, recorded.company_id)
    match event:
        case KeyIssued(user_id=UUID()):
            if holder != granter and not is_new and not rights.users[granter].instance_admin:
                yield "another user's key"
        case KeyIssued(agent_id=agent_id, collection_id=collection_id):
            owner = rights.companies_of_agents.get(agent_id) if agent_id else collection_id
            if owner != recorded.company_id or owner is None:
                yield "another company's key"
            if role not in WRITERS:
                yield "the giver might not issue keys in the company"
        case MemberJoined(role=new_role) | MemberChanged(role=new_role):
            if not _is_of_its_company(rights, recorded):
                yield "another company's member, or another user"
            if role not in MANAGERS or (new_role == "owner" and role != "owner"):
                yield "the giver might not manage members of the company"


def _is_of_its_company(rights: _Rights, recorded: Recorded) -> bool:
    """Return whether the stream of a membership has the id that its user and company give."""
    event, company_id, member = recorded.event, recorded.company_id, rights.members.get(recorded.stream_id)
    user_id = event.user_id if isinstance(event, MemberJoined) else member.user_id if member else None
    if user_id is None or company_id is None:
        return False
    return recorded.stream_id == membership_of(user_id, company_id)
