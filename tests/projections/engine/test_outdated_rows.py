"""Rows of another version are shown until the projector has rebuilt them, one read model after the other, beside all else."""

import threading

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from application.outage import Outage
from processes import projector as projectors
from processes import rebuilder
from projections import catalogue
from projections.board import issues
from projections.engine import folding_aside, installed, positions, rebuilds
from routines import bootstrap
from tests.projections.engine.rebuild_checks import NAMES, Killed, schemas_left_behind, status_of, with_index
from tests.projections.story import rows
from tests.rebuilding import rebuild_outdated
from tests.waiting import wait_for


def test_a_new_shape_is_not_rebuilt_when_the_system_starts_but_later_by_the_projector(projected_story, conn):
    story = projected_story
    before = rows(conn, issues.issues)
    another = with_index()

    assert installed.create(conn, [another], story.store.after) == ["issues"]

    assert status_of(conn).is_outdated
    assert rows(conn, issues.issues) == before
    assert rebuild_outdated(conn, [another], story.store.after) == ["issues"]
    assert not status_of(conn).is_outdated
    assert rows(conn, issues.issues) == before
    assert conn.execute("SELECT shape FROM positions WHERE name = 'issues'").fetchone() == (another.schema_hash,)
    assert conn.execute(
        "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%issue USING btree (title)'"
    ).fetchone() == (1,)


def test_an_installation_without_events_has_all_tables_at_once(conn, system):
    assert system.store.head() == 0
    another = with_index()

    assert installed.create(conn, [another], system.store.after) == []

    assert not status_of(conn).is_outdated
    assert conn.execute("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%(title)'").fetchone() == (1,)


def test_old_rows_in_the_same_tables_are_folded_on_until_the_new_ones_are_there(projected_story, conn):
    newer = replace(issues.issues, version=issues.issues.version + 1)
    installed.create(conn, [newer], projected_story.store.after)

    new = projected_story.issue(projected_story.ids["acme"], "After")
    while positions.advance(conn, [newer], projected_story.store.after):
        pass

    assert status_of(conn).is_outdated
    assert status_of(conn).position == projected_story.store.head()
    assert issues.issue(conn, new).title == "After"
    assert rebuild_outdated(conn, [newer], projected_story.store.after) == ["issues"]
    assert status_of(conn).position == projected_story.store.head()


def test_old_rows_in_other_tables_stay_as_they_are_and_hold_up_no_other_read_model(projected_story, conn):
    another = with_index()
    installed.create(conn, [another], projected_story.store.after)
    reached, before = status_of(conn).position, rows(conn, issues.issues)

    projected_story.issue(projected_story.ids["acme"], "After")
    models = [another if model is issues.issues else model for model in catalogue.ALL]
    while positions.advance(conn, models, projected_story.store.after):
        pass

    assert status_of(conn).position == reached
    assert rows(conn, issues.issues) == before
    assert {one.position for one in positions.status(conn) if one.name != "issues"} == {projected_story.store.head()}
    with pytest.raises(positions.Outdated):
        positions.reached(conn, models, all_of_them=True)


def test_an_older_version_that_still_runs_moves_its_rows_until_they_are_replaced_and_the_new_ones_never(
    projected_story, conn
):
    newer = replace(issues.issues, version=issues.issues.version + 1)
    installed.create(conn, [newer], projected_story.store.after)
    projected_story.issue(projected_story.ids["acme"], "Before the swap")
    assert positions.advance(conn, [issues.issues], projected_story.store.after) > 0

    assert rebuild_outdated(conn, [issues.issues], projected_story.store.after) == []  # it is not the installed one
    rebuild_outdated(conn, [newer], projected_story.store.after)
    projected_story.issue(projected_story.ids["acme"], "After the swap")

    assert positions.advance(conn, [issues.issues], projected_story.store.after) == 0
    assert status_of(conn).position < projected_story.store.head()
    assert positions.advance(conn, [newer], projected_story.store.after) > 0


def test_an_older_version_that_still_runs_moves_its_rows_also_if_the_newer_one_has_more_tables_or_indexes(
    projected_story, conn
):
    installed.create(conn, [with_index()], projected_story.store.after)
    projected_story.issue(projected_story.ids["acme"], "Before the swap")

    assert positions.advance(conn, [issues.issues], projected_story.store.after) > 0

    assert status_of(conn).position == projected_story.store.head()
    assert status_of(conn).is_outdated


