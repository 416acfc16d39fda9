"""`routines export`: the log and the views in files, with a manifest; only what is new, and on from where it was cut off."""

import csv
import errno
import fcntl
import hashlib
import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import duckdb
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from projections import catalogue, export_files, exports, log_views
from projections.engine import installed
from projections.exports import VIEWS, Selection
from routines import bootstrap
from routines.cli import main
from routines.commands import export as command
from routines.commands.progress import PositionBar
from tests.projections.sharing import SHARED
from tests.projections.test_analytics import QUESTIONS


@pytest.fixture
def run_export(system, tmp_path):
    def export(*options, url=system.settings.database_url):
        output = tmp_path / "out"
        done = CliRunner().invoke(
            main, ["export", "--output", str(output), *options], env={"ROUTINES_DATABASE_URL": url}
        )
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done, output

    return export


def manifest(output):
    return json.loads((output / "manifest.json").read_text())


def lines(output, view):
    names = [file["name"] for file in manifest(output)["files"] if file["view"] == view]
    return [json.loads(line) for name in names for line in (output / name).read_text().split("\n")[:-1]]


@SHARED
def test_all_events_and_views_are_in_files_that_the_manifest_names(projected_story, run_export, conn):
    done, output = run_export()

    assert done.exit_code == 0, done.output
    about, log = manifest(output), list(projected_story.store.history())
    assert {file["view"] for file in about["files"]} == set(VIEWS)
    assert {path.name for path in output.iterdir()} == {file["name"] for file in about["files"]} | {"manifest.json"}
    for file in about["files"]:
        content = (output / file["name"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
        assert content.count(b"\n") == file["rows"]
    events = lines(output, "events")
    assert [(one["position"], one["name"], one["event"]["type"]) for one in events] == [
        (recorded.position, recorded.name, recorded.name) for recorded in log
    ]
    for view in VIEWS:
        assert len(lines(output, view)) == conn.execute(f"SELECT count(*) FROM analytics.{view}").fetchone()[0]
    assert about["position"] == about["headPosition"] == log[-1].position
    assert about["headHash"] == conn.execute("SELECT hash FROM log.head").fetchone()[0].hex()


@SHARED
@pytest.mark.parametrize("file_format", ["ndjson", "csv", "parquet"])
def test_a_bar_shows_how_many_rows_of_each_view_are_written(projected_story, run_export, monkeypatch, file_format):
    shown = {}
    monkeypatch.setattr(exports, "ROWS_AT_ONCE", 5)
    monkeypatch.setattr(PositionBar, "update", lambda bar, *count: shown.setdefault(bar.name, []).append(count))

    _, output = run_export("--format", file_format)

    for file in manifest(output)["files"]:
        if file["view"] != "events":
            rows = file["rows"]
            written = range(5, rows + 1 + (file_format == "csv"), 5)  # with the line of names
            assert shown[file["view"]] == [(0, rows), *((min(some, rows), rows) for some in written), (rows, rows)]


@SHARED
def test_an_export_for_a_script_shows_no_bar(projected_story, run_export, monkeypatch):
    monkeypatch.setattr(exports, "count_rows", None)

    done, _ = run_export("--view", "runs", "--json")

    assert (done.exit_code, done.stderr) == (0, "")


@pytest.fixture
def upgraded(projected_story, conn):
    """An installation that had no views: two read models are still to be made anew, one of them by a projector that runs."""
    conn.execute("UPDATE positions SET shape = 'other.1' WHERE name IN ('run_history', 'occurrences')")
    conn.execute("UPDATE positions SET rebuilt_to = 7 WHERE name = 'run_history'")
    conn.execute("DROP VIEW analytics.runs, analytics.occurrences")
    installed.define_views(conn, catalogue.ALL, log_views.OF_LOG)
    return projected_story


def test_an_export_of_views_that_are_still_being_made_says_so(upgraded, run_export, admin_url):
    done, output = run_export()

    assert done.exit_code == 1
    assert f"analytics.runs (run_history: up to event 7 of {upgraded.store.head()})" in done.output
    assert "analytics.occurrences (occurrences: not begun)" in done.output
    assert "`routines projections status` shows how far" in done.output
    assert "routines init" not in done.output
    assert not list(output.iterdir())
    assert run_export("--view", "issues", "--view", "events")[0].exit_code == 0
    with bootstrap.READING.connect(admin_url) as conn:
        conn.execute("SET ROLE routines_analyst")
        assert exports.find_unmade_views(conn, ["issues", "runs"], 9) == ["analytics.runs (run_history)"]


def test_an_export_of_a_view_that_somebody_has_dropped_leads_to_init(projected_story, run_export, conn):
    conn.execute("DROP VIEW analytics.runs")

    done, _ = run_export("--view", "runs")

    assert (done.exit_code, "run `routines init`" in done.output) == (1, True)


def test_the_next_export_takes_only_what_is_new(projected_story, run_export):
    run_export("--view", "events")
    before = projected_story.store.head()
    projected_story.company("Another")

    done, output = run_export("--view", "events", "--json")

    spans = [
        (file["afterPosition"], file["untilPosition"]) for file in json.loads(done.output.splitlines()[-1])["files"]
    ]
    assert spans == [(0, before), (before, projected_story.store.head())]
    assert [one["position"] for one in lines(output, "events")] == list(range(1, projected_story.store.head() + 1))


@SHARED
def test_an_export_that_was_cut_off_goes_on_with_the_next_file(projected_story, run_export, monkeypatch):
    monkeypatch.setattr(command, "PART", 20)
    written, add = [], command._add

    def killed(output, manifest, name, *rest):
        if len(written) == 3:
            (output / f"{name}.part").write_text("half a li")
            raise KeyboardInterrupt
        written.append(name)
        add(output, manifest, name, *rest)

    monkeypatch.setattr(command, "_add", killed)
    run_export("--view", "events")
    monkeypatch.setattr(
        command,
        "_add",
        lambda output, manifest, name, *rest: (written.append(name), add(output, manifest, name, *rest)),
    )

    done, output = run_export("--view", "events")

    assert done.exit_code == 0
    assert len(written) == len(set(written)) == -(-projected_story.store.head() // 20)
    assert [one["position"] for one in lines(output, "events")] == list(range(1, projected_story.store.head() + 1))
    assert not list(output.glob("*.part"))


def test_what_was_written_when_an_export_was_killed_is_not_there_twice_afterwards(
    projected_story, run_export, monkeypatch
):
    """Killed after a file had got its name, and before the manifest named it; then the log grew, so the next one has another."""
    saved, save = [], command._save

    def killed(output, manifest):
        saved.append(manifest)
        if len(saved) == 2:
            (output / "runs.ndjson.part").write_text("half a li")
            raise KeyboardInterrupt
        save(output, manifest)

    monkeypatch.setattr(command, "_save", killed)
    run_export("--view", "events")
    monkeypatch.undo()
    projected_story.company("Another")

    done, output = run_export("--view", "events")

    assert done.exit_code == 0, done.output
    (file,) = (path for path in output.iterdir() if path.name != "manifest.json")
    assert [json.loads(line)["position"] for line in file.read_text().split("\n")[:-1]] == list(
        range(1, projected_story.store.head() + 1)
    )


def test_the_manifest_of_an_export_that_was_killed_tells_of_the_files_that_are_there(
    projected_story, run_export, monkeypatch
):
    run_export()
    projected_story.routine(projected_story.company("Another"), None, title="Later", status="paused")
    projected_story.project_all()
    add = command._add

    def killed(output, manifest, name, *rest):
        if name == "runs.ndjson":
            raise KeyboardInterrupt
        add(output, manifest, name, *rest)

    monkeypatch.setattr(command, "_add", killed)

    _, output = run_export()

    for file in manifest(output)["files"]:
        assert hashlib.sha256((output / file["name"]).read_bytes()).hexdigest() == file["sha256"], file["name"]
    assert "Later" in (output / "routines.ndjson").read_text()


def test_the_manifest_never_tells_of_a_file_that_was_replaced(projected_story, run_export, monkeypatch):
    """Killed between a file of a view and the manifest; the next export takes other views only."""
    run_export()
    projected_story.routine(projected_story.company("Another"), None, title="Later", status="paused")
    projected_story.project_all()
    save = command._save

    def killed(output, manifest):
        if b"Later" in (output / "routines.ndjson").read_bytes():
            raise KeyboardInterrupt
        save(output, manifest)

    monkeypatch.setattr(command, "_save", killed)
    run_export("--view", "routines")
    monkeypatch.undo()

    _, output = run_export("--view", "runs")

    for file in manifest(output)["files"]:
        assert hashlib.sha256((output / file["name"]).read_bytes()).hexdigest() == file["sha256"], file["name"]


@SHARED
def test_files_of_another_format_that_somebody_has_put_there_are_left_alone(projected_story, run_export):
    _, output = run_export("--view", "runs")
    for name in ("runs.parquet", "runs-by-day.ndjson"):
        (output / name).write_text("made of runs.ndjson")

    run_export("--view", "runs")

    assert {"runs.parquet", "runs-by-day.ndjson"} < {path.name for path in output.iterdir()}


@SHARED
def test_two_exports_into_one_directory_do_not_meet(run_export, tmp_path):
    with command._hold_directory(tmp_path / "out"):
        done, _ = run_export()

    assert (done.exit_code, "Another export is writing into" in done.output) == (1, True)


def test_a_file_of_a_read_model_says_up_to_where_it_shows_the_log(projected_story, run_export):
    folded_to = projected_story.store.head()
    projected_story.company("Not folded yet")

    _, output = run_export()

    about = manifest(output)
    assert {file["untilPosition"] for file in about["files"] if file["view"] != "events"} == {folded_to}
    assert about["headPosition"] > folded_to


@SHARED
def test_a_disk_that_is_full_is_a_sentence(projected_story, run_export, monkeypatch):
    def write(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(export_files, "writer", lambda _format: write)

    done, output = run_export()

    assert (done.exit_code, f"{output}: No space left on device" in done.output) == (1, True)


def test_a_file_system_without_locks_takes_an_export(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", flock)

    with command._hold_directory(tmp_path / "out"):
        assert (tmp_path / "out").is_dir()


@SHARED
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--from", "2026-02-01", "--to", "2026-01-01"), "later than --from"),
        (("--from", "2026-02-01", "--to", "2026-02-01"), "later than --from"),
        (("--from", "0001-01-01T00:00:00+05:00"), "its year lies before 1"),
        (("--company", str(UUID(int=7))), f"There is no company {UUID(int=7)}"),
    ],
)
def test_what_would_select_nothing_is_refused_and_writes_nothing(projected_story, run_export, options, said):
    done, output = run_export(*options)

    assert (done.exit_code != 0, said in done.output) == (True, True), done.output
    assert not output.exists() or not list(output.iterdir())


@SHARED
def test_a_manifest_of_another_version_is_left_alone(projected_story, run_export):
    _, output = run_export("--view", "runs")
    (output / "manifest.json").write_text(json.dumps(manifest(output) | {"version": 2}))

    done, _ = run_export("--view", "runs")

    assert (done.exit_code, "of another version" in done.output) == (1, True)


@SHARED
def test_one_company_and_a_time_can_be_selected(projected_story, run_export):
    log = list(projected_story.store.history())
    company = next(recorded.company_id for recorded in log if recorded.company_id)
    begin, end = log[len(log) // 3].at, log[2 * len(log) // 3].at

    _, output = run_export(
        "--company", str(company), "--from", f"{begin:%Y-%m-%dT%H:%M:%S}", "--to", f"{end:%Y-%m-%dT%H:%M:%S}"
    )

    begin, end = begin.replace(microsecond=0), end.replace(microsecond=0)
    assert [one["position"] for one in lines(output, "events")] == [
        recorded.position for recorded in log if recorded.company_id == company and begin <= recorded.at < end
    ]
    assert {one["company_id"] for view in VIEWS for one in lines(output, view)} == {str(company)}


@SHARED
def test_csv_has_a_header_and_the_same_rows(projected_story, run_export, conn):
    _, output = run_export("--format", "csv")

    for file in manifest(output)["files"]:
        with (output / file["name"]).open(newline="") as text:
            rows = list(csv.DictReader(text))
        assert len(rows) == file["rows"]
        if rows:
            assert list(rows[0]) == list(VIEWS[file["view"]].columns)


@SHARED
def test_parquet_has_typed_columns(projected_story, run_export, conn):

    done, output = run_export("--format", "parquet")

    assert done.exit_code == 0, done.output
    for file in manifest(output)["files"]:
        table = parquet.read_table(output / file["name"])
        assert (table.num_rows, table.column_names) == (file["rows"], list(VIEWS[file["view"]].columns))
    runs = parquet.read_table(output / "runs.parquet")
    assert str(runs.schema.field("triggered_at").type) == "timestamp[us, tz=UTC]"
    assert str(runs.schema.field("duration_s").type) == "double"
    ids = conn.execute("SELECT id::text, triggered_at FROM analytics.runs ORDER BY position").fetchall()
    assert list(zip(runs["id"].to_pylist(), runs["triggered_at"].to_pylist(), strict=True)) == ids
    name = next(file["name"] for file in manifest(output)["files"] if file["view"] == "events")
    events = parquet.read_table(output / name)
    assert json.loads(events["event"][0].as_py())["type"] == events["name"][0].as_py()


@SHARED
def test_without_pyarrow_parquet_is_refused_in_a_sentence(projected_story, run_export, monkeypatch):
    monkeypatch.setattr(export_files, "has_parquet", lambda: False)

    done, _ = run_export("--format", "parquet")

    assert (done.exit_code, "pip install 'routines[parquet]'" in done.output) == (1, True)


@SHARED
def test_other_options_and_other_files_are_refused(projected_story, run_export, tmp_path):
    run_export("--view", "events")

    other, _ = run_export("--view", "events", "--format", "csv")

    assert (other.exit_code, "other options" in other.output) == (1, True)
    (tmp_path / "out" / "manifest.json").unlink()
    strange, _ = run_export()
    assert (strange.exit_code, "has other files in it" in strange.output) == (1, True)


@SHARED
def test_a_log_that_has_lost_its_end_is_noticed(projected_story, run_export, tmp_path):
    _, output = run_export("--view", "events")
    about = manifest(output)
    (output / "manifest.json").write_text(json.dumps(about | {"position": about["position"] + 10}))

    done, _ = run_export("--view", "events")

    assert (done.exit_code, "restored" in done.output) == (1, True)


@SHARED
def test_the_login_of_an_analyst_is_enough(projected_story, run_export, admin_url):
    with bootstrap.READING.connect(admin_url) as conn:
        conn.execute("SET ROLE routines_analyst")
        head, digest = exports.read_head(conn)
        text = exports.Text(conn, exports.query(VIEWS["runs"], Selection()), "ndjson")
        content = b"".join(text)

        folded_to = exports.position_of_view(conn, "runs")

    assert (head, digest, folded_to) == (projected_story.store.head(), None, None)
    assert content.count(b"\n") == text.rows > 0


def test_texts_with_line_breaks_quotes_and_control_characters_are_whole(projected_story, run_export, conn):
    title = 'He said "no",\r\n\ttwice \\ \x7f\u2028'
    routine = projected_story.routine(projected_story.company(), None, title=title, status="paused")
    projected_story.project_all()

    _, output = run_export("--view", "routines")

    (row,) = (one for one in lines(output, "routines") if one["id"] == str(routine))
    assert row["title"] == title


def test_no_text_in_csv_is_a_formula(projected_story, run_export):
    company = projected_story.company()
    for title in ("=1+1", "1+1"):
        projected_story.routine(company, None, title=title, status="paused")
    projected_story.project_all()

    _, output = run_export("--format", "csv", "--view", "routines")

    with (output / "routines.csv").open(newline="") as text:
        titles = {row["title"] for row in csv.DictReader(text)}
    assert {"'=1+1", "1+1"} <= titles
    assert "=1+1" not in titles


def test_duckdb_answers_the_questions_of_the_page_from_an_export_as_postgres_does(
    projected_story, run_export, conn, tmp_path
):
    _, output = run_export("--format", "parquet")
    lake = duckdb.connect()
    lake.execute("SET TimeZone = 'Pacific/Auckland'")  # no answer depends on the zone of the session
    conn.execute("SET TimeZone = 'America/Los_Angeles'")
    lake.execute("CREATE SCHEMA analytics")
    for view in VIEWS:
        lake.execute(f"CREATE VIEW analytics.{view} AS SELECT * FROM '{output}/{view}*.parquet'")

    for _, question, query in QUESTIONS:
        assert plain(lake.execute(query).fetchall()) == plain(conn.execute(query).fetchall()), question


def plain(rows):
    """The rows in one order, since neither database promises that of equals, with values as text where types differ."""
    return sorted([_plain_text(value) for value in row] for row in rows)


def _plain_text(value):
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, datetime) and value.tzinfo:
        value = value.astimezone(UTC)
    return repr(float(value)) if isinstance(value, int | float | Decimal) else str(value)


@SHARED
def test_pandas_reads_an_export(projected_story, run_export):
    _, output = run_export("--format", "parquet", "--view", "runs")

    import pandas as pd  # noqa: PLC0415 every process of the tests would wait half a second for it

    runs = pd.read_parquet(output / "runs.parquet")

    assert len(runs) == manifest(output)["files"][0]["rows"]
    assert str(runs["triggered_at"].dtype).startswith("datetime64")
