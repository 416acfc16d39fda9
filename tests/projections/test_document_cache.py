"""Documents of routines that a web process has cached are, byte for byte, what Postgres would give."""

import asyncio
from uuid import uuid4

import pytest

from application.request_bodies.board import AgentPatch
from application.use_cases.board import agents
from domain.bounds.limits import DEFAULT
from domain.events import RunFired
from projections.board.agents import AGENT
from projections.board.issues import ISSUE
from projections.board.projects import PROJECT
from projections.engine import cold, positions, rebuilds
from projections.engine.present_positions import MOST_SINCE
from projections.engine.rows_in_memory import RowsInMemory
from projections.firing import run_history
from projections.firing.run_history import RUN
from projections.routines import routines, webhook_refusals
from projections.routines.routines import ROUTINE, ROUTINE_FIRINGS, TRIGGER, TRIGGER_FIRINGS
from web.http.document_cache import OVERHEAD, CachedDocuments, DocumentCache, Place
from web.http.reading import CACHED_MODELS, MODELS, DocumentQuery, Read, Reader

SHOWING = [MODELS[name] for name in CACHED_MODELS]
LIMIT = 3
SHOWN = {ROUTINE, ROUTINE_FIRINGS, TRIGGER, TRIGGER_FIRINGS, RUN, ISSUE, AGENT, PROJECT}


def queries_of(*routine_ids):
    """The details of routines, and a page of the runs of each."""
    size = DEFAULT.max_page_bytes
    details = [DocumentQuery(routines.DETAILS_OF_MANY, (id_, size), None, size) for id_ in routine_ids]
    return details + [
        DocumentQuery(run_history.RECENT_OF_MANY, (id_, None, LIMIT + 1), LIMIT, size) for id_ in routine_ids
    ]


class Readers:
    """A reader with its cache, beside one whose cache is always empty."""

    def __init__(self, system, runner, queries):
        self.caching, self.plain = Reader(system.pool), Reader(system.pool)
        self.queries = queries
        self._run = runner.run

    def differing(self):
        """Which answers differ: none may. What was cached and may have changed is asked for once more, as the backend does."""
        return self._run(self._compare())

    async def _compare(self):
        self.plain.forget()
        shown, asked = [await self._find(reader) for reader in (self.caching, self.plain)]
        await self.caching.find(Read({}, CACHED_MODELS, None))  # so it knows that the log has not moved
        return [one for one, a, b in zip(self.queries, shown, asked, strict=True) if a != b]

    async def _find(self, reader):
        answers = await asyncio.gather(*(reader.find(Read({}, CACHED_MODELS, one)) for one in self.queries))
        again = [
            one.documents or (await reader.find(Read({}, CACHED_MODELS, query, anew=True))).documents
            for one, query in zip(answers, self.queries, strict=True)
        ]
        return [(docs.array, docs.tag, docs.part.more) for docs in again]

    @property
    def from_memory(self):
        """How many were from memory since the last look."""
        many = self.caching.counts["memory"]
        self.caching.counts["memory"] = 0
        return many


@pytest.fixture
def runner():
    with asyncio.Runner() as runner:
        yield runner


def test_whatever_happens_what_was_cached_is_what_postgres_gives(told_story, system, conn, runner):
    """In a log with everything in it, which goes on by one event or two at a time."""
    told_story.ask(agents.update, told_story.ids["scout"], AgentPatch(title="Chief"))
    told_story.fire(told_story.ids["fails"])
    told_story.patch(told_story.ids["parent"], title="Whole")
    readers = Readers(system, runner, queries_of(*(told_story.ids[name] for name in ("joins", "skips", "idle"))))
    read, looks = told_story.store.after, 0

    while positions.advance(conn, SHOWING, read, 1 + looks % 2):
        assert [] == readers.differing(), positions.reached(conn, SHOWING)
        looks += 1

    assert readers.from_memory > looks * len(readers.queries) // 2


class Touched(RowsInMemory):
    """Notes the rows that a fold asks for or writes."""

    def __init__(self):
        super().__init__()
        self.keys = set()

    def get(self, table, key):
        self.keys.add((table, key))
        return super().get(table, key)

    def add(self, table, row):
        self.keys.add((table, row.id))
        super().add(table, row)

    def put(self, table, row):
        self.keys.add((table, row.id))
        super().put(table, row)

    def delete(self, table, key):
        self.keys.add((table, key))
        super().delete(table, key)

    def execute(self, statement, values):
        assert "access_key" in statement, f"of which streams are the rows that it changes? {values}"


def test_an_event_changes_only_rows_of_its_stream_and_a_firing_its_routine_and_trigger_besides(story_databases):
    """So it is enough to look which streams have got events, and what these belong to."""
    rows = Touched()
    for recorded in story_databases.log:
        rows.keys.clear()
        for model in SHOWING:
            if model.may_fold(recorded):
                model.fold(recorded, rows)
        ids = {recorded.stream_id}
        if isinstance(recorded.event, RunFired):
            ids |= {recorded.event.routine_id, recorded.event.trigger_id}
        assert {key for table, key in rows.keys if table in SHOWN} <= ids, recorded


