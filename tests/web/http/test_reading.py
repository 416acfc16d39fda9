"""Documents are read in the event loop as the bytes that Postgres holds, many in one round trip."""

import asyncio
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from litestar.concurrency import sync_to_thread

from application.event_store.at_hand import NeedsThread
from application.event_store.loop_recorder import LoopRecorder
from application.execute import Executor
from application.execute_on_loop import LoopExecutor
from domain.events import AgentPaused
from projections import catalogue
from projections.engine import positions
from projections.engine.documents import LIGHT_BYTES, BatchedDocs, Docs, beginning
from tests.application.event_store.test_execute_on_loop import NOON
from web.http import reading
from web.http.etag import tag_of
from web.http.fair_queue import TENANT
from web.http.reading import CONNECTIONS, HEAVY_S, DocumentQuery, HeavyReads, Read, Reader

LIMIT_S = 60.0
MODELS = ("routines", "run_history")
NUMBERS = Docs(
    "SELECT json_build_array(%(first)s + n) AS doc FROM generate_series(0, %(limit)s - 1) n ORDER BY n", list[int]
)
NUMBERS_OF_MANY = BatchedDocs(NUMBERS, first="bigint", limit="bigint")
LINES = Docs("SELECT to_json(repeat('x', %(length)s)) AS doc FROM generate_series(1, %(limit)s)", str)
LINES_OF_MANY = BatchedDocs(LINES, length="int", limit="bigint")
HELD = BatchedDocs(Docs("SELECT pg_advisory_lock_shared(%(lock)s)::text::json AS doc", object), lock="bigint")


def numbers(first, limit):
    return DocumentQuery(NUMBERS_OF_MANY, (first, limit + 1), limit, 1_000)


def read(query=None, versions=None, models=MODELS):
    return Read(versions or {}, models, query)


def find(system, *reads):
    async def story():
        reader = Reader(system.pool)
        return await asyncio.wait_for(asyncio.gather(*map(reader.find, reads)), LIMIT_S)

    return asyncio.run(story())


def note(system, stream_id):
    return Executor(system.store, lambda: NOON).attempt(
        lambda work: work.record(stream_id, [AgentPaused(reason="noted")], uuid4())
    )


def project(system):
    with system.pool.connection() as conn:
        while positions.advance(conn, catalogue.ALL, system.store.after):
            pass


def test_each_gets_its_own_documents_as_bytes_and_hears_whether_there_are_more(system):
    queries = [numbers(first, limit) for first, limit in ((7, 2), (70, 1), (7, 2), (700, 3))]

    answers = find(system, *map(read, queries))

    assert [b"[[7],[8]]", b"[[70]]", b"[[7],[8]]", b"[[700],[701],[702]]"] == [one.documents.array for one in answers]
    assert all(one.documents.part.more for one in answers)
    assert [[7], [8]] == NUMBERS.decode(answers[0].documents.part)
    assert answers[0].documents is answers[2].documents


@pytest.fixture
def sent_statements(monkeypatch):
    """The statements that were sent by an event loop."""
    sent_statements = []
    execute = psycopg.AsyncConnection.execute

    async def noted(conn, query, *args, **kwargs):
        sent_statements.append(query)
        return await execute(conn, query, *args, **kwargs)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", noted)
    return sent_statements


