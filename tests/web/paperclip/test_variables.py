"""Variables of a routine over HTTP: declared, given values when it fires, filled in (contract 2.1 to 2.3)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from application.execute import Executor
from application.use_cases import schedule_firing
from domain.routines.trigger import DueTrigger
from tests.api import Api
from tests.web.hooks import JSON, hook
from tests.web.served import serve_further


class Desk(msgspec.Struct):
    """A company with one agent, and short ways to its routines."""

    api: Api
    company: str
    agent: str

    def make(self, title: str = "x", **fields: Any) -> Any:
        """A routine that never joins a run to another."""
        body = {"title": title, "assigneeAgentId": self.agent, "concurrencyPolicy": "always_enqueue", **fields}
        return self.api.post(f"/companies/{self.company}/routines", body)

    def refused(self, **fields: Any) -> Any:
        return self.api.request("POST", f"/companies/{self.company}/routines", {"title": "x", **fields})

    def routine(self, title: str = "x", **fields: Any) -> str:
        drafted = {"title": title, "concurrencyPolicy": "always_enqueue", **fields}
        return self.api.routine(self.company, self.agent, **drafted)

    def run(self, routine: str, **body: Any) -> Any:
        return self.api.post(f"/routines/{routine}/run", body)

    def refusal(self, routine: str, **body: Any) -> tuple[int, str]:
        answer = self.api.request("POST", f"/routines/{routine}/run", body)
        return answer.status_code, answer.json()["error"]

    def runs(self, routine: str) -> list[Any]:
        run_rows: list[Any] = self.api.get(f"/routines/{routine}/runs")
        return run_rows

    def issue(self, run: Any) -> Any:
        return self.api.get(f"/issues/{run['linkedIssueId']}")


@pytest.fixture(scope="module")
def desk(api: Api) -> Desk:
    company = api.company()
    return Desk(api, company, api.agent(company)[0])


def variable(name: str, **fields: Any) -> dict[str, Any]:
    """As it comes back when nothing else is said."""
    plain = {"name": name, "label": None, "type": "text", "defaultValue": None, "required": True, "options": []}
    return plain | fields


def names(routine: Any) -> list[str]:
    return [one["name"] for one in routine["variables"]]


# Declared


def test_what_title_and_description_name_is_declared_in_order_of_appearance(desk: Desk):
    routine = desk.make(
        "{{b}} by {{ endDate }} {{Date}}",
        description=r"{{a}} {{b}} {{a\_b}} {{date}} {{timestamp}} {{1x}} {{a.b}} {{ü}}",
        variables=[{"name": "spare"}, {"name": "a", "type": "number"}],
    )

    assert [
        variable("b"),
        variable("endDate", type="date"),
        variable("Date"),
        variable("a", type="number"),
        variable("a_b"),
        variable("spare"),
    ] == routine["variables"]
    assert routine["variables"] == desk.api.get(f"/routines/{routine['id']}")["variables"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"title": "{{c}} {{a}}"}, ["c", "a", "spare"]),
        ({"description": "{{c}}"}, ["a", "c", "spare"]),
        ({"variables": [{"name": "own"}]}, ["a", "own"]),
        ({"variables": []}, ["a"]),
        ({"priority": "low"}, ["a", "spare"]),
    ],
)
def test_an_edit_of_the_texts_or_the_variables_declares_what_is_missing(desk: Desk, change: Any, expected: list[str]):
    routine = desk.routine("{{a}}", variables=[{"name": "spare"}])

    edited = desk.api.patch(f"/routines/{routine}", change)

    assert (expected, 2) == (names(edited), edited["latestRevisionNumber"])


def test_an_edit_that_only_leaves_out_what_the_title_declares_changes_nothing(desk: Desk):
    routine = desk.make("{{a}}")

    assert routine == desk.api.patch(f"/routines/{routine['id']}", {"variables": []})


def test_a_declared_built_in_is_ignored(desk: Desk):
    routine = desk.make(variables=[{"name": "date", "defaultValue": "mine"}, {"name": "timestamp"}, {"name": "a"}])

    assert ["a"] == names(routine)


@pytest.mark.parametrize(
    "given",
    [
        {"type": "text", "defaultValue": "12"},
        {"type": "textarea", "defaultValue": "a\nb"},
        {"type": "number", "defaultValue": "12"},
        {"type": "number", "defaultValue": 1.5},
        {"type": "boolean", "defaultValue": "yes"},
        {"type": "boolean", "defaultValue": False},
        {"type": "select", "options": ["a", "b"], "defaultValue": "b"},
        {"type": "date", "defaultValue": "2028-02-29"},
    ],
)
def test_a_default_is_stored_as_it_is_given(desk: Desk, given: Any):
    assert [variable("a", **given)] == desk.make(variables=[{"name": "a", **given}])["variables"]


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"name": "1a"}, ["name"]),
        ({"name": "a-b"}, ["name"]),
        ({"name": ""}, ["name"]),
        ({"name": "_a"}, ["name"]),
        ({}, ["name"]),
        ({"name": "a", "label": "x" * 121}, ["label"]),
        ({"name": "a", "type": "list"}, ["type"]),
        ({"name": "a", "type": None}, ["type"]),
        ({"name": "a", "required": None}, ["required"]),
        ({"name": "a", "defaultValue": {}}, ["defaultValue"]),
        ({"name": "a", "defaultValue": []}, ["defaultValue"]),
        ({"name": "a", "options": ["x"]}, ["options"]),
        ({"name": "a", "type": "select"}, ["options"]),
        ({"name": "a", "type": "select", "options": [""]}, ["options", 0]),
        ({"name": "a", "type": "select", "options": ["x" * 121]}, ["options", 0]),
        ({"name": "a", "type": "select", "options": ["x"] * 51}, ["options"]),
        ({"name": "a", "type": "select", "options": ["x"], "defaultValue": "y"}, ["defaultValue"]),
        ({"name": "a", "type": "date", "defaultValue": "2027-02-29"}, ["defaultValue"]),
        ({"name": "a", "type": "date", "defaultValue": "tomorrow"}, ["defaultValue"]),
    ],
)
def test_a_declaration_that_is_malformed_is_a_bad_request_that_names_the_field(
    desk: Desk, untouched_routine: str, given: Any, where: list[Any]
):
    variables = [{"name": "fine"}, given]

    refusal = desk.refused(variables=variables)
    edited = desk.api.request("PATCH", f"/routines/{untouched_routine}", {"variables": variables})

    for answer in (refusal, edited):
        assert 400 == answer.status_code
        assert [["variables", 1, *where]] == [issue["path"] for issue in answer.json()["details"]]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"type": "select"}, "Select variables require at least one option"),
        ({"type": "text", "options": ["x"]}, "Only select variables can define options"),
    ],
)
def test_only_a_selection_has_options(desk: Desk, given: Any, text: str):
    (issue,) = desk.refused(variables=[{"name": "a", **given}]).json()["details"]

    assert text == issue["message"]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("number", "many", 'Variable "a" must be a number'),
        ("number", True, 'Variable "a" must be a number'),
        ("boolean", "perhaps", 'Variable "a" must be a boolean'),
        ("boolean", 2, 'Variable "a" must be a boolean'),
    ],
)
def test_a_default_that_is_not_of_its_type_is_refused(
    desk: Desk, untouched_routine: str, kind: str, value: Any, text: str
):
    body = {"variables": [{"name": "a", "type": kind, "defaultValue": value}]}

    for answer in (desk.refused(**body), desk.api.request("PATCH", f"/routines/{untouched_routine}", body)):
        assert (422, text) == (answer.status_code, answer.json()["error"])


def test_the_variables_cannot_be_null(desk: Desk):
    assert 400 == desk.refused(variables=None).status_code


# Given values


@pytest.mark.parametrize(
    ("declared", "given", "value", "text"),
    [
        ({}, "Zo\u00eb", "Zo\u00eb", "Zo\u00eb"),
        ({}, 7, "7", "7"),
        ({}, 1.5, "1.5", "1.5"),
        ({}, True, "true", "true"),
        ({}, " a ", " a ", " a "),
        ({"type": "textarea"}, "a\nb", "a\nb", "a\nb"),
        ({"type": "number"}, 7, 7, "7"),
        ({"type": "number"}, "7.50", 7.5, "7.5"),
        ({"type": "number"}, 7.0, 7, "7"),
        ({"type": "boolean"}, "YES", True, "true"),
        ({"type": "boolean"}, 0, False, "false"),
        ({"type": "boolean"}, "off", False, "false"),
        ({"type": "date"}, "2026-11-22", "2026-11-22", "2026-11-22"),
        ({"type": "select", "options": ["1", "b"]}, 1, "1", "1"),
    ],
)
def test_a_value_is_taken_in_its_variables_type_and_written_as_text(
    desk: Desk, declared: Any, given: Any, value: Any, text: str
):
    routine = desk.routine("For {{a}}!", description="{{ a }}{{a}}", variables=[{"name": "a", **declared}])

    run = desk.run(routine, variables={"a": given})

    issue = desk.issue(run)
    assert {"variables": {"a": value}} == run["triggerPayload"]
    assert type(value) is type(run["triggerPayload"]["variables"]["a"])
    assert (f"For {text}!", text * 2) == (issue["title"], issue["description"])


@pytest.mark.parametrize(
    ("declared", "given", "text"),
    [
        ({"type": "number"}, "many", 'Variable "a" must be a number'),
        ({"type": "number"}, True, 'Variable "a" must be a number'),
        ({"type": "boolean"}, "perhaps", 'Variable "a" must be a boolean'),
        ({"type": "date"}, "2027-02-29", 'Variable "a" must be a date (YYYY-MM-DD)'),
        ({"type": "select", "options": ["x", "y"]}, "z", 'Variable "a" must match one of: x, y'),
        ({}, "", "Missing routine variables: a"),
        ({}, " \t", "Missing routine variables: a"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_no_run_recorded(desk: Desk, declared: Any, given: Any, text: str):
    routine = desk.routine("{{a}}", variables=[{"name": "a", **declared}])

    assert (422, text) == desk.refusal(routine, variables={"a": given})
    assert [] == desk.runs(routine)


def test_all_required_variables_without_a_value_are_named(desk: Desk):
    optional = {"name": "c", "required": False}
    routine = desk.routine("{{a}} {{b}} {{c}} {{d}}", variables=[optional, {"name": "d", "defaultValue": 0}])

    assert (422, "Missing routine variables: a, b") == desk.refusal(routine)
    assert (422, "Missing routine variables: b") == desk.refusal(routine, variables={"a": "x"})
    assert [] == desk.runs(routine)


def test_an_optional_variable_without_a_value_is_empty_text_and_leaves_no_trace(desk: Desk):
    routine = desk.routine("Ask {{ who }}", variables=[{"name": "who", "required": False}])

    run = desk.run(routine, variables={"who": "  "})

    assert ("Ask ", None) == (desk.issue(run)["title"], run["triggerPayload"])


def test_the_request_counts_before_the_payload_and_that_before_the_default(desk: Desk):
    routine = desk.routine("{{a}} {{b}} {{c}}", variables=[{"name": name, "defaultValue": "d"} for name in "abc"])

    run = desk.run(routine, variables={"a": "r"}, payload={"variables": {"a": "p", "b": "p"}, "c": "top"})

    assert "r p d" == desk.issue(run)["title"]
    assert {"c": "top", "variables": {"a": "r", "b": "p", "c": "d"}} == run["triggerPayload"]


def test_null_in_the_payload_is_no_value(desk: Desk):
    routine = desk.routine("{{a}}", variables=[{"name": "a", "defaultValue": "d"}])

    assert "d" == desk.issue(desk.run(routine, payload={"variables": {"a": None}}))["title"]


def test_undeclared_values_of_the_request_are_dropped_and_those_of_the_payload_kept(desk: Desk):
    routine = desk.routine("{{a}}")

    run = desk.run(routine, variables={"a": 1, "x": 2}, payload={"variables": {"y": 3}, "z": 4})

    assert {"variables": {"y": 3, "a": "1"}, "z": 4} == run["triggerPayload"]


@pytest.mark.parametrize(
    ("payload", "kept"),
    [
        (None, None),
        ({}, {}),
        ({"variables": {"x": 1}}, {"variables": {"x": 1}}),
        ({"variables": "no object"}, {"variables": "no object"}),
    ],
)
def test_without_variables_the_payload_is_stored_as_it_is(desk: Desk, payload: Any, kept: Any):
    routine = desk.routine()

    run = desk.run(routine, payload=payload, variables={"undeclared": 1})

    assert kept == run["triggerPayload"] == desk.runs(routine)[0]["triggerPayload"]


@pytest.mark.parametrize("variables", [{"a": None}, {"a": []}, {"a": {}}, [], "a", 7])
def test_the_variables_of_a_request_are_plain_values_by_name(desk: Desk, untouched_routine: str, variables: Any):
    """Contract 5.1."""
    answer = desk.api.request("POST", f"/routines/{untouched_routine}/run", {"variables": variables})

    assert (400, "variables") == (answer.status_code, answer.json()["details"][0]["path"][0])


def test_a_value_is_not_read_as_a_template(desk: Desk):
    routine = desk.routine("{{a}} {{b}}")

    run = desk.run(routine, variables={"a": "{{b}} {{date}}", "b": r"\1 {{a}}"})

    assert r"{{b}} {{date}} \1 {{a}}" == desk.issue(run)["title"]


def test_what_is_no_placeholder_stays_as_it_is(desk: Desk):
    text = "{{a.b}} {{1x}} {a} {{}} {{ }} {{a"

    assert text == desk.issue(desk.run(desk.routine(text)))["title"]


def test_an_escaped_underscore_names_the_same_variable(desk: Desk):
    routine = desk.routine(r"{{my\_name}} {{my_name}}")

    assert "x x" == desk.issue(desk.run(routine, variables={"my_name": "x"}))["title"]


def test_the_date_and_the_time_of_the_firing_are_always_there(desk: Desk):
    noon = datetime(2036, 3, 9, 0, 5, 59, tzinfo=UTC)
    routine = desk.routine("On {{date}}", description="{{ timestamp }}")

    with serve_further(desk.api, clock=lambda: noon) as then:
        run = then.post(f"/routines/{routine}/run", {"variables": {"date": "mine"}})

    issue = desk.issue(run)
    assert ("On 2036-03-09", "March 9, 2036 at 12:05 AM UTC") == (issue["title"], issue["description"])
    assert run["triggerPayload"] is None


def test_a_run_that_joins_another_keeps_its_own_values(desk: Desk):
    routine = desk.routine("{{a}}", concurrencyPolicy="coalesce_if_active")

    desk.run(routine, variables={"a": 1})
    joined = desk.run(routine, variables={"a": 2})

    assert ("coalesced", {"variables": {"a": "2"}}) == (joined["status"], joined["triggerPayload"])
    assert "1" == desk.issue(joined)["title"]


def test_the_order_of_refusals_has_the_variables_behind_the_agent(desk: Desk):
    """Contract 5.1."""
    unassigned = desk.routine("{{a}}", assigneeAgentId=None)

    assert (422, "Default agent required") == desk.refusal(unassigned)
    assert (422, "Missing routine variables: a") == desk.refusal(unassigned, assigneeAgentId=desk.agent)


def test_a_key_that_was_used_needs_its_variables_again(desk: Desk):
    """Contract 5.1: variables before idempotency."""
    routine = desk.routine("{{a}}")
    first = desk.run(routine, idempotencyKey="k", variables={"a": 1})

    assert (422, "Missing routine variables: a") == desk.refusal(routine, idempotencyKey="k")
    again = desk.run(routine, idempotencyKey="k", variables={"a": 2})
    assert (first["id"], {"variables": {"a": "1"}}) == (again["id"], again["triggerPayload"])


# By webhook and by schedule


def test_a_webhook_gives_values_in_its_variables_then_at_the_top_of_its_payload(desk: Desk):
    routine = desk.routine("{{a}} {{b}} {{c}}", variables=[{"name": name, "defaultValue": "d"} for name in "abc"])
    sender = hook(desk.api, routine)

    run = sender.fire(b'{"variables": {"a": "v"}, "a": "top", "b": {"k": [1, null]}}', JSON)

    assert 'v {"k":[1,null]} d' == desk.issue(run)["title"]
    assert {
        "variables": {"a": "v", "b": '{"k":[1,null]}', "c": "d"},
        "a": "top",
        "b": {"k": [1, None]},
    } == run["triggerPayload"]


def test_a_webhook_without_the_required_values_is_refused_and_may_be_called_again(desk: Desk):
    routine = desk.routine("{{a}}")
    sender = hook(desk.api, routine, "hmac_sha256")
    head = desk.api.system.store.head()
    headers = sender.signed(b"{}")

    answers = [sender.send(b"{}", headers | JSON) for _ in range(2)]

    assert {(422, "Missing routine variables: a")} == {(one.status_code, one.json()["error"]) for one in answers}
    assert head == desk.api.system.store.head()
    assert "x" == desk.issue(sender.fire(b'{"a": "x"}', JSON))["title"]


@pytest.mark.parametrize("body", [b'["x"]', b"", b"a=x"])
def test_a_payload_that_is_no_object_gives_no_values(desk: Desk, body: bytes):
    sender = hook(desk.api, desk.routine("{{a}}"))

    assert 422 == sender.call(body).status_code


def tick(desk: Desk, routine: str) -> Any:
    """The run of the routine's schedule at its time, by a scheduler of our own."""
    (trigger,) = desk.api.get(f"/routines/{routine}")["triggers"]
    next_at = datetime.fromisoformat(trigger["nextRunAt"])
    row = DueTrigger(
        trigger_id=UUID(trigger["id"]),
        trigger_version=1,
        routine_id=UUID(routine),
        company_id=UUID(trigger["companyId"]),
        next_at=next_at,
    )
    then = Executor(desk.api.system.store, lambda: next_at + timedelta(seconds=1))
    then.attempt(lambda work: schedule_firing.fire_due(work, [row]), actor="scheduler")
    return desk.runs(routine)[0]


