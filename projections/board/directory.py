"""Directory: companies, their members, agents, projects and goals, and the keys that were issued."""

from collections.abc import Iterable
from typing import Any, get_args
from uuid import UUID

import msgspec
from msgspec.structs import replace

from domain.board.access import membership_of_issuer
from domain.bounds.limits import DEFAULT
from domain.errors import ImpossibleHistory
from domain.events import (
    AgentApproved,
    AgentCreated,
    AgentHeartbeatStopped,
    AgentPaused,
    AgentResumed,
    AgentTerminated,
    AgentUpdated,
    CompanyArchived,
    CompanyCreated,
    CompanyUpdated,
    GoalCreated,
    GoalDeleted,
    GoalEvent,
    GoalUpdated,
    KeyIssued,
    KeyRevoked,
    MemberChanged,
    MemberJoined,
    MemberRemoved,
    ProjectCreated,
    ProjectDeleted,
    ProjectEvent,
    ProjectPaused,
    ProjectResumed,
    ProjectUpdated,
    UserRegistered,
)
from domain.recorded import Recorded
from projections import responses
from projections.engine.documents import Docs, Part
from projections.engine.read_model import Connection, ReadModel, Row, Rows, Table
from projections.responses import time, time_or_none, user_of


class CompanyRow(Row, frozen=True):
    """A company as clients read it; lists are sorted by `position`, that of its first event."""

    position: int
    doc: responses.Company


class MemberRow(Row, frozen=True):
    """A membership of a user in a company; its id is the membership's."""

    user_id: UUID
    company_id: UUID
    position: int
    doc: responses.MemberFields


class PersonRow(Row, frozen=True):
    """A user with name and email address; its id is the user's."""

    name: str
    email: str | None
    instance_admin: bool


class AgentRow(Row, frozen=True):
    """An agent of a company, which is also found by its `url_key`."""

    company_id: UUID
    url_key: str
    position: int
    doc: responses.Agent


class ProjectRow(Row, frozen=True):
    """A project of a company, which is also found by its `url_key`."""

    company_id: UUID
    url_key: str
    position: int
    doc: responses.Project


class GoalRow(Row, frozen=True):
    """A goal of a company."""

    company_id: UUID
    position: int
    doc: responses.Goal


class KeyRow(Row, frozen=True):
    """
    A key, with a document for each list that shows it.

    A user's key has only `doc` and belongs to no company. A key of an agent has `agent_doc` and `company_doc`, a key
    that is bound to a collection only `company_doc`.
    """

    user_id: UUID | None
    agent_id: UUID | None
    position: int
    company_id: UUID | None
    membership_id: UUID | None  # the membership of the issuer in that company
    doc: responses.BoardKey | None
    agent_doc: responses.AgentKey | None
    company_doc: responses.CompanyKey | None


COMPANY = Table("company", CompanyRow)
MEMBER = Table("member", MemberRow)
PERSON = Table("person", PersonRow)
AGENT = Table("agent", AgentRow)
PROJECT = Table("project", ProjectRow)
GOAL = Table("goal", GoalRow)
KEY = Table("access_key", KeyRow)

SCHEMA = """
CREATE TABLE company (id uuid PRIMARY KEY, position bigint NOT NULL, doc json NOT NULL);
CREATE TABLE member (
    id uuid PRIMARY KEY, user_id uuid NOT NULL, company_id uuid NOT NULL, position bigint NOT NULL, doc json NOT NULL);
CREATE INDEX ON member (user_id, position);
CREATE INDEX ON member (company_id, position);
CREATE TABLE person (id uuid PRIMARY KEY, name text NOT NULL, email text, instance_admin boolean NOT NULL);
CREATE TABLE agent (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, url_key text NOT NULL, position bigint NOT NULL, doc json NOT NULL);
CREATE INDEX ON agent (company_id, position);
CREATE INDEX ON agent (company_id, url_key);
CREATE TABLE project (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, url_key text NOT NULL, position bigint NOT NULL, doc json NOT NULL);
CREATE INDEX ON project (company_id, position);
CREATE INDEX ON project (company_id, url_key);
CREATE TABLE goal (id uuid PRIMARY KEY, company_id uuid NOT NULL, position bigint NOT NULL, doc json NOT NULL);
CREATE INDEX ON goal (company_id, position);
CREATE TABLE access_key (
    id uuid PRIMARY KEY, user_id uuid, agent_id uuid, position bigint NOT NULL, company_id uuid,
    membership_id uuid, doc json, agent_doc json, company_doc json);
CREATE INDEX ON access_key (user_id, position);
CREATE INDEX ON access_key (agent_id, position);
CREATE INDEX ON access_key (company_id, position);
CREATE INDEX ON access_key (membership_id);
"""

