"""Webhook endpoints of a company, as clients read them. The deliveries to them are in deliveries.py."""

from collections.abc import Iterable
from typing import Any, get_args
from uuid import UUID

import msgspec
from msgspec.structs import replace

from domain.bounds.limits import DEFAULT
from domain.events import (
    EndpointCreated,
    EndpointDeleted,
    EndpointDisabled,
    EndpointEvent,
    EndpointSecretRotated,
    EndpointTested,
    EndpointUpdated,
)
from domain.recorded import Recorded
from projections.engine.documents import Docs, Part
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Connection, Row, Table
from projections.responses import ResponseBody, time


class EndpointFields(ResponseBody, frozen=True, kw_only=True):
    """An endpoint of a company to which its events are sent, without its secret."""

    id: UUID
    company_id: UUID
    url: str
    events: tuple[str, ...]
    description: str | None
    ordered: bool
    enabled: bool
    disabled_reason: str | None
    created_at: str
    updated_at: str


class EndpointRow(Row, frozen=True):
    """An endpoint of a company; lists are sorted by `position`, that of its first event."""

    company_id: UUID
    position: int
    doc: EndpointFields


ENDPOINT = Table("webhook_endpoint", EndpointRow)

SCHEMA = """
CREATE TABLE webhook_endpoint (
    id uuid PRIMARY KEY, company_id uuid NOT NULL, position bigint NOT NULL, doc json NOT NULL);
CREATE INDEX ON webhook_endpoint (company_id, position);
"""


def fold(recorded: Recorded, rows: Rows) -> None:
    """Fold one event of an endpoint into its row; enabling it again clears the reason why it was disabled."""
    match recorded.event:
        case EndpointCreated() as event:
            rows.put(ENDPOINT, _endpoint_row(recorded, event))
        case EndpointUpdated(settings=settings):
            reason = {"disabled_reason": None} if settings.enabled else {}
            _change_endpoint(rows, recorded, **msgspec.structs.asdict(settings), **reason)
        case EndpointDisabled(reason=disabled_reason):
            _change_endpoint(rows, recorded, enabled=False, disabled_reason=disabled_reason)
        case EndpointDeleted():
            rows.delete(ENDPOINT, recorded.stream_id)
        case EndpointSecretRotated() | EndpointTested():
            _change_endpoint(rows, recorded)
        case _:
            pass


def keys_to_prefetch(recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Yield the keys of the rows that `fold` will change, so that they can be fetched together before it."""
    if not isinstance(recorded.event, EndpointCreated | EndpointDeleted):
        yield ENDPOINT, recorded.stream_id


def _endpoint_row(recorded: Recorded, event: EndpointCreated) -> EndpointRow:
    timestamp = time(recorded.at)
    doc = EndpointFields(
        id=recorded.stream_id,
        company_id=recorded.known_company_id,
        disabled_reason=None,
        created_at=timestamp,
        updated_at=timestamp,
        **msgspec.structs.asdict(event.settings),
    )
    return EndpointRow(id=doc.id, company_id=doc.company_id, position=recorded.position, doc=doc)


def _change_endpoint(rows: Rows, recorded: Recorded, **changes: Any) -> None:
    timestamp = time(recorded.at)
    rows.change(
        ENDPOINT, recorded.stream_id, lambda row: replace(row, doc=replace(row.doc, **changes, updated_at=timestamp))
    )


endpoints = ReadModel(
    name="endpoints",
    version=1,
    tables=(ENDPOINT,),
    schema=SCHEMA,
    fold=fold,
    keys_to_prefetch=keys_to_prefetch,
    events=frozenset(get_args(EndpointEvent)),
)

_OF = Docs(
    "SELECT doc, position FROM webhook_endpoint WHERE company_id = %(company_id)s "
    "AND position > coalesce(%(after)s::bigint, 0) ORDER BY position",
    EndpointFields,
    sorted_by="position",
)
_ONE = Docs("SELECT doc FROM webhook_endpoint WHERE id = %(id)s", EndpointFields)


def of_company(
    conn: Connection, company_id: UUID, *, after: int | None = None, max_bytes: int = DEFAULT.max_page_bytes
) -> Part[EndpointFields]:
    """Return the endpoints of a company, oldest first, after a position."""
    return _OF.part(conn, company_id=company_id, after=after, max_bytes=max_bytes)


def one(conn: Connection, id_: UUID) -> EndpointFields | None:
    """Return the endpoint with this id, or None."""
    return _ONE.one(conn, id=id_)
