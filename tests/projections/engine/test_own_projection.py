"""A projection of somebody's own: it catches up, follows, starts again where it was, and stops alone."""

import os
import re
import sys
import threading
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from domain.events import AgentCreated, IssueOpened, RunCompleted, RunFailed
from domain.values import AgentProfile, IssueDetails
from examples import success_rate as example
from processes import own_projection as runner
from projections.engine import own_projection, positions
from projections.engine.table import Table
from projections.routines.routines import routines
from routines import analysis, bootstrap
from routines.analysis import History, fold_in_memory
from routines.cli import main
from tests.projections.sharing import SHARED
from tests.projections.story import START
from tests.waiting import wait_for

PLOT = "docs/plots/success-rate.svg"
FILE = "examples/success_rate.py:success_rate"
MODEL = example.success_rate


def command(system, *arguments):
    return CliRunner().invoke(
        main, ["projections", "run", *arguments], env={"ROUTINES_DATABASE_URL": system.settings.database_url}
    )


def runs_of(conn, schema="own_success_rate"):
    return conn.execute(f"SELECT id, agent_id, ended_on, completed FROM {schema}.agent_run ORDER BY id").fetchall()


def expected_rows(history):
    rows = fold_in_memory(MODEL, history).all(example.AGENT_RUN)
    return [(row.id, row.agent_id, row.ended_on, row.completed) for row in rows]


def schemas(conn):
    schema_rows = conn.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE '%own\\_%' ORDER BY 1").fetchall()
    return [name for (name,) in schema_rows]


@pytest.fixture
def connect(system):
    return lambda: bootstrap.connect_own_projection(system.settings)


@pytest.fixture
def endless_wait():
    return threading.Event()


def record_ended_run(history, agent_id, day, event):
    run_id = uuid4()
    opened = IssueOpened(details=IssueDetails(title="Do", assignee_agent_id=agent_id), status="todo", run_id=run_id)
    history.record(opened, at=day)
    history.record(event, run_id, at=day + timedelta(hours=1))


@pytest.fixture
def fortnight():
    """Two agents with two runs a day each, of which one gets better and one does not."""
    history, first = History(), datetime(2026, 11, 1, 9, tzinfo=START.tzinfo)
    agents = [
        history.record(AgentCreated(profile=AgentProfile(name=name), url_key=name.lower())).stream_id
        for name in ("Scout", "Clerk & Co")
    ]
    for day in range(14):
        for place, agent_id in enumerate(agents):
            for turn in range(4):
                is_good = turn * 4 < day + 2 if place == 0 else (day + turn) % 3 > 0
                event = RunCompleted() if is_good else RunFailed(reason="exit status 1")
                record_ended_run(history, agent_id, first + timedelta(days=day, minutes=turn), event)
    return history


def test_a_projection_is_tried_on_a_history_without_a_database():
    history, agent_id, run_id = History(), uuid4(), UUID(int=7)
    event = IssueOpened(details=IssueDetails(title="Do", assignee_agent_id=agent_id), status="todo", run_id=run_id)
    history.record(event)
    history.record(RunFailed(reason="exit status 1"), run_id)
    history.record(RunCompleted(), run_id, at=datetime(2026, 3, 1, tzinfo=START.tzinfo))

    rows = fold_in_memory(MODEL, history)

    (row,) = rows.all(example.AGENT_RUN)
    assert (row.agent_id, row.ended_on, row.completed) == (agent_id, date(2026, 3, 1), True)
    assert [recorded.version for recorded in history] == [1, 1, 2]


def test_the_example_makes_its_plot(conn, connect, fortnight, root):
    """`UPDATE_PLOTS=1` writes the picture of the docs anew."""
    with connect() as own:
        own_projection.open_schema(own, MODEL)
        own_projection.fold(own, MODEL, fortnight)
        own_projection.arrive(own, MODEL, 0)

    picture = example.plot(conn.execute(example.DAILY).fetchall())

    write_or_compare(root / PLOT, picture)
    assert example.plot([]).startswith("<svg")


def write_or_compare(path, text):
    if "UPDATE_PLOTS" in os.environ:
        path.write_text(text)
    assert path.read_text() == text


def test_the_command_folds_the_log_beside_our_read_models(told_story, system, conn):
    done = command(system, FILE, "--once")

    assert done.exit_code == 0, done.output
    assert f"own_success_rate holds the log up to position {told_story.store.head()}" in done.output
    assert runs_of(conn) == expected_rows(told_story.store.history()) != []


