"""Filters in an address may ask for more than a form offers; the form shows what is asked, and says what is wrong with it."""

import pytest


def test_an_address_with_several_outcomes_and_sources_shows_them_as_chosen_and_leads_back_to_all(
    board, api, company, agent
):
    routine = api.routine(company, agent, title="Digest")
    for _ in range(2):
        api.post(f"/routines/{routine}/run", {})

    page = board.show(f"/runs?status=failed,coalesced&source=manual,api&routine={routine}")

    fields = page.form("/runs")["fields"]
    assert ("failed,coalesced", "manual,api") == (fields["status"], fields["source"])
    assert "failed or coalesced" in page.text
    assert 1 == page.html.count('id="row-')
    assert f"/board/companies/{company}/runs" in page.links


@pytest.mark.parametrize("path", ["/runs?from=tomorrow", "/log?to=tomorrow"])
def test_a_time_that_is_none_lists_nothing_and_is_said_beside_its_field(board, api, company, agent, path):
    api.post(f"/routines/{api.routine(company, agent)}/run", {})
    page = board.show(path)
    name = path.partition("?")[2].partition("=")[0]
    assert (422, True, 0) == (page.status, f'id="{name}-error"' in page.html, page.html.count('id="row-'))
    assert f'aria-describedby="{name}-error"' in page.html
    script = board.client.get(f"/board/companies/{company}{path}", headers={"HX-Request": "true"})
    assert (200, True) == (script.status_code, "write it like" in script.text)


@pytest.mark.parametrize("path", ["/runs", "/log"])
def test_a_period_that_ends_before_it_begins_lists_nothing_and_is_said_beside_its_end(board, path):
    page = board.show(f"{path}?from=2026-12-02&to=2026-12-01")

    assert (422, 0) == (page.status, page.html.count('id="row-'))
    assert "nothing lies between the two" in page.text
    assert 'aria-describedby="to-error"' in page.html


def test_a_key_says_whose_it_is_and_a_run_its_revision(board, api, company):
    agent, _ = api.agent(company, "Night watch")
    routine = api.routine(company, agent)
    run = api.post(f"/routines/{routine}/run", {})["id"]
    assert "Revision 1, the present one" in board.show(f"/runs/{run}").text
    api.patch(f"/routines/{routine}", {"title": "Other"})
    page = board.show(f"/runs/{run}")
    assert "Revision 1 , not the present one" in page.text
    assert any(link and link.endswith("/revisions#r1") for link in page.links)
    assert "of Night watch" in board.show("/people").text
