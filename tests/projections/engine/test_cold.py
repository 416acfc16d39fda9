"""Rows of what has been over for long leave the hot tables; whoever asks for them is answered as before."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from psycopg.sql import SQL
from structlog.testing import capture_logs

from application.request_bodies.issues import CommentDraft
from application.use_cases.board import issues as issue_use_cases
from processes import cold_rows
from processes.cold_rows import ColdRowMover
from projections import catalogue, exports, log_views
from projections.audit import as_of
from projections.board import comments, issues
from projections.delivery import delivery_history
from projections.engine import cold, installed, positions, rebuilds, verification
from projections.engine.maintenance import execute_on
from projections.firing import occurrences, past_runs, run_history
from projections.routines import routine_list, routines
from routines import bootstrap
from tests.projections.audit.test_as_of import past_at
from tests.projections.story import all_folded, rows

AGEING = [model for model in catalogue.ALL if cold.cold_tables(model)]
PERIOD = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


class Killed(Exception):
    """What moves rows was cut off."""


def move_all(conn, model, until=None):
    """What a projector does in the course of time."""
    while cold.move(conn, model, positions.reached(conn, [model]) if until is None else until):
        pass


def ids_in(conn, place, where="true"):
    query = SQL("SELECT id FROM {} WHERE {}").format(SQL(place), SQL(where))
    return {id_ for (id_,) in conn.execute(query)}


def hot_ids(conn, model):
    return {table.name: ids_in(conn, f"ONLY {table.name}") for table in model.tables}


def answers(conn, story):
    """Everything that is asked of the read models whose rows become old."""
    acme, routine, issue = (story.ids[name] for name in ("acme", "joins", "first"))
    runs, listed = ids_in(conn, "run"), issues.page(conn, acme, issues.Filters())
    schedules = sorted(ids_in(conn, "schedule"))
    filters = [
        run_history.ALL,
        run_history.Filters(status=("completed", "coalesced")),
        run_history.Filters(source=("schedule",)),
    ]
    of_company = [
        run_history.CompanyFilters(),
        run_history.CompanyFilters(status=("failed", "completed")),
        run_history.CompanyFilters(routine_id=routine),
    ]
    head = story.store.head()
    return {
        "runs": [run_history.recent_runs(conn, routine, 3, filters=one) for one in filters],
        "older runs": [run_history.recent_runs(conn, routine, 3, before=head // 2, filters=one) for one in filters],
        "runs of the company": [run_history.of_company(conn, acme, one, PERIOD, 100) for one in of_company],
        "places of runs": [
            (run_history.place(conn, acme, run), run_history.position(conn, routine, run)) for run in sorted(runs)
        ],
        "detail": routines.detail(conn, routine),
        "routines": routine_list.page(conn, acme),
        "ledger": [occurrences.rows_within(conn, one, PERIOD, after=None, limit=100) for one in schedules],
        "latest": [occurrences.latest_occurrence(conn, one) for one in schedules],
        "what replays": sorted(past_runs.runs(conn, routine, *PERIOD, 100)),
        "issues": listed,
        "done issues": issues.page(conn, acme, issues.Filters(statuses=["done", "cancelled"])),
        "found issues": issues.page(conn, acme, issues.Filters(text="joins")),
        "each issue": [
            (issues.find_by_identifier(conn, one.identifier), issues.ancestors(conn, one.id)) for one in listed
        ],
        "comments": [comments.page(conn, issue, newest_first=newest, limit=10) for newest in (True, False)],
        "newest comment": comments.cursor(conn, issue),
        "deliveries": delivery_history.of_company(conn, acme, 100),
        "dead deliveries": delivery_history.of_company(conn, acme, 100, status="dead"),
        "the past": [
            (
                as_of.runs(past_at(conn, position), routine, run_history.ALL, None, 100, 2**20),
                as_of.issue_page(past_at(conn, position), acme, issues.Filters(), 2**20),
            )
            for position in (head // 2, head)
        ],
        **{
            f"analytics.{view}": sorted(conn.execute(f"SELECT v::text FROM analytics.{view} v"))
            for view in exports.VIEWS
        },
    }


def test_what_is_over_leaves_the_hot_tables_and_what_is_not_stays(projected_story, conn, story_databases):
    by_event = {one.stream_id for one in story_databases.log}
    for model in AGEING:
        move_all(conn, model)

        moved = [table for table in model.tables if table.over]
        for table in moved:
            assert ids_in(conn, f"{table.name}_cold") == ids_in(conn, table.name, table.over) & by_event, table.name
            assert ids_in(conn, f"{table.name}_cold").isdisjoint(ids_in(conn, f"ONLY {table.name}")), table.name
        assert any(ids_in(conn, f"{table.name}_cold") for table in moved), model.name


def test_a_comparison_with_the_log_finds_no_difference_and_a_rebuild_keeps_what_is_cold(projected_story, conn):
    read = projected_story.store.after
    for model in AGEING:
        before = rows(conn, model)
        move_all(conn, model, projected_story.store.head() // 2)
        hot = hot_ids(conn, model)

        assert verification.verify(conn, model, read) == []
        rebuilds.rebuild(conn, model, read)

        assert rows(conn, model) == before, model.name
        assert hot_ids(conn, model) == hot, model.name
        assert verification.verify(conn, model, read) == []


def test_every_question_is_answered_as_before(projected_story, conn):
    installed.define_views(conn, catalogue.ALL, log_views.OF_LOG)
    before = answers(conn, projected_story)

    for model in AGEING:
        move_all(conn, model)

    for name, answer in answers(conn, projected_story).items():
        assert answer == before[name], name


def test_however_often_rows_move_while_the_log_is_folded_they_are_the_same(told_story, conn, story_databases):
    """So an event that changes a row finds it wherever it is."""
    read, log = told_story.store.after, story_databases.log
    while positions.advance(conn, AGEING, read, 5):
        for model in AGEING:
            move_all(conn, model)

    at_once = all_folded(conn, AGEING, log, len(log))
    for model in AGEING:
        assert rows(conn, model) == at_once[model.name], model.name
        assert verification.verify(conn, model, read) == []


def test_an_old_issue_that_is_opened_again_is_hot_again_with_its_comments(projected_story, conn):
    story, model = projected_story, issues.issues
    first = story.ids["first"]
    story.patch(first, status="done")
    while positions.advance(conn, [model], story.store.after):
        pass
    before = comments.page(conn, first, newest_first=False, limit=10)
    move_all(conn, model)
    assert first in ids_in(conn, "issue_cold")
    assert before
    assert {one.id for one in before} <= ids_in(conn, "comment_cold")

    story.ask(issue_use_cases.comment, first, CommentDraft(body="Once more"), None)
    story.patch(first, status="todo")
    while positions.advance(conn, [model], story.store.after):
        pass

    assert first in ids_in(conn, "ONLY issue") - ids_in(conn, "issue_cold")
    assert issues.issue(conn, first).status == "todo"
    *earlier, newest = comments.page(conn, first, newest_first=False, limit=10)
    assert (earlier, newest.body) == (before, "Once more")
    assert verification.verify(conn, model, story.store.after) == []
    story.patch(first, status="done")
    while positions.advance(conn, [model], story.store.after):
        pass
    move_all(conn, model)
    assert first in ids_in(conn, "issue_cold") - ids_in(conn, "ONLY issue")


def test_a_query_for_what_is_open_does_not_look_at_what_is_cold(projected_story, conn):
    move_all(conn, issues.issues)

    query = "EXPLAIN SELECT doc FROM issue WHERE origin_id = %s AND is_open ORDER BY changed DESC LIMIT 1"
    plan = conn.execute(query, (projected_story.ids["joins"],)).fetchall()

    assert "issue_cold" not in str(plan)


def test_a_row_that_is_both_hot_and_cold_is_found_by_a_comparison(projected_story, conn):
    move_all(conn, run_history.run_history)
    (twice,) = conn.execute("SELECT id FROM run_cold LIMIT 1").fetchone()
    conn.execute("INSERT INTO run SELECT * FROM run_cold WHERE id = %s", (twice,))

    (difference,) = verification.verify(conn, run_history.run_history, projected_story.store.after)

    assert (difference.table, difference.unexpected, difference.examples) == ("run", 1, (twice,))


def test_only_what_lies_before_the_age_moves_and_only_once(projected_story, conn):
    log = list(projected_story.store.history())
    until = log[len(log) // 2].position

    move_all(conn, run_history.run_history, until)

    late = {one.stream_id for one in log if one.position > until}
    assert ids_in(conn, "run_cold") == ids_in(conn, "run", run_history.RUN.over) - late
    assert not cold.move(conn, run_history.run_history, until)
    assert conn.execute(cold.COLD_TO, ("run_history",)).fetchone() == (until,)


def test_what_began_long_ago_and_ended_lately_stays_hot(projected_story, conn):
    by_run = defaultdict[UUID, list[int]](list)
    for one in projected_story.store.history():
        by_run[one.stream_id].append(one.position)
    over = ids_in(conn, "run", "doc->>'status' = 'completed'")
    run = min(over, key=lambda id_: by_run[id_][0])
    began, *_, ended = by_run[run]

    move_all(conn, run_history.run_history, ended - 1)
    assert run in ids_in(conn, "ONLY run")
    assert conn.execute(cold.COLD_TO, ("run_history",)).fetchone() >= (began,)

    move_all(conn, run_history.run_history, ended)
    assert run in ids_in(conn, "run_cold")


def test_the_cold_tables_are_there_before_anything_moves_into_them(projected_story, conn, settings):
    """So a query that was planned before finds everything in the hot ones."""
    with bootstrap.connect(settings) as other:
        assert cold.move(other, issues.issues, projected_story.store.head())

    assert ids_in(conn, "issue_cold") | ids_in(conn, "comment_cold") == set()
    assert conn.execute(cold.COLD_TO, ("issues",)).fetchone() == (0,)


@pytest.mark.parametrize("lost", ["TABLE run_cold", "INDEX run_cold_routine_id_position_idx"])
def test_a_cold_table_or_its_index_that_a_restore_has_lost_is_made_anew(projected_story, conn, lost):
    before, read = rows(conn, run_history.run_history), projected_story.store.after
    for model in AGEING:
        move_all(conn, model)
    assert installed.create(conn, catalogue.ALL, read) == []

    conn.execute(f"DROP {lost}")

    assert installed.create(conn, catalogue.ALL, read) == ["run_history"]
    rebuilds.rebuild(conn, run_history.run_history, read)
    assert rows(conn, run_history.run_history) == before
    assert installed.create(conn, catalogue.ALL, read) == []


def test_a_rebuild_takes_the_time_that_writing_its_hot_tables_anew_takes(projected_story, conn, monkeypatch):
    limits = []

    def noting_the_limit(on, statement, *names):
        limits.append(on.execute("SHOW statement_timeout").fetchone())
        execute_on(on, statement, *names)

    monkeypatch.setattr(cold, "execute_on", noting_the_limit)
    move_all(conn, issues.issues)
    usual = conn.execute("SHOW statement_timeout").fetchone()

    rebuilds.rebuild(conn, issues.issues, projected_story.store.after)

    assert limits == [("0",), ("0",)]
    assert conn.execute("SHOW statement_timeout").fetchone() == usual != ("0",)


def test_a_table_that_somebody_vacuums_gets_its_cold_one_later(projected_story, conn, settings):
    conn.execute("SET lock_timeout = '10ms'")
    with bootstrap.connect(settings) as other, other.transaction():
        other.execute("LOCK TABLE run IN SHARE UPDATE EXCLUSIVE MODE")
        ColdRowMover(timedelta(0)).step(conn, [run_history.run_history])
        assert conn.execute("SELECT to_regclass('run_cold')").fetchone() == (None,)

    ColdRowMover(timedelta(0)).step(conn, [run_history.run_history])

    assert ids_in(conn, "run_cold") == set()


def test_the_age_is_counted_by_the_time_at_which_events_were_recorded(projected_story, conn):
    assert cold.last_position_before(conn, timedelta(0)) == projected_story.store.head()
    assert cold.last_position_before(conn, timedelta(days=1)) == 0


def test_what_the_read_model_has_not_folded_yet_does_not_move(told_story, conn):
    positions.advance(conn, [run_history.run_history], told_story.store.after, 100)

    move_all(conn, run_history.run_history, told_story.store.head())

    assert conn.execute(cold.COLD_TO, ("run_history",)).fetchone() == (100,)


def test_a_read_model_that_somebody_folds_is_left_for_the_next_time(projected_story, conn, settings):
    with bootstrap.connect(settings) as other, other.transaction():
        other.execute("SELECT FROM positions WHERE name = 'run_history' FOR UPDATE")
        assert not cold.move(conn, run_history.run_history, projected_story.store.head())

    assert cold.move(conn, run_history.run_history, projected_story.store.head())


def test_rows_of_another_version_do_not_move(projected_story, conn):
    conn.execute("UPDATE positions SET shape = 'another' WHERE name = 'run_history'")

    assert not cold.move(conn, run_history.run_history, projected_story.store.head())


def test_a_move_that_is_cut_off_moves_nothing_and_the_next_one_does_it(projected_story, conn, settings, monkeypatch):
    before, move = rows(conn, issues.issues), cold._execute_on

    def cut_off(statement, table):
        if statement == cold.MOVE and table is comments.COMMENT:  # the issues have moved already
            raise Killed
        return move(statement, table)

    monkeypatch.setattr(cold, "_execute_on", cut_off)
    with bootstrap.connect(settings) as own, pytest.raises(Killed):
        move_all(own, issues.issues)
    assert rows(conn, issues.issues) == before
    assert conn.execute(cold.COLD_TO, ("issues",)).fetchone() == (0,)

    monkeypatch.undo()
    move_all(conn, issues.issues)
    assert rows(conn, issues.issues) == before
    assert ids_in(conn, "issue_cold")


def test_a_rebuild_that_is_killed_while_it_moves_rows_goes_on(projected_story, conn, settings, monkeypatch):
    monkeypatch.setattr(cold, "SPAN", 20)
    model, read = run_history.run_history, projected_story.store.after
    move_all(conn, model)
    before, hot, head = rows(conn, model), hot_ids(conn, model), projected_story.store.head()
    progress = []

    def kill(position):
        progress.append(position)
        if progress.count(head) == 3:  # once for the fold, then for each part that has moved
            raise Killed

    with bootstrap.connect(settings) as own, pytest.raises(Killed):
        rebuilds.rebuild(own, model, read, kill)
    assert (rows(conn, model), hot_ids(conn, model)) == (before, hot)
    projected_story.fire(projected_story.ids["joins"])
    rebuilds.rebuild(conn, model, read)

    assert hot_ids(conn, model)["run"] - hot["run"] == ids_in(conn, "run") - {
        UUID(row["id"]) for row in decode_rows(before)
    }
    assert verification.verify(conn, model, read) == []
    move_all(conn, model)
    assert verification.verify(conn, model, read) == []


def decode_rows(rows_by_table):
    return [msgspec.json.decode(row) for row in rows_by_table["run"]]


def test_rows_that_cannot_move_are_left_with_one_line_in_the_log_and_others_move(projected_story, conn, monkeypatch):
    monkeypatch.setattr(cold, "SPAN", 50)
    move_all(conn, run_history.run_history)
    conn.execute("INSERT INTO run SELECT * FROM run_cold")
    conn.execute("UPDATE positions SET cold_to = 0 WHERE name = 'run_history'")
    monkeypatch.setattr(cold_rows, "COLD_REST", 0)
    mover = ColdRowMover(timedelta(0))

    with capture_logs() as logs:
        while mover.step(conn, [run_history.run_history, issues.issues]) < cold_rows.COLD_CHECK_S:
            pass

    assert [("old_rows_not_moved", "run_history")] == [(line["event"], line["read_model"]) for line in logs]
    assert ids_in(conn, "issue_cold")


def test_a_rebuild_makes_all_rows_hot_once_it_is_told_that_none_are_cold(projected_story, conn):
    before = rows(conn, issues.issues)
    move_all(conn, issues.issues)

    conn.execute("UPDATE positions SET cold_to = 0 WHERE name = 'issues'")
    rebuilds.rebuild(conn, issues.issues, projected_story.store.after)

    assert rows(conn, issues.issues) == before
    assert conn.execute("SELECT to_regclass('issue_cold'), to_regclass('comment_cold')").fetchone() == (None, None)
    assert ids_in(conn, "ONLY issue") == ids_in(conn, "issue")


def test_a_projector_without_an_age_moves_nothing(projected_story, conn):
    ColdRowMover(None).step(conn, AGEING)

    assert conn.execute("SELECT max(cold_to) FROM positions").fetchone() == (0,)


def test_a_projector_moves_a_part_of_each_model_at_a_time_and_rests_in_between(projected_story, conn, monkeypatch):
    monkeypatch.setattr(cold, "SPAN", 50)
    for model in AGEING:
        cold.move(conn, model, 1)  # makes the tables
    mover = ColdRowMover(timedelta(0))

    rest_s = mover.step(conn, AGEING)

    assert rest_s > 0
    assert mover.step(conn, AGEING) <= rest_s
    assert [(name,) for name in sorted(model.name for model in AGEING)] == conn.execute(
        "SELECT name FROM positions WHERE cold_to = 50 ORDER BY name"
    ).fetchall()