def test_nobody_waits_for_the_long_lists_of_all_others_unless_they_want_the_same(system, sent_statements):
    long = [numbers(first, reading.MOST_DOCS * 2 // 3) for first in (1, 2, 3)]
    find(system, *map(read, long))
    assert 3 == len([query for query in sent_statements if "json_build_array" in query])

    sent_statements.clear()
    find(system, *[read(long[0])] * 3)
    assert 1 == len([query for query in sent_statements if "json_build_array" in query])


def test_documents_of_several_kinds_are_found_by_one_statement(system, sent_statements):
    lines = DocumentQuery(LINES_OF_MANY, (2, 1), None, 9)
    answers = find(system, read(numbers(1, 1)), read(lines), read(numbers(2, 1)), read())

    assert [b"[[1]]", b'["xx"]', b"[[2]]"] == [one.documents.array for one in answers[:3]]
    assert answers[3].documents is None
    assert 1 == len([query for query in sent_statements if "json_build_array" in query])


def test_the_tag_of_what_many_are_sent_is_worked_out_once(system, monkeypatch):
    connections = []
    monkeypatch.setattr(reading, "tag_of", lambda body: connections.append(body) or tag_of(body))

    answers = find(system, *[read(numbers(1, 2))] * 3)

    assert {tag_of(b"[[1],[2]]").decode()} == {one.documents.tag for one in answers}
    assert 1 == len(connections)


def test_of_heavy_documents_only_the_first_are_fetched_and_those_of_others_all(system):
    heavy, light = (DocumentQuery(LINES_OF_MANY, (LIGHT_BYTES // 4, many), None, 2**30) for many in (40, 3))

    of_heavy, of_light = (one.documents for one in find(system, read(heavy), read(light)))

    assert [(False, 3), (True, 3)] == [(docs.are_light, len(docs.part)) for docs in (of_heavy, of_light)]


def test_what_was_heavy_for_a_tenant_is_expected_to_be_so_for_a_while():
    now = [100.0]
    heavy = HeavyReads(lambda: now[0])
    noted, alike, other = numbers(1, 1), numbers(2, 2), DocumentQuery(LINES_OF_MANY, (1, 1), None, 1)

    assert not heavy.are_expected(noted)
    heavy.note(noted)
    assert [True, True, False] == [heavy.are_expected(one) for one in (noted, alike, other)]
    token = TENANT.set("another")
    assert not heavy.are_expected(noted)
    TENANT.reset(token)
    now[0] += HEAVY_S
    assert not heavy.are_expected(noted)


def test_a_read_hears_that_a_stream_has_moved_on_and_others_do_not(system):
    old, new = uuid4(), uuid4()
    for stream_id in (old, old, new):
        note(system, stream_id)
    versions = [{old: 1, new: 1}, {new: 1}, {old: 2}, {uuid4(): 0}, {}]

    answers = find(system, *(read(versions=one) for one in versions))

    assert [False, True, True, True, True] == [one.is_unchanged for one in answers]
    assert {system.store.head()} == {one.head for one in answers}


def test_a_read_hears_how_far_its_own_models_have_come(system):
    project(system)
    note(system, uuid4())
    with system.pool.connection() as conn:
        positions.advance(conn, [model for model in catalogue.ALL if model.name == "routines"], system.store.after)
        conn.execute("UPDATE positions SET shape = 'other' WHERE name = 'issues'")

    answers = find(system, *(read(models=models) for models in (("routines",), MODELS, ("issues", "routines"))))

    head = system.store.head()
    assert [head, head - 1, None] == [one.reached for one in answers]


def test_while_nothing_is_recorded_a_read_asks_only_whether_that_is_so(system, sent_statements):
    stream_id = uuid4()
    note(system, stream_id)
    project(system)
    reads = [read(versions={stream_id: 1}, models=("routines",))] * 3

    async def story():
        reader = Reader(system.pool)
        return [await reader.find(one) for one in reads]

    answers = asyncio.run(story())

    looks = [statement for statement in sent_statements if "log.head" in statement]
    assert [True, True, False] == ["log.events" in statement for statement in looks]
    head = system.store.head()
    assert [(head, True, head, None)] * 3 == answers


def test_what_cannot_be_asked_is_left_to_threads(system):
    broken = DocumentQuery(
        BatchedDocs(Docs("SELECT doc FROM nowhere WHERE id = %(id)s", object), id="uuid"), (uuid4(),), None, 9
    )

    with pytest.raises(NeedsThread):
        find(system, read(broken))
    assert b"[[1]]" == find(system, read(numbers(1, 1)))[0].documents.array


def test_reads_that_take_long_hold_up_no_decision(system):
    lock, stream_id = 1, uuid4()
    waiting = """
        SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()"""
    threads = Executor(system.store, lambda: NOON)

    async def story(conn):
        reader, reads = Reader(system.pool), []
        for number in range(1, CONNECTIONS + 1):
            reads.append(asyncio.create_task(reader.find(read(DocumentQuery(HELD, (lock,), None, 9)))))
            while number > conn.execute(waiting).fetchone()[0]:  # noqa: ASYNC110 only Postgres knows who waits
                await asyncio.sleep(0.01)
        loop = LoopExecutor(threads, LoopRecorder(system.pool), sync_to_thread)
        await loop.attempt(lambda work: work.record(stream_id, [AgentPaused(reason="by hand")], uuid4()))
        assert not any(one.done() for one in reads)
        conn.execute("SELECT pg_advisory_unlock(%s)", (lock,))
        await asyncio.gather(*reads, return_exceptions=True)

    with system.pool.connection() as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", (lock,))
        asyncio.run(asyncio.wait_for(story(conn), LIMIT_S))

    assert 1 == system.store.versions([stream_id])[stream_id]


class Short(msgspec.Struct):
    id: UUID
    label: str


class Long(Short, rename="camel"):
    company_id: UUID


def test_the_beginning_of_a_document_is_its_summary_whatever_its_texts_hold(system):
    long = Long(id=uuid4(), label='","companyId":"x" \\ ü', company_id=uuid4())
    with system.pool.connection() as conn:
        row = conn.execute(
            f"SELECT {beginning('d.doc', 'companyId')} FROM (SELECT %s::json AS doc) d",
            (msgspec.json.encode(long).decode(),),
        ).fetchone()

    assert row is not None
    assert msgspec.json.encode(Short(long.id, long.label)).decode() == row[0]