def test_a_second_run_goes_on_where_the_first_ended(told_story, connect, endless_wait):
    with connect() as own:
        runner.catch_up(own, MODEL, endless_wait)
    told_story.agent(told_story.company("More"), "Late")
    folded = []
    with connect() as own:
        runner.catch_up(own, replace(MODEL, fold=lambda recorded, _: folded.append(recorded.name)), endless_wait)

    assert folded == ["agent.created"]


def test_it_follows_the_log_until_it_is_stopped(told_story, system, conn, connect, endless_wait):
    reached = []
    thread = threading.Thread(
        target=runner.follow, args=(connect, MODEL, endless_wait, lambda position, _: reached.append(position))
    )
    thread.start()
    try:
        wait_for(lambda: told_story.store.head() in reached)
        told_story.agent(told_story.company("More"), "Late")
        wait_for(lambda: told_story.store.head() in reached)
    finally:
        endless_wait.set()
        thread.join()
    assert conn.execute("SELECT count(*) FROM own_success_rate.agent WHERE name = 'Late'").fetchone() == (1,)


def test_an_event_that_it_cannot_take_stops_it_alone_and_is_named(told_story, system, conn, tmp_path):
    bad = [recorded for recorded in told_story.store.history() if isinstance(recorded.event, RunFailed)][1]
    file = tmp_path / "fragile.py"
    text = Path("examples/success_rate.py").read_text()
    file.write_text(
        text.replace(
            "    match recorded.event:",
            f"    if recorded.position == {bad.position}:\n        raise ValueError('not this one')\n    match recorded.event:",
        )
    )

    done = command(system, f"{file}:success_rate", "--once")

    assert done.exit_code == 1
    assert (
        f"stopped before event {bad.position} (run.failed of stream {bad.stream_id}, version {bad.version})"
        in done.output
    )
    assert "ValueError: not this one (fragile.py, line " in done.output
    so_far = [recorded for recorded in told_story.store.history() if recorded.position < bad.position]
    assert runs_of(conn, "next_own_success_rate") == expected_rows(so_far)
    assert conn.execute("SELECT stopped_at FROM next_own_success_rate.projection_progress").fetchone() == (
        bad.position,
    )
    assert positions.advance(conn, [routines], told_story.store.after) > 0

    file.write_text(text)
    assert command(system, f"{file}:success_rate", "--once").exit_code == 0
    assert runs_of(conn) == expected_rows(told_story.store.history())


def test_sql_that_postgres_refuses_stops_it_too(told_story, connect, endless_wait):
    def fold(recorded, rows):
        rows.execute("DELETE FROM nowhere WHERE id = %s", (recorded.stream_id,))

    with connect() as own, pytest.raises(own_projection.CannotFold, match="UndefinedTable"):
        runner.catch_up(own, replace(MODEL, fold=fold), endless_wait)


def test_a_new_version_is_folded_beside_the_old_rows(told_story, conn, connect, endless_wait):
    with connect() as own:
        runner.catch_up(own, MODEL, endless_wait)
    before, newer = runs_of(conn), replace(MODEL, version=2, fold=lambda *_: None)

    with connect() as own:
        own_projection.open_schema(own, newer)
        assert schemas(conn) == ["next_own_success_rate", "own_success_rate"]
        assert runs_of(conn) == before
        runner.catch_up(own, newer, endless_wait)

    assert (schemas(conn), runs_of(conn)) == (["own_success_rate"], [])


def test_rows_of_a_log_that_has_lost_its_end_are_folded_anew(told_story, conn, connect, endless_wait):
    with connect() as own:
        runner.catch_up(own, MODEL, endless_wait)
    conn.execute("UPDATE own_success_rate.projection_progress SET position = position + 1000")

    with connect() as own:
        assert own_projection.open_schema(own, MODEL) == 0


def test_rebuild_folds_the_whole_log_anew(told_story, system, conn, connect, endless_wait):
    with connect() as own:
        runner.catch_up(own, MODEL, endless_wait)
    conn.execute("DELETE FROM own_success_rate.agent_run")

    assert command(system, FILE, "--once", "--rebuild", "--json").exit_code == 0

    assert runs_of(conn) == expected_rows(told_story.store.history())


