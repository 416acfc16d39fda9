"""Webhook endpoints, deliveries and heartbeats over HTTP. What is sent, and when: tests/processes/delivery."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api import Api

URL = "https://example.com/hook"


def create_endpoint(api: Api, company: str, **fields: Any) -> Any:
    return api.post(f"/companies/{company}/webhook-endpoints", {"url": URL, "events": ["run.*"], **fields})


def test_an_endpoint_shows_its_secret_once(api: Api, company: str):
    answer = create_endpoint(api, company, description="all runs")

    assert answer["secret"].startswith("whsec_")
    read = api.get(f"/companies/{company}/webhook-endpoints/{answer['id']}")
    assert read == {name: value for name, value in answer.items() if name != "secret"}
    assert (read["url"], read["events"], read["enabled"], read["ordered"]) == (URL, ["run.*"], True, False)
    assert api.get(f"/companies/{company}/webhook-endpoints") == [read]


@pytest.mark.parametrize(
    ("fields", "status", "path"),
    [
        ({"url": "ftp://example.com"}, 422, ["url"]),
        ({"url": "http://user:pass@example.com/"}, 422, ["url"]),
        ({"url": "http://127.1/"}, 422, ["url"]),
        ({"url": "http://10.0.0.5/x"}, 422, ["url"]),
        ({"url": ""}, 400, ["url"]),
        ({"events": []}, 400, ["events"]),
        ({"events": ["run.*", "nothing.*"]}, 422, ["events", 1]),
        ({"events": ["delivery.failed"]}, 422, ["events", 0]),
        ({"ordered": "yes"}, 400, ["ordered"]),
    ],
)
def test_what_does_not_fit_is_refused_with_the_field(
    api: Api, company: str, fields: Any, status: int, path: list[str | int]
):
    body = {"url": URL, "events": ["run.*"], **fields}

    answer = api.request("POST", f"/companies/{company}/webhook-endpoints", body)

    assert (answer.status_code, answer.json()["details"][0]["path"]) == (status, path)
    assert api.get(f"/companies/{company}/webhook-endpoints") == []


def test_a_rotated_secret_is_another(api: Api, company: str):
    first = create_endpoint(api, company)

    second = api.post(f"/companies/{company}/webhook-endpoints/{first['id']}/rotate-secret", {"overlapSec": 60})

    assert second["secret"] != first["secret"]


def test_a_deleted_endpoint_is_gone(api: Api, company: str):
    path = f"/companies/{company}/webhook-endpoints/{create_endpoint(api, company)['id']}"

    assert api.request("DELETE", path).status_code == 204
    assert api.request("GET", path).status_code == 404
    assert api.request("DELETE", path).status_code == 404


def test_an_endpoint_of_another_company_is_not_found_under_ours(api: Api, company: str):
    theirs = create_endpoint(api, api.company("Other"))["id"]

    for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/deliveries")):
        path = f"/companies/{company}/webhook-endpoints/{theirs}{rest}"
        assert api.request(method, path).status_code == 404


def test_a_disabled_endpoint_takes_no_test_message(api: Api, company: str):
    path = f"/companies/{company}/webhook-endpoints/{create_endpoint(api, company)['id']}"
    api.patch(path, {"enabled": False})

    assert api.request("POST", f"{path}/test").status_code == 409
    assert api.patch(path, {"enabled": True})["enabled"] is True
    assert api.post(f"{path}/test")["eventType"] == "endpoint.tested"


def test_whoever_asks_for_a_test_message_is_shown_its_delivery_and_no_later_one(api: Api, company: str):
    path = f"/companies/{company}/webhook-endpoints/{create_endpoint(api, company)['id']}"

    with ThreadPoolExecutor(10) as threads:
        shown_ids = list(threads.map(lambda _: api.post(f"{path}/test")["id"], range(10)))

    assert {one["id"] for one in api.get(f"{path}/deliveries")} == set(shown_ids)
    assert len(set(shown_ids)) == 10


def test_deliveries_come_in_pages_newest_first_and_by_status(api: Api, company: str):
    path = f"/companies/{company}/webhook-endpoints/{create_endpoint(api, company)['id']}"
    sent = [api.post(f"{path}/test")["id"] for _ in range(5)]
    api.post(f"/companies/{company}/webhook-endpoints/{create_endpoint(api, company)['id']}/test")

    first = api.request("GET", f"{path}/deliveries?limit=3")
    rest = api.get(f"{path}/deliveries?limit=3&cursor={first.headers['X-Next-Cursor']}")

    assert [one["id"] for one in [*first.json(), *rest]] == sent[::-1]
    assert api.get(f"{path}/deliveries?status=delivered") == []
    assert len(api.get(f"/companies/{company}/deliveries?status=waiting")) == 6
    assert api.request("GET", f"{path}/deliveries?status=lost").status_code == 400
    assert api.request("GET", f"{path}/deliveries?limit=0").status_code == 400
    assert api.request("GET", f"{path}/deliveries?cursor=x").status_code == 400


def test_a_delivery_can_be_asked_for_again_by_its_company_alone(api: Api, company: str):
    endpoint = create_endpoint(api, company)["id"]
    sent = api.post(f"/companies/{company}/webhook-endpoints/{endpoint}/test")["id"]

    assert api.post(f"/companies/{company}/deliveries/{sent}/redeliver")["status"] == "waiting"
    other = api.company("Other")
    assert api.request("POST", f"/companies/{other}/deliveries/{sent}/redeliver").status_code == 404
    assert api.request("POST", f"/companies/{company}/deliveries/{endpoint}/redeliver").status_code == 404


def test_an_agents_first_heartbeat_url_brings_a_secret_that_is_shown_once(api: Api, company: str):
    agent = api.post(f"/companies/{company}/agents", {"name": "Scout"})
    assert agent["heartbeatUrl"] is None
    assert "heartbeatSecret" not in agent

    first = api.patch(f"/agents/{agent['id']}", {"heartbeatUrl": URL})
    again = api.patch(f"/agents/{agent['id']}", {"title": "Deputy"})
    rotated = api.post(f"/agents/{agent['id']}/rotate-heartbeat-secret", {})

    assert first["heartbeatSecret"].startswith("whsec_")
    assert "heartbeatSecret" not in again
    assert rotated["heartbeatSecret"] != first["heartbeatSecret"]
    assert "heartbeatSecret" not in api.get(f"/agents/{agent['id']}")


def test_without_a_heartbeat_url_there_is_no_secret_to_rotate(api: Api, company: str):
    agent, _ = api.agent(company)

    assert api.request("POST", f"/agents/{agent}/rotate-heartbeat-secret", {}).status_code == 422


def test_a_heartbeat_url_that_is_none_is_refused(api: Api, company: str):
    answer = api.request("POST", f"/companies/{company}/agents", {"name": "Scout", "heartbeatUrl": "nowhere"})

    assert (answer.status_code, answer.json()["details"][0]["path"]) == (422, ["heartbeatUrl"])