_REVOKE_ISSUED = """
UPDATE access_key SET
    agent_doc = agent_doc::jsonb || jsonb_build_object('revokedAt', %s::text),
    company_doc = company_doc::jsonb || jsonb_build_object('revokedAt', %s::text)
WHERE membership_id = %s AND company_doc->>'revokedAt' IS NULL
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """
    Fold one event into the rows of the directory.

    When a membership changes or ends and its keys are revoked, those keys that it has issued are marked as revoked.
    """
    match recorded.event:
        case CompanyCreated() as event:
            rows.put(COMPANY, _company(recorded, event))
        case CompanyUpdated(details=details):
            _edit(rows, COMPANY, recorded, **msgspec.structs.asdict(details))
        case CompanyArchived():
            _edit(rows, COMPANY, recorded, status="archived")
        case UserRegistered() as event:
            id_ = recorded.stream_id
            rows.put(PERSON, PersonRow(id=id_, name=event.name, email=event.email, instance_admin=event.instance_admin))
        case MemberJoined() | MemberChanged() | MemberRemoved() as event:
            _fold_membership(recorded, event, rows)
        case AgentCreated() as event:
            rows.put(AGENT, _agent(recorded, event))
        case AgentUpdated(profile=profile):
            _edit(rows, AGENT, recorded, **msgspec.structs.asdict(profile))
        case AgentPaused(reason=reason):
            _edit(rows, AGENT, recorded, status="paused", paused_at=time(recorded.at), pause_reason=reason)
        case AgentResumed() | AgentApproved():
            _edit(rows, AGENT, recorded, status="idle", paused_at=None, pause_reason=None)
        case AgentHeartbeatStopped():
            _edit(rows, AGENT, recorded, heartbeat_url=None)
        case AgentTerminated():
            _edit(rows, AGENT, recorded, status="terminated")
        case ProjectCreated() as event:
            rows.put(PROJECT, _project(recorded, event))
        case ProjectUpdated(details=details):
            _edit(rows, PROJECT, recorded, **msgspec.structs.asdict(details))
        case ProjectPaused(reason=reason):
            _edit(rows, PROJECT, recorded, paused_at=time(recorded.at), pause_reason=reason)
        case ProjectResumed():
            _edit(rows, PROJECT, recorded, paused_at=None, pause_reason=None)
        case ProjectDeleted():
            rows.delete(PROJECT, recorded.stream_id)
        case GoalCreated() as event:
            rows.put(GOAL, _goal(recorded, event))
        case GoalUpdated(details=details):
            _edit(rows, GOAL, recorded, **msgspec.structs.asdict(details))
        case GoalDeleted():
            rows.delete(GOAL, recorded.stream_id)
        case KeyIssued() as event:
            rows.put(KEY, _key(recorded, event))
        case KeyRevoked():
            rows.change(KEY, recorded.stream_id, lambda row: _revoked(row, time(recorded.at)))
        case _:
            pass


def _fold_membership(recorded: Recorded, event: MemberJoined | MemberChanged | MemberRemoved, rows: Rows) -> None:
    match event:
        case MemberJoined():
            rows.put(MEMBER, _member(recorded, event))
            return
        case MemberChanged(role=role, permissions=permissions):
            _edit(rows, MEMBER, recorded, membership_role=role, permissions=permissions)
        case MemberRemoved():
            rows.delete(MEMBER, recorded.stream_id)
    if event.revokes_keys:
        timestamp = time(recorded.at)
        rows.execute(_REVOKE_ISSUED, [timestamp, timestamp, recorded.stream_id])


def _edit(rows: Rows, table: Table[Any], recorded: Recorded, **changes: Any) -> None:
    fields = {**changes, "updated_at": time(recorded.at)}
    rows.change(table, recorded.stream_id, lambda row: replace(row, doc=replace(row.doc, **fields)))


def _stamps(recorded: Recorded) -> dict[str, Any]:
    return {"id": recorded.stream_id, "created_at": time(recorded.at), "updated_at": time(recorded.at)}


def _company_id(recorded: Recorded) -> UUID:
    if recorded.company_id is None:
        raise ImpossibleHistory(None, recorded.event)
    return recorded.company_id


def _company(recorded: Recorded, event: CompanyCreated) -> CompanyRow:
    details = msgspec.structs.asdict(event.details)
    doc = responses.Company(**_stamps(recorded), **details, issue_prefix=event.issue_prefix)
    return CompanyRow(id=recorded.stream_id, position=recorded.position, doc=doc)


def _member(recorded: Recorded, event: MemberJoined) -> MemberRow:
    company_id = _company_id(recorded)
    doc = responses.MemberFields(
        company_id=company_id,
        membership_role=event.role,
        user_id=event.user_id,
        permissions=event.permissions,
        created_at=time(recorded.at),
        updated_at=time(recorded.at),
    )
    return MemberRow(
        id=recorded.stream_id, user_id=event.user_id, company_id=company_id, position=recorded.position, doc=doc
    )


def _agent(recorded: Recorded, event: AgentCreated) -> AgentRow:
    company_id = _company_id(recorded)
    profile = msgspec.structs.asdict(event.profile)
    doc = responses.Agent(
        **_stamps(recorded), **profile, company_id=company_id, status=event.status, url_key=event.url_key
    )
    return AgentRow(
        id=recorded.stream_id, company_id=company_id, url_key=event.url_key, position=recorded.position, doc=doc
    )


def _project(recorded: Recorded, event: ProjectCreated) -> ProjectRow:
    company_id = _company_id(recorded)
    details = msgspec.structs.asdict(event.details)
    doc = responses.Project(**_stamps(recorded), **details, company_id=company_id, url_key=event.url_key)
    return ProjectRow(
        id=recorded.stream_id, company_id=company_id, url_key=event.url_key, position=recorded.position, doc=doc
    )


def _goal(recorded: Recorded, event: GoalCreated) -> GoalRow:
    company_id = _company_id(recorded)
    doc = responses.Goal(**_stamps(recorded), **msgspec.structs.asdict(event.details), company_id=company_id)
    return GoalRow(id=recorded.stream_id, company_id=company_id, position=recorded.position, doc=doc)


def _key(recorded: Recorded, event: KeyIssued) -> KeyRow:
    id_, name, timestamp = recorded.stream_id, event.name, time(recorded.at)
    return KeyRow(
        id=id_,
        user_id=event.user_id,
        agent_id=event.agent_id,
        position=recorded.position,
        company_id=None if event.user_id else recorded.company_id,
        membership_id=None if event.user_id else membership_of_issuer(recorded),
        doc=responses.BoardKey(id=id_, name=name, created_at=timestamp, expires_at=time_or_none(event.expires_at))
        if event.user_id
        else None,
        agent_doc=responses.AgentKey(
            id=id_,
            name=name,
            issued_by_user_id=user_of(recorded.actor),
            created_at=timestamp,
            expires_at=time_or_none(event.expires_at),
        )
        if event.agent_id
        else None,
        company_doc=None if event.user_id else _company_key(recorded, event),
    )


def _company_key(recorded: Recorded, event: KeyIssued) -> responses.CompanyKey:
    return responses.CompanyKey(
        id=recorded.stream_id,
        kind="agent" if event.agent_id else "collection",
        name=event.name,
        agent_id=event.agent_id,
        issued_by_user_id=user_of(recorded.actor),
        created_at=time(recorded.at),
        expires_at=time_or_none(event.expires_at),
    )


def _revoked(row: KeyRow, timestamp: str) -> KeyRow:
    docs = {name: getattr(row, name) for name in ("doc", "agent_doc", "company_doc")}
    changes = {
        name: replace(doc, revoked_at=doc.revoked_at or timestamp) for name, doc in docs.items() if doc is not None
    }
    return replace(row, **changes)


def keys_to_prefetch(_recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Return no keys: `fold` fetches each row when it changes it."""
    return ()


