"""The events of a collection, for holders of its keys: what the Jetty API knows of, and nothing of others."""

import json

import httpx
import pytest

HIDDEN = ("goal.", "issue.", "comment.", "agent.", "member.", "key.", "name.", "user.", "endpoint.")


@pytest.fixture(scope="module")
def busy_collection(collection_of):
    """A collection in which a task was called, and whose company has a goal."""
    jetty = collection_of()
    task = jetty.task()
    jetty.post(f"/run/{jetty.collection}/{task}", {})
    company = jetty.get("/collections/")[0]["company_id"]
    jetty.api.post(f"/companies/{company}/goals", {"title": "Grow"})
    return jetty


def test_a_key_reads_what_happened_to_its_tasks_and_trajectories(busy_collection):
    events = busy_collection.get(f"/collections/{busy_collection.collection}/events?limit=1000")
    kinds = {event["kind"] for event in events}

    assert {"task.created", "trajectory.opened", "company.named"} <= kinds
    assert not [kind for kind in kinds if kind.startswith(HIDDEN)]
    assert len({event["companyId"] for event in events}) == 1
    position = events[0]["position"]
    assert events[0] == busy_collection.get(f"/collections/{busy_collection.collection}/events/{position}")


def test_what_is_hidden_cannot_be_asked_for(busy_collection):
    path = f"/collections/{busy_collection.collection}/events"
    (goal,) = busy_collection.api.get("/events?kind=goal.created&limit=1")

    assert busy_collection.get(f"{path}?kind=goal.created") == []
    assert busy_collection.request("GET", f"{path}/{goal['position']}").status_code == 404


def test_a_wrong_parameter_is_named_in_the_form_of_the_api(busy_collection):
    answer = busy_collection.request("GET", f"/collections/{busy_collection.collection}/events?kind=run.flown")

    assert answer.status_code == 422
    assert "kind" in json.dumps(answer.json()["detail"])


def test_a_collection_is_read_live(busy_collection):
    url = f"{busy_collection.api.url}/api/v1/collections/{busy_collection.collection}/events?kind=task.*&after=0"
    headers = {"Authorization": f"Bearer {busy_collection.key}", "Accept": "text/event-stream"}
    with httpx.stream("GET", url, headers=headers, timeout=20) as response:
        assert next(line for line in response.iter_lines() if line.startswith("event")) == "event: task.created"
