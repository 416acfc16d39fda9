"""Exports over HTTP: the rows of a company's views in files, whole or refused; of events only what is new."""

import csv
import io
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import BinaryIO, cast

import httpx
import msgspec
import pytest
from msgspec.structs import replace
from pyarrow import parquet

from projections import export_files, exports
from routines.connections import Session
from tests.api import Api
from tests.waiting import wait_for
from tests.web.served import serve_further
from web.paperclip.exporter import Export, TooLarge, TooSlow, _Bounded

MOMENT = exports.VIEWS["runs"].moment
TITLE = "Zürich, “quoted”\nand =2+2"


@pytest.fixture(scope="module")
def company(api: Api) -> str:
    """For tests that record nothing in it."""
    return company_with_runs(api)


def company_with_runs(api: Api) -> str:
    company = api.company()
    routine = api.routine(company, api.agent(company)[0], title=TITLE)
    for _ in range(3):
        api.post(f"/routines/{routine}/run", {})
    return company


def rows(answer):
    assert answer.status_code == 200, answer.text
    return [msgspec.json.decode(line) for line in answer.text.split("\n")[:-1]]


def test_lines_of_json_have_the_rows_of_the_company_and_no_others(api: Api, company: str):
    other = api.company("Other")
    api.routine(other, api.agent(other)[0])

    answer = api.request("GET", f"/companies/{company}/exports/routines")

    assert [(row["company_id"], row["title"]) for row in rows(answer)] == [(company, TITLE)]
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-disposition"] == 'attachment; filename="routines.ndjson"'
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert len(rows(api.request("GET", f"/companies/{company}/exports/runs"))) == 3


@pytest.mark.parametrize("view", sorted(exports.VIEWS))
def test_each_view_can_be_exported(api: Api, company: str, view: str):
    assert all(row["company_id"] == company for row in rows(api.request("GET", f"/companies/{company}/exports/{view}")))


def test_csv_is_read_by_a_spreadsheet_and_holds_no_formula(api: Api):
    company = company_with_runs(api)
    routine = api.routine(company, None, title="=2+2")

    answer = api.request("GET", f"/companies/{company}/exports/routines?format=csv")

    titles = {row["id"]: row["title"] for row in csv.DictReader(io.StringIO(answer.text))}
    assert (titles.pop(routine), [*titles.values()]) == ("'=2+2", [TITLE])


def test_parquet_has_the_same_rows(api: Api, company: str):
    answer = api.request("GET", f"/companies/{company}/exports/runs?format=parquet")

    table = parquet.read_table(io.BytesIO(answer.content))
    assert {str(id_) for id_ in table.column("id").to_pylist()} == {
        row["id"] for row in rows(api.request("GET", f"/companies/{company}/exports/runs"))
    }


def test_without_pyarrow_parquet_is_refused_in_a_sentence(api: Api, company: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export_files, "has_parquet", lambda: False)

    answer = api.request("GET", f"/companies/{company}/exports/runs?format=parquet")

    assert (answer.status_code, "take ndjson or csv" in answer.json()["error"]) == (422, True)


def test_events_come_in_parts_that_lead_to_the_next_and_miss_none(api: Api, company: str):
    whole = [one["position"] for one in api.get(f"/companies/{company}/events?order=oldest")]
    path, exported = f"/companies/{company}/exports/events?limit=3", list[int]()

    while path:
        answer = api.request("GET", path)
        part = [row["position"] for row in rows(answer)]
        assert int(answer.headers["X-Routines-Position"]) >= part[-1]  # kinds that are not shown count as exported
        exported += part
        link = answer.headers.get("link", "")
        path = link.partition("/api")[2].partition(">")[0]
        assert not link or link.endswith('>; rel="next"')

    assert exported == whole
    last = api.request("GET", f"/companies/{company}/exports/events?after={whole[-1]}")
    assert (rows(last), last.headers["X-Routines-Position"]) == ([], str(whole[-1]))


