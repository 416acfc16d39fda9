"""Queries for where the log and read models are now, or whether they are where they were, and for documents: all of one moment."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from projections.engine.documents import BatchedDocs, records
from projections.engine.read_model import ReadModel

# Events since a position whose streams `positions_query` finds; of more, each may have changed anything.
MOST_SINCE = 250


class PresentPositions(NamedTuple):
    """
    What `positions_query` finds.

    The rows are of one moment of the log only where all models stand at the same position: `hash` is that of its event then,
    and `made` says which rows these are. `hash_then` is that of the event at the position that was asked about, None where this
    log has none there. `changed` has the streams of the events since that one, and those to which they belong; it is None
    where that cannot be said.
    """

    head: int
    moved_streams: list[UUID]
    reached: list[int | None]  # in the order of the models
    made: str | None
    hash: bytes | None
    hash_then: bytes | None
    changed: list[UUID] | None


def positions_query(models: Sequence[ReadModel], kinds: Sequence[BatchedDocs[Any]] = (), *, owners: str = "") -> str:
    """
    Return a query for the head of the log, which streams have gone beyond a version, and how far these models have come.

    That is NULL for a model whose rows are not this version's. The same query finds documents of some kinds, all at one
    moment. Each row begins with two numbers and an array of documents, as the query of a kind finds them, the first number
    being the place of the kind, from 1; for the row of the look it is 0. `owners` follows a query of `id` of the stream `s`
    of an event, and adds to it the streams to which that belongs. The first value is made by `versions_value`, the second is a
    position or None, the others are made by the kinds.
    """
    model_rows = ", ".join(f"('{model.name}', '{model.schema_hash}', {place})" for place, model in enumerate(models))
    look = f"""
        SELECT 0, 0, NULL::bytea[], h.position,
            ARRAY(SELECT g.id FROM json_to_recordset(%s::json) g(id uuid, version bigint)
                JOIN log.events e ON e.stream_id = g.id AND e.version = g.version + 1),
            r.reached, r.made,
            CASE WHEN r.place = h.position THEN h.hash ELSE (SELECT hash FROM log.events WHERE position = r.place) END,
            (SELECT hash FROM log.events WHERE position = k.place),
            CASE WHEN r.place BETWEEN k.place AND k.place + {MOST_SINCE} THEN ARRAY(
                SELECT o.id FROM (
                    SELECT DISTINCT stream_id AS id FROM log.events WHERE position > k.place AND position <= r.place) s
                CROSS JOIN LATERAL (SELECT s.id {owners}) o) END
        FROM (SELECT %s::bigint AS place OFFSET 0) k CROSS JOIN log.head h CROSS JOIN (
            SELECT array_agg(p.position ORDER BY m.n) AS reached, array_agg(p.made ORDER BY m.n)::text AS made,
                CASE WHEN min(p.position) = max(p.position) AND count(p.position) = count(*) THEN min(p.position) END AS place
            FROM (VALUES {model_rows}) m(name, shape, n) LEFT JOIN positions p USING (name, shape)) r"""
    return _with_documents(look, len(PresentPositions._fields), kinds)


def same_place_query(models: Sequence[ReadModel], kinds: Sequence[BatchedDocs[Any]] = ()) -> str:
    """
    Return a query for whether the log and all these models are at one place, and for documents of some kinds beside.

    It takes Postgres a third of what `positions_query` takes. The rows are as there, but the look has a boolean in place of all
    that. The first values are the place: its position, the hash of its event, and `made` as found for the same models.
    """
    shapes = ", ".join(f"'{model.schema_hash}'" for model in models)
    look = f"""
        SELECT 0, 0, NULL::bytea[], {len(models)} = (
            SELECT count(*) FROM log.head h, positions p
            WHERE h.position = %s AND h.hash = %s AND p.position = h.position
                AND p.made = ANY(%s::uuid[]) AND p.shape IN ({shapes}))"""
    return _with_documents(look, 1, kinds)


def _with_documents(look: str, columns: int, kinds: Sequence[BatchedDocs[Any]]) -> str:
    """Return the query of a look, which has so many columns of its own, together with those of documents."""
    nothing = ", ".join(["NULL"] * columns)
    finds = [f"SELECT {place}, q.*, {nothing} FROM ({kind.query}) q" for place, kind in enumerate(kinds, 1)]
    return " UNION ALL ".join([look, *finds])


def versions_value(versions: Mapping[UUID, int]) -> str:
    """Return the value for the query of `positions_query`: versions of streams."""
    return records({"id": id_, "version": version} for id_, version in versions.items())
