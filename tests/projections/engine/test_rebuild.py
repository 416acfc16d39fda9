"""A rebuild gives the rows that were there, while readers read and writers write; cut off, it changes nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner
from eventsourcing.persistence import StoredEvent
from msgspec.structs import replace
from psycopg.sql import SQL, Identifier
from structlog.testing import capture_logs

from domain.events import RunFired
from processes import projector as projectors
from projections import catalogue
from projections.board import agents, companies, issues
from projections.board.directory import directory
from projections.engine import (
    folding_aside,
    installed,
    isolation,
    moments,
    positions,
    rebuilds,
    verification,
)
from projections.engine.own_projection import fold_in_memory
from projections.firing import deadlines, run_history
from projections.routines import routines
from routines import bootstrap
from routines.cli import main
from tests.projections.story import folded, rows
from tests.rebuilding import rebuild_outdated
from tests.waiting import wait_for

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
def test_a_rebuild_gives_the_same_rows(projected_story, conn, model):
    before = rows(conn, model)
    conn.execute(f"DELETE FROM {model.tables[0].name}")  # it does not look at what is there

    assert rebuilds.rebuild(conn, model, projected_story.store.after) == projected_story.store.head()

    assert rows(conn, model) == before
    assert left_behind(conn) == []


def test_a_rebuild_gives_the_same_indexes_and_columns(projected_story, conn):
    query = """
        SELECT tablename, regexp_replace(indexdef, ' INDEX \\S+ ', ' INDEX ') FROM pg_indexes
        WHERE schemaname = 'read_models' ORDER BY 1, 2"""
    before = conn.execute(query).fetchall()

    for model in catalogue.ALL:
        rebuilds.rebuild(conn, model, projected_story.store.after)

    assert conn.execute(query).fetchall() == before


def test_a_rebuild_tells_how_far_it_is(told_story, conn, monkeypatch):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 10)
    head, progress = told_story.store.head(), []

    rebuilds.rebuild(conn, issues.issues, told_story.store.after, progress.append)

    folded = [one.position for one in told_story.store.history() if type(one.event) in issues.issues.events]
    assert progress == sorted({*folded[9::10], folded[-1], head})


def test_a_rebuild_brings_a_read_model_that_lagged_to_the_head(told_story, conn):
    rebuilds.rebuild(conn, issues.issues, told_story.store.after)

    assert positions.wait(conn, ["issues"], 0) == told_story.store.head()
    assert positions.advance(conn, [issues.issues], told_story.store.after) == 0


def test_a_rebuild_starts_a_read_model_that_had_stopped(told_story, conn):
    positions.stop(conn, "issues", "ValueError")

    rebuilds.rebuild(conn, issues.issues, told_story.store.after)

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


@ALL
def test_a_rebuild_that_is_killed_half_way_changes_nothing(projected_story, conn, settings, monkeypatch, model):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 50)
    before, at = rows(conn, model), positions.status(conn)

    def kill(position):
        if position >= 150:
            raise Killed

    with bootstrap.connect(settings) as own, pytest.raises(Killed):
        rebuilds.rebuild(own, model, projected_story.store.after, kill)

    assert rows(conn, model) == before
    assert positions.status(conn) == at
    rebuilds.rebuild(conn, model, projected_story.store.after)
    assert rows(conn, model) == before
    assert left_behind(conn) == []


def test_a_connection_on_which_a_rebuild_was_killed_still_finds_the_rows(projected_story, conn, monkeypatch):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 50)

    def kill(position):
        raise Killed

    with pytest.raises(Killed):
        rebuilds.rebuild(conn, issues.issues, projected_story.store.after, kill)

    assert tables_searched(conn) == ["read_models"]
    assert len(issues.page(conn, projected_story.ids["acme"], issues.Filters())) > 1


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
    assert tables_searched(conn) == ["read_models"]


def test_a_database_cut_off_during_the_swap_keeps_the_old_rows(projected_story, conn, settings, monkeypatch):
    before, at = rows(conn, directory), positions.status(conn)

    def die(*_):
        raise psycopg.OperationalError("gone")

    with monkeypatch.context() as patch, bootstrap.connect(settings) as own:
        swap = rebuilds._swap
        patch.setattr(rebuilds, "_swap", lambda *given: (swap(*given), die()))
        with pytest.raises(psycopg.OperationalError):
            rebuilds.rebuild(own, directory, projected_story.store.after)

    assert rows(conn, directory) == before
    assert positions.status(conn) == at


@ALL
def test_readers_and_writers_notice_nothing_of_rebuilds(projected_story, settings, system, monkeypatch, model):
    conn = projected_story.conn
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 50)
    acme, routine_id, issue_id = projected_story.ids["acme"], projected_story.ids["piles"], projected_story.ids["first"]

    def read():
        with system.pool.connection() as own:
            assert len(routines.page(own, acme)) == 12
            assert routines.detail(own, routine_id).recent_runs
            assert issues.page(own, acme, issues.Filters(limit=5))
            assert issues.comments(own, issue_id, newest_first=True, limit=5)
            assert run_history.recent(own, routine_id, 200)
            assert len(agents.of_company(own, acme)) == 3
            assert companies.of_user(own, companies.all_companies(own)[0].id) == []

    def write():
        run_id = projected_story.fire(routine_id)
        head = projected_story.store.head()
        with system.pool.connection() as own:
            assert positions.wait(own, NAMES, 10) >= head
            assert run_id in {one.id for one in run_history.recent(own, routine_id, 200)}

    with projecting(settings, projected_story.store.after), running(read, read, write):
        for _ in range(2):
            rebuilds.rebuild(conn, model, projected_story.store.after)
        positions.wait(conn, NAMES, 10)

    projected_story.project_all()
    assert rows(conn, model) == folded(conn, model, list(projected_story.store.history()), 1000)
    assert left_behind(conn) == []


def test_a_swap_gives_way_to_a_reader_of_several_of_its_tables(projected_story, conn, system):
    first, *_, last = directory.tables
    with system.pool.connection() as own, ThreadPoolExecutor(1) as threads:
        with own.transaction():
            own.execute(SQL("SELECT FROM {} LIMIT 1").format(Identifier(last.name)))
            swap = threads.submit(rebuilds.rebuild, conn, directory, projected_story.store.after)
            wait_for(lambda: own.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,))

            own.execute(SQL("SELECT FROM {} LIMIT 1").format(Identifier(first.name)))
        swap.result()


def test_a_swap_waits_for_a_vacuum_of_its_tables_and_is_not_refused_for_it(projected_story, conn, system):
    (table, *_) = directory.tables
    vacuums = "SELECT count(*) FROM pg_locks WHERE mode = 'ShareUpdateExclusiveLock' AND NOT granted"
    with system.pool.connection() as own, ThreadPoolExecutor(1) as threads:
        with own.transaction():
            own.execute(SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(Identifier(table.name)))
            swap = threads.submit(rebuilds.rebuild, conn, directory, projected_story.store.after)
            wait_for(lambda: own.execute(vacuums).fetchone() != (0,))
        swap.result()


def with_index(model=issues.issues):
    """The read model with other tables: of a newer version."""
    return replace(model, schema=model.schema + "CREATE INDEX ON issue (title);")


def standing(conn, name="issues"):
    return next(one for one in positions.status(conn) if one.name == name)


def test_a_new_shape_is_not_rebuilt_when_the_system_starts_but_later_by_the_projector(projected_story, conn):
    story = projected_story
    before = rows(conn, issues.issues)
    another = with_index()

    assert installed.create(conn, [another], story.store.after) == ["issues"]

    assert standing(conn).is_outdated
    assert rows(conn, issues.issues) == before
    assert rebuild_outdated(conn, [another], story.store.after) == ["issues"]
    assert not standing(conn).is_outdated
    assert rows(conn, issues.issues) == before
    assert conn.execute("SELECT shape FROM positions WHERE name = 'issues'").fetchone() == (another.schema_hash,)
    assert conn.execute(
        "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%issue USING btree (title)'"
    ).fetchone() == (1,)


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
    assert left_behind(conn) == []


def test_an_installation_without_events_has_all_tables_at_once(conn, system):
    assert system.store.head() == 0
    another = with_index()

    assert installed.create(conn, [another], system.store.after) == []

    assert not standing(conn).is_outdated
    assert conn.execute("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%(title)'").fetchone() == (1,)


def test_old_rows_in_the_same_tables_are_folded_on_until_the_new_ones_are_there(story, conn):
    story.tell().project_all()
    newer = replace(issues.issues, version=issues.issues.version + 1)
    installed.create(conn, [newer], story.store.after)

    new = story.issue(story.ids["acme"], "After")
    while positions.advance(conn, [newer], story.store.after):
        pass

    assert standing(conn).is_outdated
    assert standing(conn).position == story.store.head()
    assert issues.issue(conn, new).title == "After"
    assert rebuild_outdated(conn, [newer], story.store.after) == ["issues"]
    assert standing(conn).position == story.store.head()


def test_old_rows_in_other_tables_stay_as_they_are_and_hold_up_no_other_read_model(story, conn):
    story.tell().project_all()
    another = with_index()
    installed.create(conn, [another], story.store.after)
    reached, before = standing(conn).position, rows(conn, issues.issues)

    story.issue(story.ids["acme"], "After")
    models = [another if model is issues.issues else model for model in catalogue.ALL]
    while positions.advance(conn, models, story.store.after):
        pass

    assert standing(conn).position == reached
    assert rows(conn, issues.issues) == before
    assert {one.position for one in positions.status(conn) if one.name != "issues"} == {story.store.head()}
    with pytest.raises(positions.Outdated):
        positions.reached(conn, models, all_of_them=True)


def test_an_older_version_that_still_runs_moves_its_rows_until_they_are_replaced_and_the_new_ones_never(story, conn):
    story.tell().project_all()
    newer = replace(issues.issues, version=issues.issues.version + 1)
    installed.create(conn, [newer], story.store.after)
    story.issue(story.ids["acme"], "Before the swap")
    assert positions.advance(conn, [issues.issues], story.store.after) > 0

    assert rebuild_outdated(conn, [issues.issues], story.store.after) == []  # it is not the installed one
    rebuild_outdated(conn, [newer], story.store.after)
    story.issue(story.ids["acme"], "After the swap")

    assert positions.advance(conn, [issues.issues], story.store.after) == 0
    assert standing(conn).position < story.store.head()
    assert positions.advance(conn, [newer], story.store.after) > 0


def test_an_older_version_that_still_runs_moves_its_rows_also_if_the_newer_one_has_more_tables_or_indexes(story, conn):
    story.tell().project_all()
    installed.create(conn, [with_index()], story.store.after)
    story.issue(story.ids["acme"], "Before the swap")

    assert positions.advance(conn, [issues.issues], story.store.after) > 0

    assert standing(conn).position == story.store.head()
    assert standing(conn).is_outdated


def test_what_stands_still_is_rebuilt_first_then_what_processes_act_on(story, conn):
    story.tell().project_all()
    newer = [replace(model, version=model.version + 1) for model in catalogue.ALL]
    newer = [with_index(model) if model.name == "issues" else model for model in newer]
    installed.create(conn, newer, story.store.after)
    acted_on = {model.name for model in catalogue.ALL if model.polled_by is not None}

    rebuilt = rebuild_outdated(conn, newer, story.store.after)

    assert rebuilt[0] == "issues"
    assert set(rebuilt[1 : len(acted_on) + 1]) == acted_on
    assert set(rebuilt) == set(NAMES)


def test_what_another_process_rebuilds_is_left_to_it(story, conn, settings):
    story.tell().project_all()
    newer = [replace(model, version=model.version + 1) for model in catalogue.ALL]
    installed.create(conn, newer, story.store.after)

    with bootstrap.connect(settings) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('rebuild issues'))")
        rebuilt = rebuild_outdated(conn, newer, story.store.after)

    assert set(rebuilt) == set(NAMES) - {"issues"}
    assert [one.name for one in positions.status(conn) if one.is_outdated] == ["issues"]


def test_a_rebuild_says_in_the_status_how_far_it_is_and_nothing_once_it_is_over_or_cut_off(
    story, conn, settings, monkeypatch
):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 10)
    head, seen = story.tell().store.head(), []
    story.project_all()

    def look(position):
        with bootstrap.connect(settings) as other:
            seen.append((position, standing(other).rebuilt_to))
        if len(seen) == 3:
            raise Killed

    with bootstrap.connect(settings) as own, pytest.raises(Killed):
        rebuilds.rebuild(own, issues.issues, story.store.after, look)

    assert 3 == len({reached for reached, _ in seen})
    assert all(0 < reached == shown < head for reached, shown in seen)
    assert standing(conn).rebuilt_to is None
    rebuilds.rebuild(conn, issues.issues, story.store.after)
    assert (standing(conn).rebuilt_to, standing(conn).position) == (None, head)


def test_the_projector_rebuilds_what_is_outdated_while_it_moves_everything_else(story, conn, settings):
    """The rebuild is held up until an event that was recorded after it began is shown by another read model."""
    story.tell().project_all()
    is_shown = threading.Event()

    def fold(recorded, folded_rows):
        assert is_shown.wait(30)
        issues.issues.fold(recorded, folded_rows)

    another = replace(with_index(), fold=fold)
    others = [name for name in NAMES if name != "issues"]
    models = [another if model is issues.issues else model for model in catalogue.ALL]
    installed.create(conn, models, story.store.after)
    stop = threading.Event()
    running = projectors.Projector(models, story.store.after)
    thread = threading.Thread(target=projectors.run, args=(running, lambda: bootstrap.connect(settings), stop))
    thread.start()
    try:
        wait_for(lambda: left_behind(conn), limit_s=30)
        new = story.issue(story.ids["acme"], "After")
        positions.wait(conn, others, 30)
        assert issues.issue(conn, new) is None
        assert standing(conn).is_outdated
        is_shown.set()
        wait_for(lambda: not standing(conn).is_outdated, limit_s=30)
        positions.wait(conn, NAMES, 30)
    finally:
        is_shown.set()
        stop.set()
        thread.join()

    assert issues.issue(conn, new).title == "After"
    assert left_behind(conn) == []


def test_a_read_model_that_cannot_be_rebuilt_holds_up_no_other(story, conn):
    story.tell().project_all()
    before = rows(conn, issues.issues)
    newer = [replace(model, version=model.version + 1) for model in catalogue.ALL]
    broken = [replace(model, schema="CREATE TABLE") if model.name == "issues" else model for model in newer]
    installed.create(conn, broken, story.store.after)

    with capture_logs() as lines:
        projectors.Rebuilder(broken, story.store.after, threading.Event()).rebuild(conn)

    assert [one.name for one in positions.status(conn) if one.is_outdated] == ["issues"]
    assert [line["read_model"] for line in lines if line["event"] == "rebuild_failed"] == ["issues"]
    assert len([line for line in lines if line["event"] == "read_model_rebuilt"]) == len(NAMES) - 1
    assert rows(conn, issues.issues) == before


def test_a_projector_that_is_told_to_stop_leaves_a_rebuild_half_way(story, conn, monkeypatch):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 50)
    story.tell().project_all()
    newer = replace(issues.issues, version=issues.issues.version + 1)
    installed.create(conn, [newer], story.store.after)
    stop = threading.Event()
    stop.set()

    with pytest.raises(projectors.Stopped):
        projectors.Rebuilder([newer], story.store.after, stop).rebuild(conn)

    assert standing(conn).is_outdated
    assert standing(conn).rebuilt_to is None


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


def test_a_rebuild_that_was_killed_goes_on_where_it_was(projected_story, conn, settings, monkeypatch):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 20)
    before, reached = rows(conn, run_history.run_history), []

    def kill(position):
        reached.append(position)
        if len(reached) == 2:
            raise Killed

    with bootstrap.connect(settings) as own, pytest.raises(Killed):
        rebuilds.rebuild(own, run_history.run_history, projected_story.store.after, kill)
    progress = []
    rebuilds.rebuild(conn, run_history.run_history, projected_story.store.after, progress.append)

    assert min(progress) > max(reached)
    assert rows(conn, run_history.run_history) == before


@pytest.mark.parametrize(
    "change", [{"version": 99}, {"schema": run_history.SCHEMA + "CREATE INDEX ON run (triggered_at);"}]
)
def test_what_another_version_has_begun_is_not_gone_on_with(projected_story, conn, settings, monkeypatch, change):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 20)

    def kill(_position):
        raise Killed

    with bootstrap.connect(settings) as own, pytest.raises(Killed):
        rebuilds.rebuild(own, replace(run_history.run_history, **change), projected_story.store.after, kill)
    progress = []
    rebuilds.rebuild(conn, run_history.run_history, projected_story.store.after, progress.append)

    assert (
        progress[0] <= [one.position for one in projected_story.store.history() if isinstance(one.event, RunFired)][19]
    )


def test_an_event_that_was_passed_over_before_the_kill_is_on_the_record_after_it(
    projected_story, conn, settings, monkeypatch
):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 5)
    (first, *_) = [one for one in projected_story.store.history() if isinstance(one.event, RunFired)]

    def fold(recorded, folded_rows):
        if recorded.position == first.position:
            raise ValueError
        run_history.fold(recorded, folded_rows)

    def kill(position):
        if position > first.position:
            raise Killed

    model = replace(run_history.run_history, fold=fold)
    with bootstrap.connect(settings) as own, pytest.raises(Killed):
        rebuilds.rebuild(own, model, projected_story.store.after, kill)
    assert isolation.isolated_events(conn, 10) == []
    rebuilds.rebuild(conn, model, projected_story.store.after)

    assert [one.position for one in isolation.isolated_events(conn, 10)] == [first.position]


def test_rows_that_are_as_the_log_gives_them_are_verified(projected_story, conn):
    for model in catalogue.ALL:
        assert verification.verify(conn, model, projected_story.store.after) == []
    assert conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'verifying%'").fetchone() == (0,)
    assert tables_searched(conn) == ["read_models"]


def test_rows_that_differ_are_reported_and_left_alone(projected_story, conn, settings):
    (lost,) = conn.execute("DELETE FROM run WHERE id = (SELECT min(id::text)::uuid FROM run) RETURNING id").fetchone()
    conn.execute("UPDATE run SET position = 0 WHERE id = (SELECT max(id::text)::uuid FROM run)")
    conn.execute(
        "INSERT INTO run SELECT gen_random_uuid(), company_id, routine_id, 1, triggered_at, NULL, NULL, status, source, doc FROM run "
        "LIMIT 1"
    )
    before = rows(conn, run_history.run_history)

    (difference,) = verification.verify(conn, run_history.run_history, projected_story.store.after)

    assert (difference.table, difference.missing, difference.unexpected, difference.differing) == ("run", 1, 1, 1)
    assert lost in difference.examples
    assert rows(conn, run_history.run_history) == before
    done = CliRunner().invoke(
        main, ["projections", "verify", "run_history"], env={"ROUTINES_DATABASE_URL": settings.database_url}
    )
    assert (done.exit_code, "run_history.run: 1 rows are missing" in done.output) == (1, True)


def test_a_read_model_that_lags_or_moves_meanwhile_is_verified_as_of_one_moment(told_story, conn, settings):
    positions.advance(conn, [run_history.run_history], told_story.store.after, 100)

    def move(_position):
        with bootstrap.connect(settings) as other:
            positions.advance(other, [run_history.run_history], told_story.store.after, 30)

    assert verification.verify(conn, run_history.run_history, told_story.store.after, move) == []


def test_rows_of_another_version_are_not_verified(projected_story, conn):
    conn.execute("UPDATE positions SET shape = 'other' WHERE name = 'issues'")

    with pytest.raises(positions.Outdated):
        verification.verify(conn, issues.issues, projected_story.store.after)


def test_rows_as_of_a_position_are_made_in_a_schema_of_their_own(projected_story, conn, settings):
    """As they were then: those that the same log gives when it ends there."""
    before = rows(conn, run_history.run_history)
    log = list(projected_story.store.history())
    position = len(log) // 2
    arguments = ["projections", "rebuild", "run_history", "--into", "noon", "--until"]
    env = {"ROUTINES_DATABASE_URL": settings.database_url}

    done = CliRunner().invoke(main, [*arguments, str(position)], env=env)

    assert f"Schema noon holds run_history as of position {position}" in done.output
    expected = fold_in_memory(run_history.run_history, log[:position]).all(run_history.RUN)
    stored_rows = conn.execute("SELECT id, position, doc->>'status' FROM noon.run ORDER BY id").fetchall()
    assert stored_rows == [(row.id, row.position, row.doc.status) for row in expected]
    assert rows(conn, run_history.run_history) == before
    assert CliRunner().invoke(main, [*arguments, str(len(log))], env=env).exit_code == 0  # goes on to a later one
    assert conn.execute("SELECT count(*) FROM noon.run").fetchone() == (len(before["run"]),)
    other = CliRunner().invoke(main, ["projections", "rebuild", "issues", "--into", "noon"], env=env)
    assert (other.exit_code, "perhaps by another read model" in other.output) == (1, True)
    assert conn.execute("SELECT count(*) FROM noon.run").fetchone() == (len(before["run"]),)


def test_a_moment_is_the_last_position_that_was_recorded_by_then(projected_story, conn):
    recorded = conn.execute("SELECT position, recorded_at FROM log.events ORDER BY position").fetchall()
    for place in (0, len(recorded) // 2, len(recorded) - 1):
        moment = recorded[place][1]
        assert moments.position_at(conn, moment) == max(position for position, at in recorded if at <= moment)
    assert moments.position_at(conn, recorded[0][1] - timedelta(seconds=1)) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["run_history", "--into", "read_models"], "take another"),
        (["run_history", "--into", "own_x"], "take another"),
        (["run_history", "--into", "Mine; DROP"], "take another"),
        (["run_history", "--until", "3"], "--until needs --into"),
        (["--into", "mine"], "--into needs the name"),
        (["run_history", "--into", "mine", "--until", "soon"], "neither a position nor a time"),
        (["run_history", "--into", "mine", "--until", "0001-01-01T00:00:00+05:00"], "neither a position nor a time"),
        (["run_history", "--into", "mine", "--until", "9" * 30], "in the future: the log ends at position"),
        (["run_history", "--into", "mine", "--until", "2098-01-01"], "in the future: it is"),
    ],
)
def test_a_place_or_a_moment_that_is_none_is_refused(projected_story, settings, options, said):
    env = {"ROUTINES_DATABASE_URL": settings.database_url}

    done = CliRunner().invoke(main, ["projections", "rebuild", *options], env=env)

    assert (done.exit_code != 0, said in done.output) == (True, True), done.output