def test_rows_that_were_made_anew_are_read_though_no_event_says_so(projected_story, system, conn, runner):
    """So it is after an erasure."""
    joins = projected_story.ids["joins"]
    readers = Readers(system, runner, queries_of(joins))
    shown = [readers.differing(), readers.differing(), readers.from_memory]
    assert [[], [], 2] == shown

    conn.execute("UPDATE routine SET doc = replace(doc::text, 'Joins', 'Other')::json WHERE id = %s", (joins,))
    assert queries_of(joins)[:1] == readers.differing()  # it was indeed from memory
    assert 2 == readers.from_memory
    rebuilds.rebuild(conn, MODELS["routines"], projected_story.store.after)

    assert [] == readers.differing()
    assert 0 == readers.from_memory


def test_a_read_hears_that_rows_belong_to_another_version_since_though_no_event_says_so(
    projected_story, system, conn, runner
):
    reader = Reader(system.pool)
    head = projected_story.store.head()
    assert [head] * 3 == [runner.run(reader.find(Read({}, CACHED_MODELS, None))).reached for _ in range(3)]

    conn.execute("UPDATE positions SET shape = 'other' WHERE name = 'issues'")

    assert runner.run(reader.find(Read({}, CACHED_MODELS, None))).reached is None


def test_rows_that_become_cold_are_the_same_and_stay_cached(projected_story, system, conn, runner):
    readers = Readers(system, runner, queries_of(projected_story.ids["joins"], projected_story.ids["skips"]))
    assert [] == readers.differing()

    for model in SHOWING:
        while cold.move(conn, model, projected_story.store.head()):
            pass

    assert [] == readers.differing()
    assert len(readers.queries) == readers.from_memory


def test_what_was_cached_of_another_log_is_not_used(projected_story, system, conn, runner):
    """As after a restore, or when another database has taken over: its position may be the same."""
    readers = Readers(system, runner, queries_of(projected_story.ids["joins"]))
    readers.differing()
    cache = readers.caching._cache
    cache.place = cache.place._replace(hash=b"of another log")

    assert [] == readers.differing()
    assert 0 == readers.from_memory
    assert [] == readers.differing()
    assert 2 == readers.from_memory


def readers_of_models_apart(story, system, conn, runner):
    """Readers that keep documents of a routine, of whose change only one read model has heard since."""
    joins = story.ids["joins"]
    readers = Readers(system, runner, queries_of(joins))
    readers.differing()
    story.change(joins, title="Joined")
    positions.advance(conn, [MODELS["routines"]], story.store.after)
    return readers


def test_while_the_models_stand_at_different_places_nothing_that_was_cached_is_used(
    projected_story, system, conn, runner
):
    readers = readers_of_models_apart(projected_story, system, conn, runner)

    assert [[], []] == [readers.differing(), readers.differing()]
    assert 0 == readers.from_memory
    projected_story.project_all()
    assert [[], []] == [readers.differing(), readers.differing()]
    assert 2 == readers.from_memory


def test_while_the_models_stand_at_different_places_one_statement_finds_the_documents(
    projected_story, system, conn, runner
):
    """As where several projectors move them: only the first look finds that it cannot be told what has changed."""
    readers = readers_of_models_apart(projected_story, system, conn, runner)
    reads = [Read({}, CACHED_MODELS, one) for one in readers.queries]

    looks = [[runner.run(readers.caching.find(read)).documents is not None for read in reads] for _ in range(2)]

    assert [[False, True], [True, True]] == looks


def test_a_firing_that_one_model_has_passed_over_is_in_what_the_others_show(projected_story, system, conn, runner):
    """Its run has no row, by which it would be known to whom it belongs."""
    joins = projected_story.ids["joins"]
    readers = Readers(system, runner, queries_of(joins))
    readers.differing()
    before, read = projected_story.store.head(), projected_story.store.after
    projected_story.fire(joins)
    others = [model for model in SHOWING if model.name != "run_history"]

    positions.advance(conn, others, read, 1)
    positions.isolate(conn, MODELS["run_history"], read, before, "ValueError")

    assert [] == readers.differing()


def test_after_very_many_events_nothing_that_was_cached_is_used(projected_story, system, runner):
    readers = Readers(system, runner, queries_of(projected_story.ids["joins"]))
    readers.differing()
    first, cache = projected_story.store.after(0, 1)[0], readers.caching._cache
    cache.place = cache.place._replace(position=first.position, hash=first.hash)

    assert projected_story.store.head() > MOST_SINCE
    assert [] == readers.differing()
    assert 0 == readers.from_memory


