"""A rebuild that is killed or cut off changes nothing, and goes on where it was."""

import psycopg
import pytest
from msgspec.structs import replace

from domain.events import RunFired
from projections.board import issues
from projections.board.directory import directory
from projections.engine import folding_aside, isolation, maintenance, positions, rebuilds
from projections.firing import run_history
from routines import bootstrap
from tests.projections.engine.rebuild_checks import ALL, Killed, schemas_left_behind, searched_schemas
from tests.projections.sharing import SHARED
from tests.projections.story import rows


@SHARED
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
    assert schemas_left_behind(conn) == []


def test_a_connection_on_which_a_rebuild_was_killed_still_finds_the_rows(projected_story, conn, monkeypatch):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 50)

    def kill(position):
        raise Killed

    with pytest.raises(Killed):
        rebuilds.rebuild(conn, issues.issues, projected_story.store.after, kill)

    assert searched_schemas(conn) == ["read_models"]
    assert len(issues.page(conn, projected_story.ids["acme"], issues.Filters())) > 1


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


@SHARED
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


@SHARED
def test_a_rebuild_of_which_a_table_is_gone_begins_anew(projected_story, conn, settings, monkeypatch):
    monkeypatch.setattr(folding_aside, "REBUILD_BATCH", 20)
    before = rows(conn, run_history.run_history)

    def kill(_position):
        raise Killed

    with bootstrap.connect(settings) as own, pytest.raises(Killed):
        rebuilds.rebuild(own, run_history.run_history, projected_story.store.after, kill)
    (schema,) = schemas_left_behind(conn)
    conn.execute(f"DROP TABLE {schema}.run")
    rebuilds.rebuild(conn, run_history.run_history, projected_story.store.after)

    assert rows(conn, run_history.run_history) == before


@SHARED
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


def test_a_rebuild_that_is_killed_as_it_ends_is_in_nobodys_way(projected_story, conn, settings, monkeypatch):
    """What it swapped in is no longer beside it: so nothing may be left that the next one would go on with."""
    before = rows(conn, run_history.run_history)

    def kill(connection, statement, *schemas):
        if statement.startswith("DROP SCHEMA {0}"):
            raise Killed
        maintenance.execute_on(connection, statement, *schemas)

    monkeypatch.setattr(rebuilds, "execute_on", kill)
    with bootstrap.connect(settings) as own, pytest.raises(Killed):
        rebuilds.rebuild(own, run_history.run_history, projected_story.store.after)
    monkeypatch.undo()
    rebuilds.rebuild(conn, run_history.run_history, projected_story.store.after)

    assert rows(conn, run_history.run_history) == before
