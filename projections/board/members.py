"""Members of companies in the directory, and the users who they are."""

from uuid import UUID

from domain.bounds.limits import DEFAULT
from domain.events import (
    MemberChanged,
    MemberJoined,
    MemberRemoved,
    UserRegistered,
)
from domain.recorded import Recorded
from projections import responses
from projections.board.directory_rows import AFTER, edit
from projections.engine.documents import Docs, Part
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.responses import time


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


class Person(responses.ResponseBody, frozen=True):
    """A user as the registration has recorded it."""

    id: UUID
    name: str
    email: str | None
    instance_admin: bool


MEMBER = Table("member", MemberRow)
PERSON = Table("person", PersonRow)

_REVOKE_ISSUED = """
UPDATE access_key SET
    agent_doc = agent_doc::jsonb || jsonb_build_object('revokedAt', %s::text),
    company_doc = company_doc::jsonb || jsonb_build_object('revokedAt', %s::text)
WHERE membership_id = %s AND company_doc->>'revokedAt' IS NULL
"""

_MEMBERSHIPS = Docs("SELECT doc FROM member WHERE user_id = %(user_id)s ORDER BY position", responses.Membership)
_NAMED_MEMBER = (
    "SELECT m.doc::jsonb || jsonb_build_object('name', p.name, 'email', p.email) AS doc, m.position "
    "FROM member m JOIN person p ON p.id = m.user_id WHERE m.company_id = %(company_id)s"
)
_MEMBERS = Docs(f"{_NAMED_MEMBER} AND m.{AFTER} ORDER BY m.position", responses.Member, sorted_by="position")
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


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold an event of a user or a member. When a membership changes or ends, the keys it has issued may end with it."""
    match recorded.event:
        case UserRegistered() as event:
            id_ = recorded.stream_id
            rows.put(PERSON, PersonRow(id=id_, name=event.name, email=event.email, instance_admin=event.instance_admin))
        case MemberJoined() | MemberChanged() | MemberRemoved() as event:
            _fold_membership(recorded, event, rows)
        case _:
            pass


def _fold_membership(recorded: Recorded, event: MemberJoined | MemberChanged | MemberRemoved, rows: Rows) -> None:
    match event:
        case MemberJoined():
            rows.put(MEMBER, _member_row(recorded, event))
            return
        case MemberChanged(role=role, permissions=permissions):
            edit(rows, MEMBER, recorded, membership_role=role, permissions=permissions)
        case MemberRemoved():
            rows.delete(MEMBER, recorded.stream_id)
    if event.revokes_keys:
        timestamp = time(recorded.at)
        rows.execute(_REVOKE_ISSUED, [timestamp, timestamp, recorded.stream_id])


def _member_row(recorded: Recorded, event: MemberJoined) -> MemberRow:
    doc = responses.MemberFields(
        company_id=recorded.known_company_id,
        membership_role=event.role,
        user_id=event.user_id,
        permissions=event.permissions,
        created_at=time(recorded.at),
        updated_at=time(recorded.at),
    )
    return MemberRow(
        id=recorded.stream_id,
        user_id=event.user_id,
        company_id=recorded.known_company_id,
        position=recorded.position,
        doc=doc,
    )


def of_user(conn: Connection, user_id: UUID) -> list[responses.Membership]:
    """Return the memberships of a user in all companies, oldest first."""
    return _MEMBERSHIPS.all(conn, user_id=user_id)


def of_company(
    conn: Connection, company_id: UUID, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[responses.Member]:
    """Return the members of a company with their names, in the order of joining, after a position."""
    return _MEMBERS.part(conn, company_id=company_id, after=after, max_bytes=max_bytes)


def one(conn: Connection, company_id: UUID, user_id: UUID) -> responses.Member | None:
    """Return the membership of the user in the company, with the user's name, or None."""
    return _MEMBER.one(conn, company_id=company_id, user_id=user_id)


def owners(conn: Connection, company_id: UUID) -> list[UUID]:
    """Return the ids of the users who own the company."""
    return _OWNERS.all(conn, company_id=company_id)


def person(conn: Connection, id_: UUID) -> Person | None:
    """Return the user with this id, or None."""
    return _PERSON.one(conn, id=id_)
