import pytest

from tests.web import people
from tests.web.board.conftest import Board
from web.board.api import Api


@pytest.fixture
def routine(api, company, agent):
    api.routine(company, agent, title="Another")
    return api.routine(company, agent, title="Briefing", triggers=[{"kind": "schedule", "cronExpression": "0 9 * * *"}])


def test_the_log_says_what_has_happened_in_sentences_with_what_is_recorded(board, routine):
    page = board.show("/log")
    assert "Briefing" in page.text
    assert "routine.created" in page.text
    assert "&#34;title&#34;: &#34;Briefing&#34;" in page.html
    assert "company.created" in page.text


def test_a_routine_a_run_and_an_issue_lead_to_everything_that_belongs_to_them(board, api, routine):
    run = api.post(f"/routines/{routine}/run", {})
    for path, name in (
        (f"/routines/{routine}", "the routine “Briefing”"),
        (f"/runs/{run['id']}", "the run of"),
        (f"/issues/{run['linkedIssueId']}", "the issue"),
    ):
        link = next(link for link in board.show(path).links if link and "/log?" in link)
        page = board.get(link)
        assert name in page.text
        assert "issue.opened" in page.text
        assert "Another" not in page.text


def test_the_log_is_narrowed_by_kind_and_time_and_read_a_page_at_a_time(board, api, company):
    for number in range(60):
        api.post(f"/companies/{company}/goals", {"title": f"Goal {number}"})
    page = board.show("/log?kind=goal.*&order=oldest")
    assert "Goal 0" in page.text
    assert "company.created" not in page.text
    following = board.get(next(link for link in page.links if link and "cursor=" in link))
    assert "Goal 59" in following.text
    assert "No event matches." in board.show("/log?from=2199-01-01").text
    assert "This is no time in UTC" in board.show("/log?to=yesterday").text
    assert 400 == board.show("/log?kind=nothing").status


@pytest.mark.parametrize(("role", "status"), [("auditor", 200), ("admin", 200), ("member", 403), ("viewer", 403)])
def test_the_log_is_for_those_who_may_read_events(api, company, routine, role, status):
    reader = Board(api, company, people.member(api, company, role))
    assert status == reader.show("/log").status
    assert (status == 200) == any("/log" in (link or "") for link in reader.show(f"/routines/{routine}").links)
    reader.client.close()


def test_the_log_says_how_far_it_is_signed_and_gives_the_proof_of_an_event(board, routine, monkeypatch):
    assert "Not signed yet" in board.show("/log").text
    assert 404 == board.show("/log/proofs/1").status

    async def signed(_api, path):  # a notary would sign for all tests of this process
        return "a log\n7\nits root\n" if path.endswith("/checkpoint") else f"the proof at {path.rpartition('/')[2]}"

    monkeypatch.setattr(Api, "text", signed)
    page = board.show("/log?order=oldest")

    assert "The first 7 events of this company are signed" in page.text
    proof = board.get(next(link for link in page.links if link and "/log/proofs/" in link)).response
    assert f"the proof at {proof.url.path.rpartition('/')[2]}" == proof.text
    assert "attachment" in proof.headers["content-disposition"]
