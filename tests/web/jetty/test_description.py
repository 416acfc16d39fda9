"""What /openapi.json says of the Jetty API is what the page at /docs can show."""

import httpx
import pytest


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
    assert all(part.get("schema") for given in [*bodies, *answers] for part in given["content"].values())


def test_every_refusal_has_the_shape_that_clients_are_told(document, operations):
    refusals = {
        (operation["operationId"], status, answer["$ref"])
        for operation in operations
        for status, answer in operation["responses"].items()
        if not status.startswith("2")
    }

    assert {f"#/components/responses/{status}" for _, status, _ in refusals} == {place for _, _, place in refusals}
    assert {"400", "401", "404"} <= {status for id_, status, _ in refusals if id_ == "createRoutine"}
    for answer in document["components"]["responses"].values():
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
    assert 'fetch("openapi.json")' in page.text
