"""The served description of the API, and the page that shows it."""

import base64
import csv
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api import Api
from web.openapi import examples

METHODS = {"get", "put", "post", "delete", "patch"}
RIGHTS = {
    row.pop("operation"): set(row.values())
    for row in csv.DictReader((Path(__file__).parents[3] / "docs" / "access.csv").read_text().splitlines())
}


@pytest.fixture(scope="module")
def served(api: Api) -> Any:
    return api.get("/openapi.json", token=None)


def operations(served: Any) -> list[tuple[str, str, Any]]:
    return [
        (path, method, operation) for path, methods in served["paths"].items() for method, operation in methods.items()
    ]


def everything_in(value: Any) -> list[Any]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(part for child in children for part in everything_in(child))]


def test_the_description_is_served_as_json_to_anybody(api: Api):
    answer = api.request("GET", "/openapi.json", token=None)

    assert 200 == answer.status_code
    assert "json" in answer.headers["content-type"]


def test_the_description_says_what_it_describes(served: Any):
    assert re.fullmatch(r"3\.1\.\d+", served["openapi"])
    assert {"title", "version"} <= served["info"].keys()
    assert {"type": "http", "scheme": "bearer"} == served["components"]["securitySchemes"]["bearer"]


def test_every_operation_has_an_id_of_its_own_an_answer_and_a_tag(served: Any):
    described = operations(served)
    ids = [operation["operationId"] for _, _, operation in described]

    assert len(ids) == len(set(ids))
    for path, method, operation in described:
        assert method in METHODS, path
        assert re.fullmatch(r"[a-z][A-Za-z]+", operation["operationId"])
        assert operation["responses"], path
        assert any(status.startswith("2") for status in operation["responses"]), path
        assert operation["tags"], path


def test_every_placeholder_of_a_path_is_a_parameter_and_the_other_way_round(served: Any):
    for path, _, operation in operations(served):
        parameters = [one for one in operation.get("parameters", []) if one["in"] == "path"]
        assert re.findall(r"\{(\w+)\}", path) == [one["name"] for one in parameters], path
        assert all(one["required"] for one in parameters)


def test_every_reference_leads_somewhere(served: Any):
    references = {part["$ref"] for part in everything_in(served) if isinstance(part, dict) and "$ref" in part}

    assert references
    for reference in references:
        at = served
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]


def test_every_answer_and_every_parameter_is_described(api: Api):
    for path, _, operation in api.description.operations:
        assert operation["summary"], path
        assert all(api.description.resolved(answer)["description"] for answer in operation["responses"].values()), path
        assert all(one["description"] and one["schema"] for one in operation["parameters"]), path


def test_who_is_turned_away_is_told_for_exactly_the_operations_that_turn_somebody_away(served: Any):
    """docs/access.csv is tested cell by cell; a webhook's 401 is about another credential than those in it."""
    statuses_by_id = {
        described["operationId"]: described["responses"].keys()
        for _, _, described in operations(served)
        if described["security"]
    }
    refusals_by_id = {name: {"401", "403"} & statuses for name, statuses in statuses_by_id.items()}

    assert {name: {"401", "403"} & RIGHTS[name] for name in refusals_by_id} == refusals_by_id


def test_only_what_is_reached_by_an_id_can_be_missing_and_only_a_body_can_be_too_large(served: Any):
    for path, method, operation in operations(served):
        assert ("{" in path) == ("404" in operation["responses"]), path
        assert (method != "get") == ({"413", "415"} <= operation["responses"].keys()), path


def test_only_what_asks_for_a_token_says_so(served: Any):
    open_to_all = {described["operationId"] for _, _, described in operations(served) if described["security"] == []}

    assert {"getHealth", "fireWebhook"} == open_to_all


def test_every_body_that_an_example_shows_is_taken(api: Api):
    """What is wrong with a body is told before its path is looked at (contract 1.2): so nothing is wrong with these."""
    for path, method, operation in api.description.operations:
        bodies = (
            operation["requestBody"]["content"]["application/json"]["examples"] if "requestBody" in operation else {}
        )
        assert bool(bodies) == ("requestBody" in operation), path
        for example in bodies.values():
            nowhere = re.sub(r"\{\w+\}", examples.read("web.paperclip").paths["routine_id"], path).removeprefix("/api")
            assert 400 != api.request(method.upper(), nowhere, example["value"]).status_code, (path, example)


def test_every_refusal_has_an_example_of_its_status(served: Any):
    for status, answer in served["components"]["responses"].items():
        if status != "304":
            assert int(status) == answer["content"]["application/json"]["example"]["status"]


