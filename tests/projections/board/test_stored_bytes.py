"""Stored bytes: how much of the log each company has filled, whatever it is that was recorded."""

from collections import Counter
from uuid import uuid4

from projections import usage
from projections.board.stored_bytes import stored_bytes
from tests.projections.sharing import SHARED
from tests.projections.story import START, folded, rows

IN_THE_LOG = """
    SELECT (convert_from(body, 'UTF8')::json->>'company_id')::uuid, sum(length(body))::bigint
    FROM log.events GROUP BY 1"""

pytestmark = SHARED


def in_the_log(conn):
    return {company_id: size for company_id, size in conn.execute(IN_THE_LOG) if company_id is not None}


def test_a_company_has_filled_what_its_events_take_up_in_the_log(projected_story, conn):
    sizes = usage.counts(conn, "max_company_log_bytes")

    assert in_the_log(conn) == sizes
    assert all(size == usage.count(conn, "max_company_log_bytes", id_, 1, START) for id_, size in sizes.items())


def test_the_bytes_are_the_same_however_the_log_is_cut(projected_story, conn):
    log = list(projected_story.store.history())

    for batch in (1, 7, len(log)):
        assert folded(conn, stored_bytes, log, batch) == rows(conn, stored_bytes)


def test_who_has_filled_less_is_left_out(projected_story, conn):
    sizes = Counter(in_the_log(conn))
    (largest, size), *_ = sizes.most_common()

    assert {largest: size} == usage.counts(conn, "max_company_log_bytes", size)
    assert 0 == usage.count(conn, "max_company_log_bytes", uuid4(), 1, START)
