"""A rebuild gives the rows that were there, while readers read and writers write; cut off, it changes nothing."""

import threading
from contextlib import contextmanager

import psycopg
import pytest
from msgspec.structs import replace

from domain.events import RunFired
from processes import projector as projectors
from projections import catalogue
from projections.board import directory, issues
from projections.engine import positions
from projections.firing import run_history
from projections.routines import routines
from routines import bootstrap
from tests.projections.story import folded, rows

NAMES = [model.name for model in catalogue.ALL]
ALL = pytest.mark.parametrize("model", catalogue.ALL, ids=NAMES)


class Killed(Exception):
    """The rebuild was cut off."""


@contextmanager
def running(*works):
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


@contextmanager
def projecting(settings, read):
    """The projector in a thread, on connections of its own."""
    stop = threading.Event()
    running = projectors.Projector(catalogue.ALL, read)
    thread = threading.Thread(target=projectors.run, args=(running, lambda: bootstrap.connect(settings), stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def left_behind(conn):
    return [name for (name,) in conn.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'rebuilding%'")]


def tables_searched(conn):
    return conn.execute("SELECT current_schemas(false)").fetchone()[0]


@ALL
def test_a_rebuild_gives_the_same_rows(story, conn, model):
    story.tell().project_all()
    before = rows(conn, model)
    conn.execute(f"DELETE FROM {model.tables[0].name}")  # it does not look at what is there

    assert positions.rebuild(conn, model, story.store.after) == story.store.head()

    assert rows(conn, model) == before
    assert left_behind(conn) == []


def test_a_rebuild_gives_the_same_indexes_and_columns(story, conn):
    story.tell().project_all()
    query = """
        SELECT tablename, regexp_replace(indexdef, ' INDEX \\S+ ', ' INDEX ') FROM pg_indexes
        WHERE schemaname = 'read_models' ORDER BY 1, 2"""
    before = conn.execute(query).fetchall()

    for model in catalogue.ALL:
        positions.rebuild(conn, model, story.store.after)

    assert conn.execute(query).fetchall() == before


def test_a_rebuild_tells_how_far_it_is(story, conn, monkeypatch):
    monkeypatch.setattr(positions, "REBUILD_BATCH", 50)
    head, told = story.tell().store.head(), []

    positions.rebuild(conn, issues.issues, story.store.after, told.append)

    assert told == [*range(50, head, 50), head]


def test_a_rebuild_brings_a_read_model_that_lagged_to_the_head(story, conn):
    story.tell()

    positions.rebuild(conn, issues.issues, story.store.after)

    assert positions.wait(conn, ["issues"], 0) == story.store.head()
    assert positions.advance(conn, [issues.issues], story.store.after) == 0


def test_a_rebuild_starts_a_read_model_that_had_stopped(story, conn):
    story.tell()
    positions.stop(conn, "issues", "ValueError")

    positions.rebuild(conn, issues.issues, story.store.after)

    assert [one.stopped for one in positions.status(conn)] == [None] * len(NAMES)


def test_issue_numbers_are_the_same_after_a_rebuild(story, conn):
    story.tell().project_all()
    acme = story.ids["acme"]
    before = {one.id: one.identifier for one in issues.page(conn, acme, issues.Filters())}

    positions.rebuild(conn, issues.issues, story.store.after)

    assert {one.id: one.identifier for one in issues.page(conn, acme, issues.Filters())} == before
    assert sorted(before.values(), key=lambda text: int(text[4:])) == [f"ACM-{n}" for n in range(1, len(before) + 1)]
    new = story.issue(acme, "After")
    story.project_all()
    assert issues.issue(conn, new).identifier == f"ACM-{len(before) + 1}"


@ALL
def test_a_rebuild_that_is_killed_half_way_changes_nothing(story, conn, settings, monkeypatch, model):
    monkeypatch.setattr(positions, "REBUILD_BATCH", 50)
    story.tell().project_all()
    before, at = rows(conn, model), positions.status(conn)

    def kill(position):
        if position >= 150:
            raise Killed

    with bootstrap.connect(settings) as own, pytest.raises(Killed):
        positions.rebuild(own, model, story.store.after, kill)

    assert rows(conn, model) == before
    assert positions.status(conn) == at
    positions.rebuild(conn, model, story.store.after)
    assert rows(conn, model) == before
    assert left_behind(conn) == []


def test_a_connection_on_which_a_rebuild_was_killed_still_finds_the_rows(story, conn, monkeypatch):
    monkeypatch.setattr(positions, "REBUILD_BATCH", 50)
    story.tell().project_all()

    def kill(position):
        raise Killed

    with pytest.raises(Killed):
        positions.rebuild(conn, issues.issues, story.store.after, kill)

    assert tables_searched(conn) == ["read_models"]
    assert len(issues.page(conn, story.ids["acme"], issues.Filters())) > 1


def test_an_event_that_cannot_be_folded_is_passed_over_by_a_rebuild_on_the_record(story, conn):
    story.tell().project_all()
    runs = [one for one in story.store.history() if isinstance(one.event, RunFired)]

    def fold(recorded, found):
        if recorded.position == runs[0].position:
            raise Killed
        run_history.fold(recorded, found)

    positions.rebuild(conn, replace(run_history.run_history, fold=fold), story.store.after)

    (isolated,) = positions.isolated(conn, 10)
    assert (isolated.read_model, isolated.position, isolated.reason) == ("run_history", runs[0].position, "Killed")
    assert conn.execute("SELECT count(*) FROM run").fetchone() == (len(runs) - 1,)
    assert tables_searched(conn) == ["read_models"]


def test_a_database_cut_off_during_the_swap_keeps_the_old_rows(story, conn, settings, monkeypatch):
    story.tell().project_all()
    before, at = rows(conn, directory.directory), positions.status(conn)

    def die(*_):
        raise psycopg.OperationalError("gone")

    with monkeypatch.context() as patch, bootstrap.connect(settings) as own:
        swap = positions._swap
        patch.setattr(positions, "_swap", lambda *given: (swap(*given), die()))
        with pytest.raises(psycopg.OperationalError):
            positions.rebuild(own, directory.directory, story.store.after)

    assert rows(conn, directory.directory) == before
    assert positions.status(conn) == at


@ALL
def test_readers_and_writers_notice_nothing_of_rebuilds(story, settings, system, monkeypatch, model):
    conn = story.conn
    monkeypatch.setattr(positions, "REBUILD_BATCH", 50)
    story.tell().project_all()
    acme, routine_id, issue_id = story.ids["acme"], story.ids["piles"], story.ids["first"]

    def read():
        with system.pool.connection() as own:
            assert len(routines.page(own, acme)) == 9
            assert routines.detail(own, routine_id).recent_runs
            assert issues.page(own, acme, issues.Filters(limit=5))
            assert issues.comments(own, issue_id, newest_first=True, limit=5)
            assert run_history.recent(own, routine_id, 200)
            assert len(directory.agents(own, acme)) == 3
            assert directory.companies_of(own, directory.companies(own)[0].id) == []

    def write():
        run_id = story.fire(routine_id)
        head = story.store.head()
        with system.pool.connection() as own:
            assert positions.wait(own, NAMES, 10) >= head
            assert run_id in {one.id for one in run_history.recent(own, routine_id, 200)}

    with projecting(settings, story.store.after), running(read, read, write):
        for _ in range(4):
            positions.rebuild(conn, model, story.store.after)
        positions.wait(conn, NAMES, 10)

    story.project_all()
    assert rows(conn, model) == folded(conn, model, list(story.store.history()), 1000)
    assert left_behind(conn) == []


def test_a_new_shape_is_rebuilt_when_the_system_starts(story, conn, system):
    story.tell().project_all()
    before = rows(conn, issues.issues)
    another = replace(issues.issues, schema=issues.issues.schema + "CREATE INDEX ON issue (title);")

    positions.create(conn, [another], story.store.after)

    assert rows(conn, issues.issues) == before
    assert conn.execute("SELECT shape FROM positions WHERE name = 'issues'").fetchone() == (another.shape,)
    assert conn.execute(
        "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%issue USING btree (title)'"
    ).fetchone() == (1,)


def test_two_rebuilds_of_one_read_model_at_once_do_each_other_no_harm(story, conn, settings, monkeypatch):
    monkeypatch.setattr(positions, "REBUILD_BATCH", 20)
    story.tell().project_all()
    before, wrong = rows(conn, issues.issues), []
    together = threading.Barrier(2)

    def rebuild():
        try:
            with bootstrap.connect(settings) as own:
                together.wait()
                positions.rebuild(own, issues.issues, story.store.after)
        except Exception as error:  # noqa: BLE001 a thread tells nobody
            wrong.append(error)

    threads = [threading.Thread(target=rebuild) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert rows(conn, issues.issues) == before
    assert left_behind(conn) == []
