"""What /openapi.json says of the Jetty API is what the page at /docs can show."""

import httpx
import pytest

from tests.web.described_apis import operations as operations_of
from tests.web.described_apis import path_of
from tests.web.jetty.conftest import ECHO
from tests.web.request_reads import reads_of, told_by


@pytest.fixture(scope="module")
def document(api):
    return httpx.get(f"{api.url}/openapi.json").json()


@pytest.fixture(scope="module")
def operations(document):
    return [operation for path in document["paths"].values() for operation in path.values()]


def test_every_operation_stands_under_a_heading_and_has_a_name_of_its_own(operations):
    names = [operation["operationId"] for operation in operations]

    assert [] == [operation["operationId"] for operation in operations if not operation.get("tags")]
    assert sorted(set(names)) == sorted(names)
    assert len(names) > 40


def test_every_body_and_every_good_answer_has_a_shape(operations):
    bodies = [operation["requestBody"] for operation in operations if "requestBody" in operation]
    answers = [
        answer
        for operation in operations
        for status, answer in operation["responses"].items()
        if status.startswith("2") and status != "204"
    ]

    assert bodies
    assert answers
    assert all(part.get("schema") for holder in [*bodies, *answers] for part in holder["content"].values())


def test_every_refusal_has_the_shape_that_clients_are_told(document, operations):
    refusals = {
        (operation["operationId"], status, answer["$ref"])
        for operation in operations
        for status, answer in operation["responses"].items()
        if not status.startswith("2")
    }

    assert {f"#/components/responses/{status}" for _, status, _ in refusals} == {place for _, _, place in refusals}
    assert {"400", "401", "404"} <= {status for id_, status, _ in refusals if id_ == "createRoutine"}
    for status, answer in document["components"]["responses"].items():
        if status == "304":
            continue
        assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Detail"}


def test_a_method_that_an_address_does_not_have_is_told_which_it_has(api):
    answer = httpx.request("PUT", f"{api.url}/api/v1/routines/acme/echo")

    assert (405, {"detail": "Method Not Allowed"}, "GET, POST") == (
        answer.status_code,
        answer.json(),
        answer.headers["allow"],
    )


def test_the_page_is_served_and_reads_the_description_beside_it(api):
    page = httpx.get(f"{api.url}/docs")

    assert (200, "text/html; charset=utf-8") == (page.status_code, page.headers["content-type"])
    assert '"/openapi.json"' in page.text


def test_an_operation_says_of_each_header_and_body_that_it_reads_it_and_of_no_other(described_apis, jetty):
    """The address is judged before the body: so the things that it names must be there."""
    headers = {"Authorization": f"Bearer {jetty.key}"}
    there = None
    for one in operations_of(described_apis["jetty"]):
        if there is None:
            task = jetty.task(workflow=ECHO)
            there = {"collection": jetty.collection, "task": task, "name": jetty.routine(task).rpartition("/")[2]}
        path = path_of(one, {**described_apis["jetty"].examples.paths, **there})
        headers_read, body_read = reads_of(described_apis["jetty"], one, path, headers)
        assert told_by(one) == (headers_read | ({"if-none-match"} if one.reads else set()), body_read), one.id
        if not one.reads:
            there = None