directory = ReadModel(
    name="directory",
    version=1,
    tables=(COMPANY, MEMBER, PERSON, AGENT, PROJECT, GOAL, KEY),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(
        {
            UserRegistered,
            MemberJoined,
            MemberChanged,
            MemberRemoved,
            KeyIssued,
            KeyRevoked,
            CompanyCreated,
            CompanyUpdated,
            CompanyArchived,
            AgentCreated,
            AgentUpdated,
            AgentPaused,
            AgentResumed,
            AgentApproved,
            AgentHeartbeatStopped,
            AgentTerminated,
            *get_args(ProjectEvent),
            *get_args(GoalEvent),
        }
    ),
)


class Person(responses.ResponseBody, frozen=True):
    """A user as the registration has recorded it."""

    id: UUID
    name: str
    email: str | None
    instance_admin: bool


_AFTER = "position > coalesce(%(after)s::bigint, 0)"
_BEFORE = "position < coalesce(%(before)s::bigint, 9223372036854775807)"


def _of_company(table: str) -> str:
    return f"SELECT doc, position FROM {table} WHERE company_id = %(company_id)s AND {_AFTER} ORDER BY position"


_ALL_COMPANIES = Docs(
    f"SELECT doc, position FROM company WHERE {_AFTER} ORDER BY position", responses.Company, sorted_by="position"
)
_COMPANIES_OF = Docs(
    "SELECT c.doc, c.position FROM company c JOIN member m ON m.company_id = c.id WHERE m.user_id = %(user_id)s "
    f"AND c.{_AFTER} ORDER BY c.position",
    responses.Company,
    sorted_by="position",
)
_COMPANY = Docs("SELECT doc FROM company WHERE id = %(id)s", responses.Company)
_MEMBERSHIPS = Docs("SELECT doc FROM member WHERE user_id = %(user_id)s ORDER BY position", responses.Membership)
_NAMED_MEMBER = (
    "SELECT m.doc::jsonb || jsonb_build_object('name', p.name, 'email', p.email) AS doc, m.position "
    "FROM member m JOIN person p ON p.id = m.user_id WHERE m.company_id = %(company_id)s"
)
_MEMBERS = Docs(f"{_NAMED_MEMBER} AND m.{_AFTER} ORDER BY m.position", responses.Member, sorted_by="position")
_MEMBER = Docs(f"{_NAMED_MEMBER} AND m.user_id = %(user_id)s", responses.Member)
_OWNERS = Docs(
    "SELECT to_json(user_id) AS doc FROM member "
    "WHERE company_id = %(company_id)s AND doc->>'membershipRole' = 'owner' ORDER BY position",
    UUID,
)
_PERSON = Docs(
    "SELECT json_build_object('id', id, 'name', name, 'email', email, 'instanceAdmin', instance_admin) AS doc "
    "FROM person WHERE id = %(id)s",
    Person,
)
_AGENTS = Docs(_of_company("agent"), responses.Agent, sorted_by="position")
_AGENT = Docs("SELECT doc FROM agent WHERE id = %(id)s", responses.Agent)
_AGENT_NAMED = Docs(
    "SELECT doc FROM agent WHERE company_id = %(company_id)s AND url_key = %(url_key)s", responses.Agent
)
_PROJECTS = Docs(_of_company("project"), responses.Project, sorted_by="position")
_PROJECT = Docs("SELECT doc FROM project WHERE id = %(id)s", responses.Project)
_PROJECT_NAMED = Docs(
    "SELECT doc FROM project WHERE company_id = %(company_id)s AND url_key = %(url_key)s", responses.Project
)
_GOALS = Docs(_of_company("goal"), responses.Goal, sorted_by="position")
_GOAL = Docs("SELECT doc FROM goal WHERE id = %(id)s", responses.Goal)
_BOARD_KEYS = Docs(
    f"SELECT doc, position FROM access_key WHERE user_id = %(user_id)s AND {_BEFORE} ORDER BY position DESC",
    responses.BoardKey,
    sorted_by="position",
)
_AGENT_KEYS = Docs(
    f"SELECT agent_doc AS doc, position FROM access_key WHERE agent_id = %(agent_id)s AND {_BEFORE} "
    "ORDER BY position DESC",
    responses.AgentKey,
    sorted_by="position",
)
_COMPANY_KEYS = Docs(
    f"SELECT company_doc AS doc, position FROM access_key WHERE company_id = %(company_id)s AND {_BEFORE} "
    "AND (%(issued_by)s::text IS NULL OR company_doc->>'issuedByUserId' = %(issued_by)s) "
    "ORDER BY position DESC LIMIT %(limit)s",
    responses.CompanyKey,
    sorted_by="position",
)


