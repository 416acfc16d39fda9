"""A rebuild gives the rows that were there, while readers read and writers write; cut off, it changes nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

from eventsourcing.persistence import StoredEvent
from msgspec.structs import replace
from psycopg.sql import SQL, Identifier

from domain.events import RunFired
from projections import catalogue
from projections.board import agents, comments, companies, issues
from projections.board.directory import directory
from projections.engine import folding_aside, isolation, positions, rebuilds
from projections.firing import deadlines, run_history
from projections.routines import routine_list, routines
from routines import bootstrap
from tests.projections.engine.rebuild_checks import ALL, NAMES, Killed, schemas_left_behind, searched_schemas
from tests.projections.sharing import SHARED
from tests.projections.story import all_folded, rows
from tests.running import projecting
from tests.waiting import wait_for


@contextmanager
def repeating(*works):
    """Each of these again and again in a thread of its own, until the end; what they raise is raised here."""
    stop, wrong = threading.Event(), []

    def repeat(work):
        try:
            while not stop.is_set():
                work()
        except Exception as error:  # noqa: BLE001 a thread tells nobody
            wrong.append(error)

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []


@SHARED
@ALL
def test_a_rebuild_gives_the_same_rows(projected_story, conn, model):
    before = rows(conn, model)
    conn.execute(f"DELETE FROM {model.tables[0].name}")  # it does not look at what is there

    assert rebuilds.rebuild(conn, model, projected_story.store.after) == projected_story.store.head()

    assert rows(conn, model) == before
    assert schemas_left_behind(conn) == []


@SHARED
def test_a_rebuild_gives_the_same_indexes_and_columns(projected_story, conn):
    query = """
        SELECT tablename, regexp_replace(indexdef, ' INDEX \\S+ ', ' INDEX ') FROM pg_indexes
        WHERE schemaname = 'read_models' ORDER BY 1, 2"""
    before = conn.execute(query).fetchall()

    for model in catalogue.ALL:
        rebuilds.rebuild(conn, model, projected_story.store.after)

    assert conn.execute(query).fetchall() == before


@SHARED
def test_a_rebuild_tells_how_far_it_is(projected_story, conn, monkeypatch):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 10)
    head, progress = projected_story.store.head(), []

    rebuilds.rebuild(conn, issues.issues, projected_story.store.after, progress.append)

    folded = [one.position for one in projected_story.store.history() if type(one.event) in issues.issues.events]
    assert progress == sorted({*folded[9::10], folded[-1], head})


def test_a_rebuild_brings_a_read_model_that_lagged_to_the_head(told_story, conn):
    rebuilds.rebuild(conn, issues.issues, told_story.store.after)

    assert positions.wait(conn, ["issues"], 0) == told_story.store.head()
    assert positions.advance(conn, [issues.issues], told_story.store.after) == 0


@SHARED
def test_a_rebuild_starts_a_read_model_that_had_stopped(projected_story, conn):
    positions.stop(conn, "issues", "ValueError")

    rebuilds.rebuild(conn, issues.issues, projected_story.store.after)

    assert [one.stopped for one in positions.status(conn)] == [None] * len(NAMES)


def test_issue_numbers_are_the_same_after_a_rebuild(projected_story, conn):
    acme = projected_story.ids["acme"]
    before = {one.id: one.identifier for one in issues.page(conn, acme, issues.Filters())}

    rebuilds.rebuild(conn, issues.issues, projected_story.store.after)

    assert {one.id: one.identifier for one in issues.page(conn, acme, issues.Filters())} == before
    assert sorted(before.values(), key=lambda text: int(text[4:])) == [f"ACM-{n}" for n in range(1, len(before) + 1)]
    new = projected_story.issue(acme, "After")
    projected_story.project_all()
    assert issues.issue(conn, new).identifier == f"ACM-{len(before) + 1}"


def test_an_event_that_cannot_be_folded_is_passed_over_by_a_rebuild_on_the_record(projected_story, conn):
    runs = [one for one in projected_story.store.history() if isinstance(one.event, RunFired)]

    def fold(recorded, folded_rows):
        if recorded.position == runs[0].position:
            raise Killed
        run_history.fold(recorded, folded_rows)

    rebuilds.rebuild(conn, replace(run_history.run_history, fold=fold), projected_story.store.after)

    (isolated,) = isolation.isolated_events(conn, 10)
    assert (isolated.read_model, isolated.position, isolated.reason) == ("run_history", runs[0].position, "Killed")
    assert conn.execute("SELECT count(*) FROM run").fetchone() == (len(runs) - 1,)
    assert searched_schemas(conn) == ["read_models"]


def test_readers_and_writers_notice_nothing_of_rebuilds(projected_story, system, conn, monkeypatch):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 50)
    acme, routine_id, issue_id = projected_story.ids["acme"], projected_story.ids["piles"], projected_story.ids["first"]

    def read():
        with system.pool.connection() as own:
            assert len(routine_list.page(own, acme)) == 12
            assert routines.detail(own, routine_id).recent_runs
            assert issues.page(own, acme, issues.Filters(limit=5))
            assert comments.page(own, issue_id, newest_first=True, limit=5)
            assert run_history.recent_runs(own, routine_id, 200)
            assert len(agents.of_company(own, acme)) == 3
            assert companies.of_user(own, companies.all_companies(own)[0].id) == []

    def write():
        run_id = projected_story.fire(routine_id)
        head = projected_story.store.head()
        with system.pool.connection() as own:
            assert positions.wait(own, NAMES, 10) >= head
            assert run_id in {one.id for one in run_history.recent_runs(own, routine_id, 200)}

    with projecting(system), repeating(read, write):
        for model in catalogue.ALL:
            rebuilds.rebuild(conn, model, projected_story.store.after)
        positions.wait(conn, NAMES, 10)

    projected_story.project_all()
    log = list(projected_story.store.history())
    at_once = all_folded(conn, catalogue.ALL, log, len(log))
    for model in catalogue.ALL:
        assert rows(conn, model) == at_once[model.name], model.name
    assert schemas_left_behind(conn) == []


@SHARED
def test_a_swap_gives_way_to_a_reader_of_several_of_its_tables(projected_story, conn, system):
    first, *_, last = directory.tables
    with system.pool.connection() as own, ThreadPoolExecutor(1) as threads:
        with own.transaction():
            own.execute(SQL("SELECT FROM {} LIMIT 1").format(Identifier(last.name)))
            swap = threads.submit(rebuilds.rebuild, conn, directory, projected_story.store.after)
            wait_for(lambda: own.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,))

            own.execute(SQL("SELECT FROM {} LIMIT 1").format(Identifier(first.name)))
        swap.result()


@SHARED
def test_a_swap_waits_for_a_vacuum_of_its_tables_and_is_not_refused_for_it(projected_story, conn, system):
    (table, *_) = directory.tables
    vacuums = "SELECT count(*) FROM pg_locks WHERE mode = 'ShareUpdateExclusiveLock' AND NOT granted"
    with system.pool.connection() as own, ThreadPoolExecutor(1) as threads:
        with own.transaction():
            own.execute(SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(Identifier(table.name)))
            swap = threads.submit(rebuilds.rebuild, conn, directory, projected_story.store.after)
            wait_for(lambda: own.execute(vacuums).fetchone() != (0,))
        swap.result()


@SHARED
def test_two_rebuilds_of_one_read_model_at_once_do_each_other_no_harm(projected_story, conn, settings, monkeypatch):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 20)
    before, wrong = rows(conn, issues.issues), []
    together = threading.Barrier(2)

    def rebuild():
        try:
            with bootstrap.connect(settings) as own:
                together.wait()
                rebuilds.rebuild(own, issues.issues, projected_story.store.after)
        except Exception as error:  # noqa: BLE001 a thread tells nobody
            wrong.append(error)

    threads = [threading.Thread(target=rebuild) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert rows(conn, issues.issues) == before
    assert schemas_left_behind(conn) == []


@SHARED
def test_a_rebuild_reads_only_what_its_model_may_fold_and_looks_through_the_log_span_by_span(
    projected_story, conn, monkeypatch
):
    monkeypatch.setattr(folding_aside, "REBUILD_SPAN", 50)
    read, spans = [], []

    def after(position, limit, *, until=None, without=()):
        batch = projected_story.store.after(position, limit, until=until, without=without)
        if until is None:  # the one event by which the end of a span without any is known to be in the log
            assert 1 == limit
        else:
            spans.append((position, until))
            read.extend(batch)
        return batch

    assert projected_story.store.head() == rebuilds.rebuild(conn, deadlines.deadlines, after)

    wanted = [one for one in projected_story.store.history() if type(one.event) in deadlines.deadlines.events]
    assert [one.position for one in wanted] == [one.position for one in read]
    assert len(wanted) < projected_story.store.head() / 2
    assert all(until - position <= 50 for position, until in spans)


def test_a_rebuild_isolates_events_of_names_that_this_version_does_not_know(story, conn):
    story.store.recorder.insert_events([StoredEvent(uuid4(), 1, "agent.sang", b"{}")])

    rebuilds.rebuild(conn, deadlines.deadlines, story.store.after)

    assert [("deadlines", "agent.sang")] == [
        (one.read_model, one.name) for one in isolation.isolated_events(conn, 10, "deadlines")
    ]