def test_a_refused_call_of_a_webhook_is_in_the_next_detail_and_gone_when_it_is_deleted(
    projected_story, system, conn, runner
):
    joins = projected_story.ids["joins"]
    minted = projected_story.webhook(joins)
    projected_story.project_all()
    readers = Readers(system, runner, queries_of(joins))

    for change in (
        lambda: webhook_refusals.put(conn, minted.trigger_id, 401, "Unauthorized", "10.0.0.1"),
        lambda: webhook_refusals.put(conn, minted.trigger_id, 415, "Unsupported", "10.0.0.1"),
        lambda: conn.execute("DELETE FROM webhook_refusals"),
    ):
        assert [[], []] == [readers.differing(), readers.differing()]
        assert readers.from_memory
        change()
        assert [] == readers.differing()
        assert 1 == readers.from_memory  # the runs


def test_what_is_forgotten_is_read(projected_story, system, runner):
    readers = Readers(system, runner, queries_of(projected_story.ids["joins"]))
    readers.differing()

    readers.caching.forget()

    assert [] == readers.differing()
    assert 0 == readers.from_memory


def test_who_may_read_is_decided_anew_when_a_stream_had_moved_before_nothing_was_recorded(
    projected_story, system, runner
):
    """As of a key that another process has revoked: what was looked at before does not say that its version is the newest."""
    joins, other = projected_story.ids["joins"], projected_story.ids["skips"]
    newest = projected_story.store.versions([joins, other])
    detail = Read({joins: newest[joins]}, CACHED_MODELS, queries_of(joins)[0])
    reader = Reader(system.pool)
    for _ in range(3):
        assert runner.run(reader.find(detail)).is_unchanged

    outdated = [{joins: newest[joins] - 1}, {other: newest[other] - 1}, {**newest, other: newest[other] - 1}]

    assert [False] * 3 == [runner.run(reader.find(detail._replace(versions=one))).is_unchanged for one in outdated]
    assert runner.run(reader.find(detail._replace(versions=newest))).is_unchanged


def test_a_version_that_was_the_newest_is_so_no_more_once_its_stream_has_moved(projected_story, system, runner):
    joins = projected_story.ids["joins"]
    old = projected_story.store.versions([joins])
    detail = Read(old, CACHED_MODELS, queries_of(joins)[0])
    reader = Reader(system.pool)
    for _ in range(3):
        assert runner.run(reader.find(detail)).is_unchanged

    projected_story.change(joins, title="Joined")
    projected_story.project_all()

    assert [False] * 4 == [runner.run(reader.find(detail)).is_unchanged for _ in range(4)]
    new = detail._replace(versions=projected_story.store.versions([joins]))
    assert [True] * 3 == [runner.run(reader.find(new)).is_unchanged for _ in range(3)]


PLACE, LATER = Place(1, b"1", "made"), Place(2, b"2", "made")


def entry(size=0, *streams):
    return CachedDocuments("found", frozenset(streams), [], size)


def test_what_was_used_longest_ago_is_dropped_when_there_is_too_much():
    documents = DocumentCache(PLACE, most_bytes=2 * OVERHEAD + 10)
    for name, size in (("first", 4), ("second", 4)):
        documents.put(name, entry(size, name))
    documents.get("first")
    documents.put("third", entry(6, "third"))

    assert [True, False, True] == [name in documents for name in ("first", "second", "third")]
    documents.put("first", entry(5, "first"))  # instead of the first, which counts no more
    assert [True, False, False] == [name in documents for name in ("first", "second", "third")]
    documents.put("huge", entry(2 * OVERHEAD, "huge"))
    assert not any(name in documents for name in ("first", "second", "third", "huge"))


def test_what_shows_a_stream_that_has_changed_is_dropped_and_all_else_stays():
    routine, agent, project, other = streams = [uuid4() for _ in range(4)]
    documents = DocumentCache(PLACE)
    for name, shown in {"a": (routine, agent), "b": (routine, agent), "c": (routine, project)}.items():
        documents.put(name, entry(1, *shown))
    documents.put("b", entry(1, other))  # instead of what showed the agent

    documents.advance_to(LATER, [agent, uuid4()])

    assert (LATER, [False, True, True]) == (documents.place, [name in documents for name in "abc"])
    documents.advance_to(LATER, streams[:1])
    assert [True, False] == [name in documents for name in "bc"]


def test_versions_are_known_of_the_streams_that_have_not_changed_since_somebody_asked():
    routine, agent = uuid4(), uuid4()
    documents = DocumentCache(PLACE)
    documents.put_versions({routine: 2, agent: 3})

    assert documents.has_versions({routine: 2, agent: 3})
    assert not any(map(documents.has_versions, ({routine: 1}, {uuid4(): 0})))
    documents.advance_to(LATER, [agent])
    assert [True, False] == [documents.has_versions(one) for one in ({routine: 2}, {agent: 3})]