def test_what_answers_always_hold_is_required_and_what_they_may_hold_is_not(served: Any):
    shapes = served["components"]["schemas"]

    assert shapes["Routine"]["properties"].keys() == set(shapes["Routine"]["required"])
    edited = shapes["EditedTrigger"]
    assert {"secretMaterial"} == edited["properties"].keys() - set(edited["required"])
    assert ["title"] == shapes["RoutineDraft"]["required"]


def test_limits_of_bodies_are_told_as_they_are_tested(served: Any):
    shapes = served["components"]["schemas"]

    title = shapes["RoutineDraft"]["properties"]["title"]
    assert ("string", 1, 200) == (title["type"], title["minLength"], title["maxLength"])
    for text in ("x", " x ", "\ufeff", "", " ", "\x1c\n", "\x85"):  # it is trimmed first
        assert bool(text.strip()) == bool(re.search(title["pattern"], text)), repr(text)
    assert {"type": "integer", "minimum": 30, "maximum": 86_400, "description": "default 300"} == shapes[
        "WebhookDraft"
    ]["properties"]["replayWindowSec"]
    assert "date-time" == shapes["BoardKeyDraft"]["properties"]["expiresAt"]["anyOf"][0]["format"]


def test_every_body_and_every_answer_has_a_shape(served: Any):
    for path, method, operation in operations(served):
        if "requestBody" in operation:
            assert operation["requestBody"]["content"]["application/json"]["schema"], path
        answer = next(one for status, one in operation["responses"].items() if status.startswith("2"))
        if "204" not in operation["responses"]:
            assert all(form["schema"] for form in answer["content"].values()), (method, path)


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
        ("rotateTriggerSecret", "200"),
        ("restoreRevision", "200"),
        ("fireWebhook", "202"),
        ("previewSchedule", "200"),
        ("addMember", "201"),
        ("removeMember", "204"),
        ("checkoutIssue", "200"),
        ("createComment", "201"),
        ("revokeAgentKey", "200"),
    ],
)
def test_the_description_names_the_status_that_is_answered(served: Any, operation: str, status: str):
    (described,) = (described for _, _, described in operations(served) if described["operationId"] == operation)

    assert status in described["responses"]


