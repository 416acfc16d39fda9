"""What runs and the log show can be taken as a file by those who may read the log; so can what was refused be seen."""

import csv
import io
import json
from uuid import uuid4

import httpx
import pytest

from projections.audit import refused_attempts
from projections.audit.refused_attempts import Attempts
from tests.web import people
from tests.web.board.conftest import Board
from web.http.errors import Overloaded
from web.paperclip import exporter, exports


def find_link(board, ending):
    return next(link for link in board.show("/log").links if link and link.endswith(ending))


def test_the_runs_of_a_time_are_a_file_that_the_page_leads_to(board, api, company, agent):
    run = api.post(f"/routines/{api.routine(company, agent)}/run", {})["id"]
    page = board.show("/runs?from=2020-01-01+00:00")
    link = next(link for link in page.links if link and "format=ndjson" in link)

    answer = board.client.get(link)

    assert [run] == [json.loads(line)["id"] for line in answer.text.splitlines()]
    assert 'attachment; filename="runs.ndjson"' == answer.headers["content-disposition"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "" == board.client.get(link.replace("2020", "2099")).text


@pytest.mark.parametrize("file_format", ["csv", "ndjson"])
def test_the_log_is_one_file_though_the_api_gives_it_in_parts(board, api, company, monkeypatch, file_format):
    for number in range(7):
        api.post(f"/companies/{company}/goals", {"title": f"Goal {number}"})
    whole = board.client.get(find_link(board, f"format={file_format}")).text

    monkeypatch.setattr(exports, "MOST_EVENTS", 3)

    assert whole == board.client.get(find_link(board, f"format={file_format}")).text
    rows = list(csv.DictReader(io.StringIO(whole))) if file_format == "csv" else whole.splitlines()
    assert len(api.get(f"/companies/{company}/events")) == len(rows)


def test_a_file_whose_next_part_is_refused_breaks_off_instead_of_looking_whole(board, monkeypatch):
    monkeypatch.setattr(exports, "MOST_EVENTS", 1)
    write, written = exporter.Exporter.write, list[object]()

    def write_one(self, company_id, *wanted):
        if written:
            raise Overloaded("Another export of this company is being written")
        written.append(company_id)
        return write(self, company_id, *wanted)

    link = find_link(board, "format=csv")
    monkeypatch.setattr(exporter.Exporter, "write", write_one)

    with pytest.raises(httpx.RemoteProtocolError):
        board.client.get(link)
    assert 503 == board.client.get(link).status_code


def test_a_file_that_the_api_refuses_is_a_page_that_says_why(board, viewer):
    assert (404, 400, 400) == tuple(
        board.show(f"/exports/{path}").status for path in ("wishes", "runs?from=soon", "runs?format=odd")
    )
    assert "This is no time in UTC" in board.show("/exports/runs?from=soon").text
    assert 403 == viewer.show("/exports/runs").status
    assert "as a file" not in viewer.show("/runs").text
    assert 404 == board.get(f"/board/companies/{uuid4()}/exports/runs").status


def test_refused_attempts_are_shown_to_auditors_of_the_instance_and_nobody_is_led_there_in_vain(board, api, company):
    attempts = Attempts(401, "getCompany", "Unauthorized <b>", "192.0.2.0/24", "", company)
    with api.system.pool.connection() as conn:
        refused_attempts.put(conn, [(attempts, 1_204)])

    page = board.get(next(link for link in board.show("/log").links if link and link.endswith("/refusals")))

    assert "getCompany" in page.text
    assert ("Unauthorized <b>", "192.0.2.0/24", "1,204") == tuple(
        word for word in ("Unauthorized <b>", "192.0.2.0/24", "1,204") if word in page.text
    )
    reader = Board(api, company, people.member(api, company, "auditor"))
    assert not [link for link in reader.show("/log").links if link and link.endswith("/refusals")]
    assert 403 == reader.show("/refusals").status
    reader.client.close()
