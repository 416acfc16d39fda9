"""Links and descriptions behind a proxy that serves us below a path, and cuts that off before a request comes to us."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api import Api
from tests.web.jetty.conftest import ECHO, assert_success
from tests.web.served import serve_further

PREFIX = "/routines/here"


@pytest.fixture(scope="module")
def proxied_api(api: Api) -> Iterator[Api]:
    with serve_further(api, public_url=f"https://example.org{PREFIX}") as proxied:
        yield proxied


def follow(answer: httpx.Response, proxied_api: Api) -> httpx.Response:
    """Ask for the next page as a proxy passes it on."""
    target = answer.headers["Link"].removesuffix('>; rel="next"').removeprefix("<")
    assert target.startswith(f"{PREFIX}/api/")
    return httpx.get(
        proxied_api.url + target.removeprefix(PREFIX),
        headers={"Authorization": answer.request.headers["Authorization"]},
    )


def test_links_to_next_pages_begin_with_the_public_path(proxied_api: Api):
    company = proxied_api.company()
    agent, _ = proxied_api.agent(company)
    routines = {proxied_api.routine(company, agent) for _ in range(2)}

    first = proxied_api.request("GET", f"/companies/{company}/routines", params={"limit": 1})
    second = follow(first, proxied_api)

    assert routines == {first.json()[0]["id"], second.json()[0]["id"]}
    assert "Link" not in second.headers


def test_so_do_those_of_the_jetty_api(proxied_api: Api):
    board = httpx.Client(base_url=f"{proxied_api.url}/api/v1", headers={"Authorization": f"Bearer {proxied_api.token}"})
    assert_success(board.post("/collections/", json={"name": "public-path"}))
    assert_success(board.post("/tasks/public-path", json={"name": "echo", "workflow": ECHO}))
    for _ in range(2):
        assert_success(board.post("/run/public-path/echo", json={}))

    first = board.get("/db/trajectories/public-path/echo", params={"limit": 1})
    second = follow(first, proxied_api)

    assert [1, 1] == [len(assert_success(answer)["trajectories"]) for answer in (first, second)]
    assert first.json()["trajectories"] != second.json()["trajectories"]
    board.close()


def test_addresses_of_webhooks_begin_with_it(proxied_api: Api):
    company = proxied_api.company()
    agent, _ = proxied_api.agent(company)
    routine = proxied_api.routine(company, agent)

    trigger = proxied_api.post(f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": "none"})

    url = urlsplit(trigger["secretMaterial"]["webhookUrl"])
    assert ("https", "example.org") == (url.scheme, url.netloc)
    assert url.path.startswith(f"{PREFIX}/api/routine-triggers/public/")
    assert 202 == httpx.post(proxied_api.url + url.path.removeprefix(PREFIX), json={}).status_code


@pytest.mark.parametrize("path", ["/api/openapi.json", "/openapi.json"])
def test_a_description_names_it_as_its_server(api: Api, proxied_api: Api, path: str):
    here, plain = (httpx.get(one.url + path).json() for one in (proxied_api, api))

    assert [{"url": PREFIX}] == here["servers"]
    assert [{"url": "/"}] == plain["servers"]
    assert here["paths"] == plain["paths"]


def test_every_address_on_a_page_of_the_board_begins_with_it(proxied_api: Api):
    company = proxied_api.company()
    agent, _ = proxied_api.agent(company)
    routine = proxied_api.routine(company, agent)
    headers = {"Authorization": f"Bearer {proxied_api.token}"}
    start = httpx.get(f"{proxied_api.url}/", headers=headers)
    assert start.headers["Location"].startswith(f"{PREFIX}/board/companies/")
    assert f"{PREFIX}/board/sign-in" == httpx.get(f"{proxied_api.url}/").headers["Location"]

    for path in ("", "/routines", f"/routines/{routine}", f"/routines/{routine}/edit", "/people"):
        page = httpx.get(f"{proxied_api.url}/board/companies/{company}{path}", headers=headers).text
        addresses = re.findall(r' (?:href|action|src|hx-get|hx-post)="([^"#][^"]*)"', page)
        assert len(addresses) > 10
        assert [] == [address for address in addresses if not address.startswith(f"{PREFIX}/")], path