def test_a_schedule_fires_with_the_defaults_and_its_own_date(desk: Desk):
    routine = desk.routine("{{who}} on {{date}}", variables=[{"name": "who", "defaultValue": 7}])
    desk.api.post(f"/routines/{routine}/triggers", {"kind": "schedule", "cronExpression": "0 9 * * *"})

    run = tick(desk, routine)

    title = desk.issue(run)["title"]
    assert ("schedule", {"variables": {"who": "7"}}) == (run["source"], run["triggerPayload"])
    assert re.fullmatch(r"7 on \d{4}-\d\d-\d\d", title)
    assert run["triggeredAt"].startswith(title.removeprefix("7 on "))


def test_a_run_that_a_paused_project_suppressed_has_no_payload(desk: Desk):
    """Contract 4.2."""
    project = desk.api.post(f"/companies/{desk.company}/projects", {"name": "x"})["id"]
    routine = desk.routine("{{who}}", projectId=project, variables=[{"name": "who", "defaultValue": "all"}])
    desk.api.post(f"/routines/{routine}/triggers", {"kind": "schedule", "cronExpression": "0 9 * * *"})
    desk.api.post(f"/projects/{project}/pause")

    run = tick(desk, routine)

    assert ("skipped", "paused", None, None) == tuple(
        run[name] for name in ("status", "failureReason", "linkedIssueId", "triggerPayload")
    )