def test_every_route_of_the_contract_is_described(served: Any):
    described = {(method.upper(), re.sub(r"\{\w+\}", "*", path)) for path, method, _ in operations(served)}

    assert {
        *(("GET", "/api/health"), ("GET", "/api/cli-auth/me"), ("GET", "/api/agents/me")),
        *(("GET", "/api/agents/me/inbox-lite"), ("GET", "/api/board-api-keys"), ("POST", "/api/board-api-keys")),
        *(("DELETE", "/api/board-api-keys/*"), ("GET", "/api/agents/*/keys"), ("POST", "/api/agents/*/keys")),
        *(("DELETE", "/api/agents/*/keys/*"), ("GET", "/api/companies"), ("POST", "/api/companies")),
        *((method, "/api/companies/*/members") for method in ("GET", "POST")),
        *((method, "/api/companies/*/members/*") for method in ("PATCH", "DELETE")),
        *(("POST", "/api/companies/*/members/*/keys"), ("GET", "/api/companies/*/keys")),
        ("DELETE", "/api/companies/*/keys/*"),
        *(("GET", "/api/companies/*"), ("PATCH", "/api/companies/*"), ("POST", "/api/companies/*/archive")),
        *((method, f"/api/companies/*/{kind}") for method in ("GET", "POST") for kind in KINDS),
        *((method, "/api/agents/*") for method in ("GET", "PATCH")),
        *(("POST", f"/api/agents/*/{verb}") for verb in ("pause", "resume", "terminate", "approve")),
        ("POST", "/api/agents/*/rotate-heartbeat-secret"),
        *((method, "/api/companies/*/webhook-endpoints") for method in ("GET", "POST")),
        *((method, "/api/companies/*/webhook-endpoints/*") for method in ("GET", "PATCH", "DELETE")),
        *(("POST", f"/api/companies/*/webhook-endpoints/*/{verb}") for verb in ("rotate-secret", "test")),
        *(("GET", f"/api/companies/*/{kind}") for kind in ("webhook-endpoints/*/deliveries", "deliveries")),
        ("POST", "/api/companies/*/deliveries/*/redeliver"),
        *((method, f"/api/{kind}/*") for method in ("GET", "PATCH", "DELETE") for kind in ("projects", "goals")),
        *(("POST", f"/api/projects/*/{verb}") for verb in ("pause", "resume")),
        *((method, "/api/companies/*/folders") for method in ("GET", "POST")),
        *((method, "/api/companies/*/folders/*") for method in ("PATCH", "DELETE")),
        *(("POST", f"/api/companies/*/folders/{what}/move") for what in ("*", "items")),
        *((method, "/api/routines/*") for method in ("GET", "PATCH")),
        *(("GET", "/api/routines/*/runs"), ("POST", "/api/routines/*/run"), ("POST", "/api/routines/*/triggers")),
        *((method, "/api/routine-triggers/*") for method in ("PATCH", "DELETE")),
        ("GET", "/api/routine-runs/*"),
        *((method, "/api/routine-runs/*/log") for method in ("GET", "POST")),
        *(("GET", "/api/routine-runs/*"), ("GET", "/api/companies/*/runs")),
        ("POST", "/api/routine-runs/*/usage"),
        *(("POST", f"/api/routine-triggers/*/{verb}") for verb in ("rotate-secret", "test")),
        ("POST", "/api/routine-triggers/public/*/fire"),
        ("GET", "/api/routine-triggers/*/occurrences"),
        *((method, "/api/routine-triggers/*/backfills") for method in ("GET", "POST")),
        ("POST", "/api/routine-triggers/*/backfills/preview"),
        ("GET", "/api/routine-backfills/*"),
        ("POST", "/api/routine-backfills/*/cancel"),
        *(("POST", f"/api/companies/*/routines/{what}") for what in ("pause", "resume")),
        ("GET", "/api/routines/*/explain"),
        ("POST", "/api/schedule/preview"),
        *(("POST", f"/api/{kind}/*/what-if") for kind in ("routines", "companies")),
        ("GET", "/api/routines/*/revisions"),
        ("POST", "/api/routines/*/revisions/*/restore"),
        *((method, "/api/issues/*") for method in ("GET", "PATCH")),
        ("GET", "/api/issues/*/environment"),
        *(("GET", "/api/issues/*/heartbeat-context"), ("GET", "/api/issues/*/comments/*")),
        *(("POST", f"/api/issues/*/{verb}") for verb in ("checkout", "release", "admin/force-release", "comments")),
        ("GET", "/api/issues/*/comments"),
        ("GET", "/api/companies/*/exports/*"),
        *(("GET", "/api/refusals"), ("GET", "/api/routines/*/changes"), ("GET", "/api/routine-triggers/*/changes")),
        ("GET", "/api/routines/*/diff"),
        *(("GET", f"/api/{place}events{rest}") for place in ("", "companies/*/") for rest in ("", "/*")),
    } == described


KINDS = ("agents", "projects", "goals", "routines", "issues")


def test_the_docs_page_needs_no_other_server(api: Api):
    page = api.request("GET", "/docs", token=None)

    assert (200, "text/html; charset=utf-8") == (page.status_code, page.headers["content-type"])
    assert "openapi.json" in page.text
    assert not re.search(r"https?://|[\"'(]//", page.text)


class Inline(HTMLParser):
    """What a page holds that its policy must allow by hash, and the attributes that no hash allows."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.attributes: set[str] = set()
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        if self._inside in self.texts:
            self.texts[self._inside].append(data)

    def handle_endtag(self, _tag: str) -> None:
        self._inside = ""


@pytest.mark.parametrize("path", ["/api/docs", "/docs"])
def test_the_docs_page_runs_only_what_it_holds_and_is_framed_by_nobody(api: Api, path: str):
    page = httpx.get(f"{api.url}{path}")
    policy = dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))
    inline = Inline(page.text)

    for element, texts in inline.texts.items():
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert policy[f"{element}-src"] == " ".join(f"'sha256-{digest}'" for digest in hashes) != ""
    assert {"default-src": "'none'", "connect-src": "'self'", "frame-ancestors": "'none'"}.items() <= policy.items()
    assert not {name for name in inline.attributes if name.startswith("on") or name in {"style", "src"}}
    assert (page.headers["X-Frame-Options"], page.headers["Referrer-Policy"]) == ("DENY", "no-referrer")
    assert page.headers["X-Content-Type-Options"] == "nosniff"


def test_no_answer_but_the_docs_page_is_html(api: Api):
    answers = [
        httpx.get(f"{api.url}{path}") for path in ("/", "/api", "/api/health", "/nowhere", "/health", "/api/v1/x")
    ]

    assert [] == [answer.headers["content-type"] for answer in answers if "html" in answer.headers["content-type"]]
    assert {answer.headers["X-Content-Type-Options"] for answer in answers} == {"nosniff"}
