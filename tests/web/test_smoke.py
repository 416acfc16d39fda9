"""To be replaced."""

from tests.api import Api


def test_a_manual_run_opens_an_issue_in_the_agents_inbox(api: Api) -> None:
    company = api.company()
    agent, token = api.agent(company)
    routine = api.routine(company, agent)

    run = api.post(f"/routines/{routine}/run", {})

    assert run["status"] == "issue_created"
    assert [item["id"] for item in api.get("/agents/me/inbox-lite", token=token)] == [run["linkedIssueId"]]
