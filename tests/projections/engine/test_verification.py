"""The rows that are there are compared with those that the log gives."""

import pytest
from click.testing import CliRunner

from projections import catalogue
from projections.board import issues
from projections.engine import positions, verification
from projections.firing import run_history
from routines import bootstrap
from routines.cli import main
from tests.projections.engine.rebuild_checks import searched_schemas
from tests.projections.sharing import SHARED
from tests.projections.story import rows


@SHARED
def test_rows_that_are_as_the_log_gives_them_are_verified(projected_story, conn):
    for model in catalogue.ALL:
        assert verification.verify(conn, model, projected_story.store.after) == []
    assert conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'verifying%'").fetchone() == (0,)
    assert searched_schemas(conn) == ["read_models"]


def test_rows_that_differ_are_reported_and_left_alone(projected_story, conn, settings):
    (lost,) = conn.execute("DELETE FROM run WHERE id = (SELECT min(id::text)::uuid FROM run) RETURNING id").fetchone()
    conn.execute("UPDATE run SET position = 0 WHERE id = (SELECT max(id::text)::uuid FROM run)")
    conn.execute(
        "INSERT INTO run SELECT gen_random_uuid(), company_id, routine_id, 1, until, triggered_at, NULL, NULL, status, source, doc "
        "FROM run LIMIT 1"
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
