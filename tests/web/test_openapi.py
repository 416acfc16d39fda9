"""The served description of the API, and the page that shows it."""

import re
from typing import Any

import pytest

from tests.api import Api

METHODS = {"get", "put", "post", "delete", "patch"}


@pytest.fixture(scope="module")
def served(api: Api) -> Any:
    return api.get("/openapi.json", token=None)


def operations(served: Any) -> list[tuple[str, str, Any]]:
    return [(path, method, found) for path, methods in served["paths"].items() for method, found in methods.items()]


def everything_in(value: Any) -> list[Any]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(found for child in children for found in everything_in(child))]


def test_the_description_is_served_as_json_to_anybody(api: Api):
    answer = api.request("GET", "/openapi.json", token=None)

    assert 200 == answer.status_code
    assert "json" in answer.headers["content-type"]


def test_the_description_says_what_it_describes(served: Any):
    assert re.fullmatch(r"3\.1\.\d+", served["openapi"])
    assert {"title", "version"} <= served["info"].keys()
    assert {"type": "http", "scheme": "bearer"} == served["components"]["securitySchemes"]["bearer"]


def test_every_operation_has_an_id_of_its_own_an_answer_and_a_tag(served: Any):
    found = operations(served)
    ids = [operation["operationId"] for _, _, operation in found]

    assert len(ids) == len(set(ids))
    for path, method, operation in found:
        assert method in METHODS, path
        assert re.fullmatch(r"[a-z][A-Za-z]+", operation["operationId"])
        assert operation["responses"], path
        assert any(status.startswith("2") for status in operation["responses"]), path
        assert all(answer["description"] for answer in operation["responses"].values()), path
        assert operation["tags"], path


def test_every_placeholder_of_a_path_is_a_parameter_and_the_other_way_round(served: Any):
    for path, _, operation in operations(served):
        given = [one for one in operation.get("parameters", []) if one["in"] == "path"]
        assert re.findall(r"\{(\w+)\}", path) == [one["name"] for one in given], path
        assert all(one["required"] for one in given)


def test_every_reference_leads_somewhere(served: Any):
    references = {part["$ref"] for part in everything_in(served) if isinstance(part, dict) and "$ref" in part}

    assert references
    for reference in references:
        at = served
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]


def test_every_body_and_every_answer_has_a_shape(served: Any):
    for path, method, operation in operations(served):
        if "requestBody" in operation:
            assert operation["requestBody"]["content"]["application/json"]["schema"], path
        answer = next(one for status, one in operation["responses"].items() if status.startswith("2"))
        if "204" not in operation["responses"]:
            assert answer["content"]["application/json"]["schema"], (method, path)


def test_fields_are_named_as_clients_write_them(served: Any):
    names = {name for part in served["components"]["schemas"].values() for name in part.get("properties", {})}

    assert "assigneeAgentId" in names
    assert not {name for name in names if "_" in name}


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ("createRoutine", "201"),
        ("runRoutine", "202"),
        ("createTrigger", "201"),
        ("deleteTrigger", "204"),
        ("checkoutIssue", "200"),
        ("createComment", "201"),
        ("revokeAgentKey", "200"),
    ],
)
def test_the_description_names_the_status_that_is_answered(served: Any, operation: str, status: str):
    (found,) = (found for _, _, found in operations(served) if found["operationId"] == operation)

    assert status in found["responses"]


def test_every_route_of_the_contract_is_described(served: Any):
    described = {(method.upper(), re.sub(r"\{\w+\}", "*", path)) for path, method, _ in operations(served)}

    assert {
        *(("GET", "/api/health"), ("GET", "/api/cli-auth/me"), ("GET", "/api/agents/me")),
        *(("GET", "/api/agents/me/inbox-lite"), ("GET", "/api/board-api-keys"), ("POST", "/api/board-api-keys")),
        *(("DELETE", "/api/board-api-keys/*"), ("GET", "/api/agents/*/keys"), ("POST", "/api/agents/*/keys")),
        *(("DELETE", "/api/agents/*/keys/*"), ("GET", "/api/companies"), ("POST", "/api/companies")),
        *(("GET", "/api/companies/*"), ("PATCH", "/api/companies/*"), ("POST", "/api/companies/*/archive")),
        *((method, f"/api/companies/*/{kind}") for method in ("GET", "POST") for kind in KINDS),
        *((method, "/api/agents/*") for method in ("GET", "PATCH")),
        *(("POST", f"/api/agents/*/{verb}") for verb in ("pause", "resume", "terminate", "approve")),
        *((method, f"/api/{kind}/*") for method in ("GET", "PATCH", "DELETE") for kind in ("projects", "goals")),
        *(("POST", f"/api/projects/*/{verb}") for verb in ("pause", "resume")),
        *((method, "/api/routines/*") for method in ("GET", "PATCH")),
        *(("GET", "/api/routines/*/runs"), ("POST", "/api/routines/*/run"), ("POST", "/api/routines/*/triggers")),
        *((method, "/api/routine-triggers/*") for method in ("PATCH", "DELETE")),
        *((method, "/api/issues/*") for method in ("GET", "PATCH")),
        *(("GET", "/api/issues/*/heartbeat-context"), ("GET", "/api/issues/*/comments/*")),
        *(("POST", f"/api/issues/*/{verb}") for verb in ("checkout", "release", "admin/force-release", "comments")),
        ("GET", "/api/issues/*/comments"),
    } == described


KINDS = ("agents", "projects", "goals", "routines", "issues")


def test_the_docs_page_needs_no_other_server(api: Api):
    page = api.request("GET", "/docs", token=None)

    assert (200, "text/html; charset=utf-8") == (page.status_code, page.headers["content-type"])
    assert "openapi.json" in page.text
    assert not re.search(r"https?://|[\"'(]//", page.text)
