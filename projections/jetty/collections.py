"""Collections: companies under the names that Jetty's clients give them, and the keys that are bound to one."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from domain.board.access import membership_of_issuer
from domain.bounds.limits import DEFAULT
from domain.disclosure import MASK
from domain.events import (
    CompanyCreated,
    CompanyEnvironmentChanged,
    CompanyNamed,
    CompanyUpdated,
    KeyIssued,
    KeyRevoked,
    MemberChanged,
    MemberRemoved,
)
from domain.recorded import Recorded
from projections.engine.documents import Docs, Part
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.jetty.responses import ApiKey, Collection, CollectionEnvironment, ResponseBody, time, time_or_none


class CollectionRow(Row, frozen=True):
    """A collection as clients read it, with the number by which lists are sorted; its id is the company's."""

    number: int
    environment: tuple[str, ...]  # the names of its variables
    doc: Collection


class KeyFields(ResponseBody, frozen=True, kw_only=True):
    """A key of a collection, without the collection's number and name, which are joined when it is read."""

    id: UUID
    name: str
    key_prefix: str
    created_at: str
    is_active: bool = True  # whether it is not revoked
    expires_at: str | None = None


class KeyRow(Row, frozen=True):
    """A key that is bound to a collection, with the membership that has issued it."""

    company_id: UUID
    membership_id: UUID | None  # the membership of the issuer
    position: int
    doc: KeyFields


COLLECTION = Table("collection", CollectionRow)
KEY = Table("collection_key", KeyRow)

SCHEMA = """
CREATE TABLE collection (id uuid PRIMARY KEY, number bigint NOT NULL, environment json NOT NULL, doc json NOT NULL);
CREATE INDEX ON collection (number);
CREATE TABLE collection_key (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, membership_id uuid, position bigint NOT NULL, doc json NOT NULL);
CREATE INDEX ON collection_key (company_id, position);
CREATE INDEX ON collection_key (membership_id);
"""

_REVOKE_ISSUED = """
UPDATE collection_key SET doc = doc::jsonb || '{"is_active": false}' WHERE membership_id = %s"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """
    Fold one event into the rows of collections and their keys.

    When a membership changes or ends and its keys are revoked, those keys that it has issued become inactive.
    """
    id_ = recorded.stream_id
    match recorded.event:
        case CompanyCreated() as event:
            rows.put(COLLECTION, _collection_row(recorded, event))
        case CompanyNamed(name=name):
            _change_collection(rows, recorded, name=name)
        case CompanyUpdated(details=details):
            _change_collection(rows, recorded, description=details.description)
        case CompanyEnvironmentChanged(environment=environment):
            names = environment.names if environment else ()
            rows.change(COLLECTION, id_, lambda row: replace(row, environment=names))
            _change_collection(rows, recorded)
        case KeyIssued(collection_id=UUID() as company_id) as key:
            doc = KeyFields(
                id=id_,
                name=key.name,
                key_prefix=key.prefix or "",
                created_at=time(recorded.at),
                expires_at=time_or_none(key.expires_at),
            )
            issuer = membership_of_issuer(recorded)
            key_row = KeyRow(id=id_, company_id=company_id, membership_id=issuer, position=recorded.position, doc=doc)
            rows.put(KEY, key_row)
        case KeyRevoked():
            rows.change(KEY, id_, lambda row: replace(row, doc=replace(row.doc, is_active=False)))
        case MemberRemoved(revokes_keys=True) | MemberChanged(revokes_keys=True):
            rows.execute(_REVOKE_ISSUED, [id_])
        case _:
            pass


def _change_collection(rows: Rows, recorded: Recorded, **changes: Any) -> None:
    timestamp = time(recorded.at)
    rows.change(
        COLLECTION, recorded.stream_id, lambda row: replace(row, doc=replace(row.doc, **changes, updated_at=timestamp))
    )


def _collection_row(recorded: Recorded, event: CompanyCreated) -> CollectionRow:
    """Return the row of a new company. Its number is the position of its first event, equal in every rebuild."""
    timestamp, company_id = time(recorded.at), recorded.stream_id
    doc = Collection(
        id=recorded.position,
        name=str(company_id),
        description=event.details.description,
        owner_identifier=recorded.actor,
        company_id=company_id,
        created_at=timestamp,
        updated_at=timestamp,
    )
    return CollectionRow(id=company_id, number=recorded.position, environment=(), doc=doc)


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the keys of the rows that `fold` will change, so that they can be fetched together before it."""
    match recorded.event:
        case CompanyNamed() | CompanyUpdated() | CompanyEnvironmentChanged():
            yield COLLECTION, recorded.stream_id
        case KeyRevoked():
            yield KEY, recorded.stream_id
        case _:
            pass


