"""A routine and its runs are sent from memory while nothing of them has changed: to whom, when not, and how that is counted."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api import Api


@pytest.fixture
def routine(api: Api) -> str:
    company = api.company()
    id_ = api.routine(company, api.agent(company)[0])
    api.post(f"/routines/{id_}/triggers", {"kind": "webhook"})
    api.post(f"/routines/{id_}/run", {})
    return id_


def paths_of(routine: str) -> list[str]:
    return [f"/routines/{routine}", f"/routines/{routine}/runs"]


def from_memory(api: Api) -> float:
    """How many documents this process has sent from memory."""
    families = text_string_to_metric_families(httpx.get(f"{api.url}/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return sum(
        one.value
        for one in samples
        if one.name == "routines_documents_read_total" and one.labels == {"source": "memory"}
    )


def test_what_has_not_changed_is_sent_from_memory_with_the_same_tag(api, routine):
    first = [api.request("GET", path) for path in paths_of(routine)]
    before = from_memory(api)
    second = [api.request("GET", path) for path in paths_of(routine)]
    tags = [answer.headers["ETag"] for answer in first]
    current = [
        api.request("GET", path, headers={"If-None-Match": tag})
        for path, tag in zip(paths_of(routine), tags, strict=True)
    ]

    assert [answer.content for answer in first] == [answer.content for answer in second]
    assert tags == [answer.headers["ETag"] for answer in second]
    assert [(304, b"")] * 2 == [(answer.status_code, answer.content) for answer in current]
    assert before + 4 == from_memory(api)


def test_after_a_change_the_copy_of_a_client_is_not_current_any_more(api, routine):
    for path in paths_of(routine):
        tag = api.request("GET", path).headers["ETag"]
        assert 304 == api.request("GET", path, headers={"If-None-Match": tag}).status_code
        api.post(f"/routines/{routine}/run", {})
        changed = api.request("GET", path, headers={"If-None-Match": tag})
        assert (200, False) == (changed.status_code, tag == changed.headers["ETag"])


def test_what_is_kept_is_shown_to_nobody_who_may_not_see_it_and_masked_for_whoever_sees_less(
    api, other_process, routine
):
    stranger = api.agent(api.company())[1]
    agent = api.agent(api.get(f"/routines/{routine}")["companyId"], "Other")[1]
    for path in paths_of(routine):
        for token in (stranger, agent, "unknown", None):
            api.get(path)
            answers = [one.request("GET", path, token=token) for one in (other_process, api, api)]
            assert 1 == len({(answer.status_code, answer.content) for answer in answers[1:]})
            assert answers[0].status_code == answers[1].status_code
            if token == agent:
                assert answers[0].content == answers[1].content
    assert "***" in api.request("GET", f"/routines/{routine}", token=agent).text
    assert "***" not in api.request("GET", f"/routines/{routine}").text


def test_two_processes_show_what_was_done_through_either_at_once(api, other_process, routine):
    for number, (by, reads) in enumerate([(api, other_process), (other_process, api)] * 2):
        kept = [[one.request("GET", path).content for path in paths_of(routine)] for one in (api, other_process)]
        assert kept[0] == kept[1]
        by.patch(f"/routines/{routine}", {"title": f"Check {number}"})
        by.post(f"/routines/{routine}/run", {})
        after = [[one.request("GET", path).content for path in paths_of(routine)] for one in (reads, by)]
        assert after[0] == after[1]
        assert not {*after[0]} & {*kept[0]}


def test_a_renamed_agent_project_and_parent_issue_are_in_the_next_detail(api):
    company = api.company()
    agent = api.agent(company)[0]
    project = api.post(f"/companies/{company}/projects", {"name": "Move"})["id"]
    parent = api.post(f"/companies/{company}/issues", {"title": "Whole"})["id"]
    routine = api.routine(company, agent, projectId=project, parentIssueId=parent)

    for path, change, shown in (
        (f"/agents/{agent}", {"name": "Rover"}, lambda detail: detail["assignee"]["name"]),
        (f"/projects/{project}", {"name": "Stay"}, lambda detail: detail["project"]["name"]),
        (f"/issues/{parent}", {"title": "Part"}, lambda detail: detail["parentIssue"]["title"]),
    ):
        api.get(f"/routines/{routine}")
        api.patch(path, change)
        assert [*change.values()] == [shown(api.get(f"/routines/{routine}"))]
