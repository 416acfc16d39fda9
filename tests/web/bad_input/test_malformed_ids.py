"""Ids and queries that are malformed: a 400 that names the field, or a 404; never a 5xx."""

import pytest

from tests.api import Api
from tests.web.bad_input.requests_by_hand import ID, issue_paths


@pytest.mark.parametrize("field", ["triggerId", "projectId", "assigneeAgentId"])
@pytest.mark.parametrize(
    "id_", ["", "nonsense", f"{{{ID}}}", f"urn:uuid:{ID}", ID[:-1], f"{ID}0", ID.replace("-", ""), f" {ID}"]
)
def test_a_malformed_id_in_a_body_is_named(api: Api, routine: str, field: str, id_: str):
    answer = api.request("POST", f"/routines/{routine}/run", {field: id_})

    issue = {"code": "invalid_string", "validation": "uuid", "message": "Invalid uuid", "path": [field]}
    assert (400, [issue]) == (answer.status_code, answer.json()["details"])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("routines", "projectId"),
        *(("issues", name) for name in ("projectId", "assigneeAgentId", "parentId", "originId")),
    ],
)
@pytest.mark.parametrize("id_", ["nonsense", "%20", "%ff", f"{ID}x", "1"])
def test_a_malformed_id_in_a_query_is_named(api: Api, path: str, name: str, id_: str):
    answer = api.request("GET", f"/companies/{ID}/{path}?{name}={id_}")

    assert 400 == answer.status_code
    assert [[name]] == issue_paths(answer)


@pytest.mark.parametrize(
    "id_",
    ["nonsense", "%00", "%ff", "%ED%A0%80", "..%2f..", "%2e%2e", "'%22;--", "x" * 5_000, "%F0%9F%98%80", "%0d%0aX:1"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", f"/{kind}/*") for kind in ("companies", "routines", "issues", "goals")),
        *(("GET", f"/{kind}/*?companyId={ID}") for kind in ("agents", "projects")),
        *(("DELETE", f"/{kind}/*") for kind in ("routine-triggers", "goals", "projects", "board-api-keys")),
        *(("GET", f"/companies/*/{kind}") for kind in ("agents", "projects", "goals", "routines", "issues")),
        ("DELETE", f"/agents/{ID}/keys/*"),
        ("GET", f"/issues/{ID}/comments/*"),
        ("POST", "/routines/*/run"),
    ],
)
def test_a_malformed_id_in_a_path_is_not_found(api: Api, method: str, path: str, id_: str):
    answer = api.request(method, path.replace("*", id_))

    assert 404 == answer.status_code
    assert "not found" in answer.json()["error"]


@pytest.mark.parametrize(
    "query", ["q=%00", "status=a%00", "originKind=%00", "projectId=%00", "limit=%00", "%00=1", "x=%00"]
)
def test_the_character_nul_in_a_query_is_refused(api: Api, query: str):
    answer = api.request("GET", f"/companies/{api.company()}/issues?{query}")

    assert (400, "The character U+0000 is not allowed in a query") == (answer.status_code, answer.json()["error"])


@pytest.mark.parametrize(
    "query", ["q=%ff", "q=%ED%A0%80", "q=%", "q=%zz", "&&&=", "status=,,,", "q=" + "x" * 4_000, "a=1&a=2", "a[b]=1"]
)
def test_odd_queries_find_nothing_or_all_but_do_no_harm(api: Api, query: str):
    assert 200 == api.request("GET", f"/companies/{api.company()}/issues?{query}").status_code