def test_a_title_and_a_description_name_what_is_in_the_payload(desk: Desk):
    routine = desk.routine(
        "Look at {{payload.repository.full_name}}", description="{{ payload.commits }}|{{payload.gone}}"
    )
    payload = {"repository": {"full_name": "acme/x"}, "commits": [{"id": 1}]}

    issue = desk.issue(desk.run(routine, payload=payload))

    assert ("Look at acme/x", '[{"id":1}]|') == (issue["title"], issue["description"])
    assert [] == desk.api.get(f"/routines/{routine}")["variables"]


def test_a_sample_of_a_webhook_shows_the_title_and_the_description_of_its_issue(desk: Desk):
    routine = desk.routine("Look at {{payload.release}}", description="As {{payload.by.name}} said")
    trigger = desk.api.post(f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": "none"})["trigger"]
    body = '{"release": "2.4.0", "by": {"name": "Ada"}}'

    shown = desk.api.post(f"/routine-triggers/{trigger['id']}/test", {"body": body})

    assert ("Look at 2.4.0", "As Ada said") == (shown["title"], shown["description"])


def test_a_template_names_a_hundred_paths_at_most(desk: Desk):
    text = " ".join(f"{{{{payload.a{number}}}}}" for number in range(101))
    body = {"title": "x", "description": text}

    answer = desk.api.request("POST", f"/companies/{desk.company}/routines", body)

    assert (422, "A routine can name at most 100 paths of the payload") == (answer.status_code, answer.json()["error"])