def companies(
    conn: Connection, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.Company]:
    """Return all companies, oldest first, after a position."""
    return _ALL_COMPANIES.part(conn, after=after, max_bytes=max_bytes)


def companies_of(
    conn: Connection, user_id: UUID, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.Company]:
    """Return the companies that the user is a member of, oldest first, after a position."""
    return _COMPANIES_OF.part(conn, user_id=user_id, after=after, max_bytes=max_bytes)


def company(conn: Connection, id_: UUID) -> responses.Company | None:
    """Return the company with this id, archived or not, or None."""
    return _COMPANY.one(conn, id=id_)


def memberships(conn: Connection, user_id: UUID) -> list[responses.Membership]:
    """Return the memberships of a user in all companies, oldest first."""
    return _MEMBERSHIPS.all(conn, user_id=user_id)


def members(
    conn: Connection, company_id: UUID, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.Member]:
    """Return the members of a company with their names, in the order of joining, after a position."""
    return _MEMBERS.part(conn, company_id=company_id, after=after, max_bytes=max_bytes)


def member(conn: Connection, company_id: UUID, user_id: UUID) -> responses.Member | None:
    """Return the membership of the user in the company, with the user's name, or None."""
    return _MEMBER.one(conn, company_id=company_id, user_id=user_id)


