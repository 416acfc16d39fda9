"""Rows as of a position or a moment are made in a schema of their own."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from click.testing import CliRunner

from projections.board import issues
from projections.engine import maintenance, moments, past_rows
from projections.engine.rows_in_memory import fold_in_memory
from projections.firing import run_history
from routines import bootstrap
from routines.cli import main
from tests.projections.sharing import SHARED
from tests.projections.story import rows


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
    assert CliRunner().invoke(main, [*arguments, f"00{len(log)}"], env=env).exit_code == 0  # goes on to a later one
    assert conn.execute("SELECT count(*) FROM noon.run").fetchone() == (len(before["run"]),)
    other = CliRunner().invoke(main, ["projections", "rebuild", "issues", "--into", "noon"], env=env)
    assert (other.exit_code, "perhaps by another read model" in other.output) == (1, True)
    assert conn.execute("SELECT count(*) FROM noon.run").fetchone() == (len(before["run"]),)


def test_a_schema_that_another_read_model_got_meanwhile_is_left_alone(projected_story, system, conn, monkeypatch):
    """Two commands began at once with the same new schema, and one of them waited for the other."""
    head, hold_lock = projected_story.store.head(), maintenance.hold_lock

    @contextmanager
    def hold_lock_later(*arguments):
        monkeypatch.undo()
        with bootstrap.connect(system.settings) as other:
            past_rows.fold_into(other, run_history.run_history, projected_story.store.after, "noon", head)
        with hold_lock(*arguments):
            yield

    monkeypatch.setattr(past_rows, "hold_lock", hold_lock_later)

    with pytest.raises(past_rows.SchemaTaken):
        past_rows.fold_into(conn, issues.issues, projected_story.store.after, "noon", head)

    assert conn.execute("SELECT count(*) > 0 FROM noon.run").fetchone() == (True,)


@SHARED
def test_a_moment_is_the_last_position_that_was_recorded_by_then(projected_story, conn):
    recorded = conn.execute("SELECT position, recorded_at FROM log.events ORDER BY position").fetchall()
    for place in (0, len(recorded) // 2, len(recorded) - 1):
        moment = recorded[place][1]
        assert moments.position_at(conn, moment) == max(position for position, at in recorded if at <= moment)
    assert moments.position_at(conn, recorded[0][1] - timedelta(seconds=1)) == 0


def test_a_moment_stays_the_same_position_while_the_log_grows_where_the_clock_was_set_back(told_story, admin_url):
    start = datetime(2026, 3, 2, tzinfo=UTC)
    with psycopg.connect(admin_url) as admin:
        admin.execute("ALTER TABLE log.events DISABLE TRIGGER ALL")
        admin.execute("ALTER TABLE log.head DISABLE TRIGGER ALL")
        # Each tenth event is recorded 52 s before the one before it, and the others 7 s after theirs.
        admin.execute(
            "UPDATE log.events SET recorded_at = %s + make_interval(secs => 7 * position - 59 * div(position, 10))",
            (start,),
        )
        recorded = dict(admin.execute("SELECT position, recorded_at FROM log.events ORDER BY position").fetchall())
        positions = [(moment, moments.position_at(admin, moment)) for moment in [*recorded.values()][:100]]
        for moment, position in positions:
            assert recorded[position] <= moment < recorded[position + 1]
        for end in range(150, 200, 7):
            with admin.transaction(force_rollback=True):
                admin.execute("DELETE FROM log.events WHERE position > %s", (end,))
                admin.execute("UPDATE log.head SET position = %s", (end,))
                assert positions == [(moment, moments.position_at(admin, moment)) for moment, _ in positions]


@SHARED
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