def test_times_select_rows(api: Api, company: str):
    moment = datetime.fromisoformat(rows(api.request("GET", f"/companies/{company}/exports/runs"))[1][MOMENT])
    path = f"/companies/{company}/exports/runs"

    early = api.request("GET", path, params={"to": moment.isoformat()})
    late = api.request("GET", path, params={"from": moment.isoformat()})

    assert len(rows(early)) + len(rows(late)) == 3
    assert all(datetime.fromisoformat(row[MOMENT]) < moment for row in rows(early))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("runs?format=xlsx", "format"),
        ("runs?from=yesterday", "from"),
        ("runs?to=12-12", "to"),
        ("runs?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
        ("events?after=-1", "after"),
        ("events?limit=0", "limit"),
        ("events?limit=100001", "limit"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(api: Api, company: str, query: str, field: str):
    answer = api.request("GET", f"/companies/{company}/exports/{query}")

    assert (answer.status_code, answer.json()["details"][0]["path"]) == (400, [field])


@pytest.mark.parametrize("name", ["after", "limit"])
def test_what_is_for_events_only_is_refused_for_other_views(api: Api, company: str, name: str):
    answer = api.request("GET", f"/companies/{company}/exports/runs?{name}=3")

    assert (answer.status_code, f"{name} is for events only" in answer.json()["error"]) == (422, True)


def test_an_unknown_view_is_answered_with_those_that_there_are(api: Api, company: str):
    answer = api.request("GET", f"/companies/{company}/exports/secrets")

    assert (answer.status_code, "occurrences" in answer.json()["error"]) == (404, True)


@pytest.mark.parametrize("file_format", ["ndjson", "csv", "parquet"])
def test_what_is_larger_than_allowed_is_refused_whole(
    api: Api, set_limits: Callable[..., None], company: str, file_format: str
):
    set_limits(max_export_bytes=1024)

    answer = api.request("GET", f"/companies/{company}/exports/events?format={file_format}")

    assert (answer.status_code, "larger than 1,024 bytes" in answer.json()["error"]) == (422, True)


def test_what_takes_too_long_is_refused_whole(
    api: Api, set_limits: Callable[..., None], company: str, monkeypatch: pytest.MonkeyPatch
):
    def write(conn, _view, file, *_):
        file.write(b"a line of it")
        conn.execute("SELECT pg_sleep(10)")

    set_limits(export_limit_s=0.001)
    monkeypatch.setattr(export_files, "writer", lambda _format: write)

    answer = api.request("GET", f"/companies/{company}/exports/events")

    assert (answer.status_code, "takes longer" in answer.json()["error"]) == (422, True)


def test_an_export_may_take_as_long_as_its_limit_says_whatever_other_transactions_may(
    api: Api, company: str, monkeypatch: pytest.MonkeyPatch
):
    limits = []

    def note_limits(_format):
        def write(conn, *_):
            settings = ("statement_timeout", "transaction_timeout")
            limits.extend(conn.execute("SELECT current_setting(%s, true)", (name,)).fetchone()[0] for name in settings)

        return write

    monkeypatch.setattr(export_files, "writer", note_limits)
    with serve_further(api, limits=replace(api.system.settings.limits, export_limit_s=90.0)) as here:
        answer = here.request("GET", f"/companies/{company}/exports/runs")
        with here.system.pool.connection() as conn:
            waits_s = cast("Session", conn).answer_s

    assert 200 == answer.status_code
    assert ["90s", "95s"] == limits
    assert waits_s is not None
    assert waits_s > 95


def test_an_export_goes_on_for_longer_than_its_transaction_might_when_it_began(api: Api):
    with api.system.pool.connection() as conn:
        conn.execute("SELECT set_config(name, '100ms', false) FROM pg_settings WHERE name = 'transaction_timeout'")
        with conn.transaction():
            exports.limit_transaction(conn, 60.0)
            conn.execute("SELECT pg_sleep(0.2)")
        conn.close()  # so that nobody else has that limit


def test_a_company_writes_one_export_at_a_time_and_a_process_a_few(
    api: Api, set_limits: Callable[..., None], company: str, monkeypatch: pytest.MonkeyPatch
):
    begun, go_on = threading.Event(), threading.Event()

    def slowly(_format):
        def write(*_):
            begun.set()
            go_on.wait(10)

        return write

    other, path = api.company("Other"), f"/companies/{company}/exports/runs"
    set_limits(max_exports_at_once=1)
    with ThreadPoolExecutor() as threads, monkeypatch.context() as patch:
        patch.setattr(export_files, "writer", slowly)
        first = threads.submit(api.request, "GET", path)
        assert begun.wait(10)
        same, others = (api.request("GET", one) for one in (path, f"/companies/{other}/exports/runs"))
        go_on.set()
        assert first.result().status_code == 200

    assert [(one.status_code, one.json()["error"].partition(";")[0]) for one in (same, others)] == [
        (503, "An export of this company is being written or sent"),
        (503, "Many exports are being written"),
    ]
    assert len(rows(api.request("GET", path))) == 3


def test_a_company_has_one_file_until_it_is_sent_or_its_reader_leaves(
    api: Api, company: str, monkeypatch: pytest.MonkeyPatch
):
    def large(_format):
        return lambda _conn, _view, file, *_: file.write(bytes(2**25))

    path = f"{api.url}/api/companies/{company}/exports/runs"
    headers = {"Authorization": f"Bearer {api.token}"}
    with monkeypatch.context() as patch:
        patch.setattr(export_files, "writer", large)
        with httpx.stream("GET", path, headers=headers) as answer:
            assert (answer.status_code, answer.headers["content-length"]) == (200, str(2**25))
            assert httpx.get(path, headers=headers).status_code == 503
        wait_for(lambda: httpx.get(path, headers=headers).status_code == 200)  # it is noticed that the reader has left
        assert len(httpx.get(path, headers=headers).content) == 2**25
    for _ in range(10):
        assert httpx.get(f"{path}?to=2001-01-01T00:00:00Z", headers=headers).content == b""
        assert len(rows(httpx.get(path, headers=headers))) == 3


def test_an_export_whose_answer_is_never_sent_leaves_room_for_the_next():
    ended = list[bool]()
    file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 the export closes it
    file.write(b"rows")

    export = Export(file, lambda: ended.append(True))
    assert (export.size, ended, file.closed) == (4, [], False)
    del export

    assert (ended, file.closed) == ([True], True)


def test_nothing_is_written_beyond_the_time_or_the_bytes_of_a_file():
    for most, limit_s, error in ((100, 10.0, TooLarge), (2**20, -1.0, TooSlow)):
        written = io.BytesIO()
        with pytest.raises(error):
            _Bounded(cast("BinaryIO", written), most, limit_s).write(bytes(101))
        assert written.getvalue() == b""


def test_head_is_answered_without_the_file(api: Api, company: str):
    answer = api.request("HEAD", f"/companies/{company}/exports/runs")

    assert (answer.status_code, answer.content, int(answer.headers["content-length"]) > 0) == (200, b"", True)