def owners(conn: Connection, company_id: UUID) -> list[UUID]:
    """Return the ids of the users who own the company."""
    return _OWNERS.all(conn, company_id=company_id)


def person(conn: Connection, id_: UUID) -> Person | None:
    """Return the user with this id, or None."""
    return _PERSON.one(conn, id=id_)


def agents(
    conn: Connection, company_id: UUID, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.Agent]:
    """Return the agents of a company, terminated ones included, oldest first, after a position."""
    return _AGENTS.part(conn, company_id=company_id, after=after, max_bytes=max_bytes)


def agent(conn: Connection, id_: UUID) -> responses.Agent | None:
    """Return the agent with this id, terminated or not, or None."""
    return _AGENT.one(conn, id=id_)


def agent_named(conn: Connection, company_id: UUID, url_key: str) -> responses.Agent | None:
    """Return the company's agent with this URL key, or None."""
    return _AGENT_NAMED.one(conn, company_id=company_id, url_key=url_key)


def projects(
    conn: Connection, company_id: UUID, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.Project]:
    """Return the projects of a company, oldest first, after a position."""
    return _PROJECTS.part(conn, company_id=company_id, after=after, max_bytes=max_bytes)


def project(conn: Connection, id_: UUID) -> responses.Project | None:
    """Return the project with this id, or None."""
    return _PROJECT.one(conn, id=id_)


def project_named(conn: Connection, company_id: UUID, url_key: str) -> responses.Project | None:
    """Return the company's project with this URL key, or None."""
    return _PROJECT_NAMED.one(conn, company_id=company_id, url_key=url_key)


def goals(
    conn: Connection, company_id: UUID, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.Goal]:
    """Return the goals of a company, oldest first, after a position."""
    return _GOALS.part(conn, company_id=company_id, after=after, max_bytes=max_bytes)


def goal(conn: Connection, id_: UUID) -> responses.Goal | None:
    """Return the goal with this id, or None."""
    return _GOAL.one(conn, id=id_)


def board_keys(
    conn: Connection, user_id: UUID, *, before: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.BoardKey]:
    """Return the keys of a user, revoked ones included, newest first, before a position."""
    return _BOARD_KEYS.part(conn, user_id=user_id, before=before, max_bytes=max_bytes)


def agent_keys(
    conn: Connection, agent_id: UUID, *, before: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.AgentKey]:
    """Return the keys of an agent, revoked ones included, newest first, before a position."""
    return _AGENT_KEYS.part(conn, agent_id=agent_id, before=before, max_bytes=max_bytes)


def company_keys(  # noqa: PLR0913 the arguments narrow the list
    conn: Connection,
    company_id: UUID,
    limit: int,
    *,
    issued_by: UUID | None = None,
    before: int | None = None,
    max_bytes: int = DEFAULT.max_page_bytes,
) -> Part[responses.CompanyKey]:
    """
    Return the keys of a company's agents and those that are bound to it as a collection, newest first.

    Revoked ones are included. `issued_by` narrows the list to the keys that one user has issued.
    """
    issuer = None if issued_by is None else str(issued_by)
    return _COMPANY_KEYS.part(
        conn, company_id=company_id, limit=limit, issued_by=issuer, before=before, max_bytes=max_bytes
    )