collections = ReadModel(
    name="collections",
    version=1,
    tables=(COLLECTION, KEY),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(
        {
            CompanyCreated,
            CompanyNamed,
            CompanyUpdated,
            CompanyEnvironmentChanged,
            KeyIssued,
            KeyRevoked,
            MemberChanged,
            MemberRemoved,
        }
    ),
)


class _WithEnvironment(msgspec.Struct):
    collection: Collection
    environment: list[str]


_AFTER = "(%(after)s::bigint IS NULL OR c.number > %(after)s) ORDER BY c.number"
_ALL = Docs(f"SELECT c.doc, c.number FROM collection c WHERE {_AFTER}", Collection, sorted_by="number")
_OF = Docs(
    "SELECT c.doc, c.number FROM collection c JOIN member m ON m.company_id = c.id "
    f"WHERE m.user_id = %(user_id)s AND {_AFTER}",
    Collection,
    sorted_by="number",
)
_ONE = Docs("SELECT doc FROM collection WHERE id = %(id)s", Collection)
_ENVIRONMENT = Docs(
    "SELECT json_build_object('collection', doc, 'environment', environment) AS doc FROM collection WHERE id = %(id)s",
    _WithEnvironment,
)
IS_ACTIVE = """((k.doc->>'is_active')::boolean
    AND (k.doc->>'expires_at' IS NULL OR (k.doc->>'expires_at')::timestamptz > %(now)s))"""  # of the key `k` of a query
_KEY = f"""
    SELECT k.doc::jsonb || jsonb_build_object(
        'collection_id', c.number, 'collection_name', c.doc->>'name', 'is_active', {IS_ACTIVE}) AS doc, k.position
    FROM collection_key k JOIN collection c ON c.id = k.company_id WHERE"""
_KEYS = Docs(
    f"{_KEY} k.company_id = %(company_id)s AND k.position < coalesce(%(before)s::bigint, 9223372036854775807) "
    "ORDER BY k.position DESC",
    ApiKey,
    sorted_by="position",
)
_ONE_KEY = Docs(f"{_KEY} k.id = %(id)s", ApiKey)


def all_collections(
    conn: Connection, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[Collection]:
    """Return all collections, oldest first, after a number."""
    return _ALL.part(conn, after=after, max_bytes=max_bytes)


def of_user(
    conn: Connection, user_id: UUID, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[Collection]:
    """
    Return the collections of the companies that a user is a member of, oldest first, after a number.

    Joins the read model `directory`.
    """
    return _OF.part(conn, user_id=user_id, after=after, max_bytes=max_bytes)


def one(conn: Connection, company_id: UUID) -> Collection | None:
    """Return the collection of this company, or None."""
    return _ONE.one(conn, id=company_id)


def environment(conn: Connection, company_id: UUID) -> CollectionEnvironment | None:
    """Return a collection with the names of its variables and masks for their values, or None."""
    row = _ENVIRONMENT.one(conn, id=company_id)
    if row is None:
        return None
    fields = msgspec.structs.asdict(row.collection)
    return CollectionEnvironment(**fields, environment_variables=dict.fromkeys(row.environment, MASK))


def keys(
    conn: Connection,
    company_id: UUID,
    now: datetime,
    *,
    before: int | None = None,
    max_bytes: int = DEFAULT.max_page_bytes,
) -> Part[ApiKey]:
    """Return the keys of a collection, newest first, before a position; keys expired by `now` are inactive."""
    return _KEYS.part(conn, company_id=company_id, now=now, before=before, max_bytes=max_bytes)


def key(conn: Connection, id_: UUID, now: datetime) -> ApiKey | None:
    """Return the key with this id, or None; it is inactive if it has expired by `now`."""
    return _ONE_KEY.one(conn, id=id_, now=now)