def test_one_process_moves_a_projection_at_a_time(told_story, system, connect):
    with connect() as other, own_projection.hold_projection(other, MODEL):
        done = command(system, FILE, "--once")

    assert (done.exit_code, "already" in done.output) == (1, True)


@SHARED
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("success_rate.py", "say it as FILE:NAME"),
        ("nowhere.py:success_rate", "no such file"),
        ("examples/success_rate.py:fold", "no ReadModel"),
        ("Makefile:one", "ending .py"),
    ],
)
def test_a_source_that_is_none_is_refused_in_a_sentence(told_story, system, source, said):
    done = command(system, source)

    assert (done.exit_code, said in done.output) == (1, True), done.output


def test_a_file_may_be_called_as_a_library_is(told_story, system, tmp_path):
    file = tmp_path / "colorsys.py"
    file.write_text(Path("examples/success_rate.py").read_text())

    assert command(system, f"{file}:success_rate", "--once").exit_code == 0
    assert getattr(sys.modules.get("colorsys"), "__file__", None) != str(file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "Rates; DROP"}, "begins with a letter"),
        ({"name": None}, "`name` has to be str"),
        ({"schema": None}, "`schema` has to be str"),
        ({"tables": [example.AGENT]}, "`tables` has to be tuple"),
        ({"tables": ("agent",)}, "a tuple of Table"),
        ({"tables": (Table("agent", example.AgentRow, over="true"),)}, "take `over` out of the table agent"),
        ({"version": "2"}, "`version` has to be int"),
        ({"events": frozenset()}, "or absent for all of them"),
        ({"events": (RunFailed,)}, "`events` has to be a frozenset"),
        ({"events": frozenset({RunFailed, int})}, "<class 'int'> is no kind of event"),
        ({"polled_by": "scheduler"}, "`polled_by` is for the read models of Routines alone"),
    ],
)
def test_a_model_that_is_not_whole_or_would_be_ignored_in_part_is_refused(change, said):
    assert own_projection.find_fault(MODEL) is None
    assert said in own_projection.find_fault(replace(MODEL, **change))


@SHARED
def test_the_fault_of_a_model_is_said_with_its_file(told_story, system, tmp_path):
    file = tmp_path / "rates.py"
    file.write_text(Path("examples/success_rate.py").read_text().replace('name="success_rate"', 'name="Success Rate"'))

    done = command(system, f"{file}:success_rate")

    assert (done.exit_code, f"{file}: the name of a projection has" in done.output) == (1, True), done.output


@SHARED
def test_a_loop_over_what_is_no_event_is_refused(system):
    with pytest.raises(ValueError, match="is no kind of event"):
        next(analysis.follow(system.settings.database_url, int))


def test_a_login_that_may_read_the_log_and_make_schemas_is_enough(told_story, system, conn, admin_url, endless_wait):
    with bootstrap.OWN_PROJECTION.connect(admin_url) as admin:
        admin.execute(f"GRANT CREATE ON DATABASE {admin.info.dbname} TO routines_auditor")
    settings = replace(system.settings, database_url=admin_url.replace("postgres@", "routines_auditor@"))

    with bootstrap.connect_own_projection(settings) as own:
        assert runner.catch_up(own, MODEL, endless_wait) == told_story.store.head()


@SHARED
def test_five_lines_read_the_log(told_story, system):
    seen = list(analysis.follow(system.settings.database_url, RunCompleted, RunFailed, until_head=True))

    assert [one.name for one in seen] == [
        one.name for one in told_story.store.history() if isinstance(one.event, RunCompleted | RunFailed)
    ]
    later = analysis.follow(system.settings.database_url, after=seen[-1].position)
    assert next(later).position == seen[-1].position + 1
    later.close()


@SHARED
def test_the_programs_of_the_page_work(told_story, system, root, monkeypatch, capsys):
    monkeypatch.syspath_prepend(root / "examples")
    tried, loop, _ = re.findall(r"```python\n(.*?)```", (root / "docs/analytics.md").read_text(), re.DOTALL)
    namespace = {}
    exec(tried, namespace)
    namespace["test_a_run_that_nobody_opened_is_left_out"]()
    loop = loop.replace("postgresql://analyst@localhost/routines", system.settings.database_url)

    exec(loop.replace("after=0", "after=0, until_head=True"), {})

    failed = [one for one in told_story.store.history() if isinstance(one.event, RunFailed)]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [str(one.position) for one in failed]