def test_what_stands_still_is_rebuilt_first_then_what_processes_act_on(projected_story, conn):
    newer = [replace(model, version=model.version + 1) for model in catalogue.ALL]
    newer = [with_index(model) if model.name == "issues" else model for model in newer]
    installed.create(conn, newer, projected_story.store.after)
    acted_on = {model.name for model in catalogue.ALL if model.polled_by is not None}

    rebuilt = rebuild_outdated(conn, newer, projected_story.store.after)

    assert rebuilt[0] == "issues"
    assert set(rebuilt[1 : len(acted_on) + 1]) == acted_on
    assert set(rebuilt) == set(NAMES)


def test_what_another_process_rebuilds_is_left_to_it(projected_story, conn, settings):
    newer = [replace(model, version=model.version + 1) for model in catalogue.ALL]
    installed.create(conn, newer, projected_story.store.after)

    with bootstrap.connect(settings) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('rebuild issues'))")
        rebuilt = rebuild_outdated(conn, newer, projected_story.store.after)

    assert set(rebuilt) == set(NAMES) - {"issues"}
    assert [one.name for one in positions.status(conn) if one.is_outdated] == ["issues"]


def test_a_rebuild_says_in_the_status_how_far_it_is_and_nothing_once_it_is_over_or_cut_off(
    projected_story, conn, settings, monkeypatch
):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 10)
    head, seen = projected_story.store.head(), []

    def look(position):
        with bootstrap.connect(settings) as other:
            seen.append((position, status_of(other).rebuilt_to))
        if len(seen) == 3:
            raise Killed

    with bootstrap.connect(settings) as own, pytest.raises(Killed):
        rebuilds.rebuild(own, issues.issues, projected_story.store.after, look)

    assert 3 == len({reached for reached, _ in seen})
    assert all(0 < reached == shown < head for reached, shown in seen)
    assert status_of(conn).rebuilt_to is None
    rebuilds.rebuild(conn, issues.issues, projected_story.store.after)
    assert (status_of(conn).rebuilt_to, status_of(conn).position) == (None, head)


def test_the_projector_rebuilds_what_is_outdated_while_it_moves_everything_else(projected_story, conn, settings):
    """The rebuild is held up until an event that was recorded after it began is shown by another read model."""
    is_shown = threading.Event()

    def fold(recorded, folded_rows):
        assert is_shown.wait(30)
        issues.issues.fold(recorded, folded_rows)

    another = replace(with_index(), fold=fold)
    others = [name for name in NAMES if name != "issues"]
    models = [another if model is issues.issues else model for model in catalogue.ALL]
    installed.create(conn, models, projected_story.store.after)
    stop = threading.Event()
    running = projectors.Projector(models, projected_story.store.after)
    thread = threading.Thread(
        target=projectors.run, args=(running, lambda: bootstrap.connect(settings), stop), kwargs={"outage": Outage()}
    )
    thread.start()
    try:
        wait_for(lambda: schemas_left_behind(conn), limit_s=30)
        new = projected_story.issue(projected_story.ids["acme"], "After")
        positions.wait(conn, others, 30)
        assert issues.issue(conn, new) is None
        assert status_of(conn).is_outdated
        is_shown.set()
        wait_for(lambda: not status_of(conn).is_outdated, limit_s=30)
        positions.wait(conn, NAMES, 30)
    finally:
        is_shown.set()
        stop.set()
        thread.join()

    assert issues.issue(conn, new).title == "After"
    assert schemas_left_behind(conn) == []


def test_a_read_model_that_cannot_be_rebuilt_holds_up_no_other(projected_story, conn):
    before = rows(conn, issues.issues)
    newer = [replace(model, version=model.version + 1) for model in catalogue.ALL]
    broken = [replace(model, schema="CREATE TABLE") if model.name == "issues" else model for model in newer]
    installed.create(conn, broken, projected_story.store.after)

    with capture_logs() as lines:
        rebuilder.Rebuilder(broken, projected_story.store.after, threading.Event()).rebuild(conn)

    assert [one.name for one in positions.status(conn) if one.is_outdated] == ["issues"]
    assert [line["read_model"] for line in lines if line["event"] == "rebuild_failed"] == ["issues"]
    assert len([line for line in lines if line["event"] == "read_model_rebuilt"]) == len(NAMES) - 1
    assert rows(conn, issues.issues) == before


def test_a_projector_that_is_told_to_stop_leaves_a_rebuild_half_way(projected_story, conn, monkeypatch):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 50)
    newer = replace(issues.issues, version=issues.issues.version + 1)
    installed.create(conn, [newer], projected_story.store.after)
    stop = threading.Event()
    stop.set()

    with pytest.raises(rebuilder.Stopped):
        rebuilder.Rebuilder([newer], projected_story.store.after, stop).rebuild(conn)

    assert status_of(conn).is_outdated
    assert status_of(conn).rebuilt_to is None
