"""Whatever the body of a request has that people may send, a form of the board sends, or here is why not."""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from application.request_bodies import board as bodies
from application.request_bodies import endpoints, issues, jetty, routines, triggers
from web.board.api import Api

BY_BUTTON = "Pausing and resuming are buttons of their own."
BY_FORM = "The form has a first schedule; the form of triggers has the rest."
IN_ITS_FORM = "The form of what is there already has it."
OF_PROGRAMS = "It is for the programs that start agents."
OF_CLIENTS = "A client says it of its own work; whoever presses a button has none."
WITHOUT_FORM = {
    routines.RoutineDraft: {"status": BY_BUTTON, "pauseNote": BY_BUTTON, "resumeAt": BY_BUTTON, "triggers": BY_FORM},
    routines.RoutinePatch: {},
    routines.RunRequest: {
        **dict.fromkeys(("source", "triggerId", "executionWorkspaceId", "projectWorkspaceId"), OF_CLIENTS),
        **dict.fromkeys(("executionWorkspacePreference", "executionWorkspaceSettings"), OF_CLIENTS),
        **dict.fromkeys(("projectId", "assigneeAgentId"), "A run is of the routine's own project and agent."),
    },
    routines.BackfillDraft: {},
    routines.BulkPause: {},
    routines.BulkResume: dict.fromkeys(("projectId", "assigneeAgentId", "q", "routineIds"), "As for a pause."),
    triggers.TriggerDraft: {},
    triggers.TriggerPatch: {},
    triggers.SecretRotation: {},
    triggers.WebhookSample: {"encoding": "What is typed is text."},
    triggers.SchedulePreview: {},
    bodies.CompanyPatch: {},
    bodies.ProjectDraft: {},
    bodies.ProjectPatch: {},
    bodies.GoalDraft: {},
    bodies.GoalPatch: {},
    bodies.FolderDraft: {},
    bodies.FolderPatch: {},
    bodies.FolderItems: {},
    bodies.AgentPatch: dict.fromkeys(("adapterType", "adapterConfig", "metadata", "budgetMonthlyCents"), OF_PROGRAMS),
    bodies.MemberDraft: {
        "userId": "The form adds people who are not known yet.",
        "keyExpiresAt": "The first key ends in 30 days.",
        "permissions": IN_ITS_FORM,
    },
    bodies.MemberPatch: {},
    endpoints.EndpointDraft: dict.fromkeys(("description", "ordered", "enabled"), IN_ITS_FORM),
    endpoints.EndpointPatch: {},
    issues.IssueDraft: {"status": IN_ITS_FORM},
    issues.IssuePatch: {
        "comment": "There is a form for comments.",
        **dict.fromkeys(("outputs", "usage"), OF_CLIENTS),
    },
    jetty.TaskCreate: {},
    jetty.TaskChange: {},
    jetty.RoutineCreate: {"paused": BY_BUTTON},
    jetty.RoutineChange: {"paused": BY_BUTTON},
    jetty.RunCreate: {"use_trial_keys": "It has no effect: there are no trial keys."},
    jetty.LabelCreate: {},
    jetty.EnvironmentChange: {},
    jetty.ApiKeyCreate: {"expires_at": "It ends with the key that asks for it."},
}
SHAPES = (  # by the method and the path of the call
    (r"POST /companies/[^/]+/routines", routines.RoutineDraft),
    (r"PATCH /routines/[^/]+", routines.RoutinePatch),
    (r"POST /routines/[^/]+/run", routines.RunRequest),
    (r"POST /routine-triggers/[^/]+/backfills", routines.BackfillDraft),
    (r"POST /companies/[^/]+/routines/pause", routines.BulkPause),
    (r"POST /companies/[^/]+/routines/resume", routines.BulkResume),
    (r"POST /routines/[^/]+/triggers", triggers.TriggerDraft),
    (r"PATCH /routine-triggers/[^/]+", triggers.TriggerPatch),
    (r"POST /routine-triggers/[^/]+/rotate-secret", triggers.SecretRotation),
    (r"POST /routine-triggers/[^/]+/test", triggers.WebhookSample),
    (r"POST /schedule/preview", triggers.SchedulePreview),
    (r"PATCH /companies/[^/]+", bodies.CompanyPatch),
    (r"POST /companies/[^/]+/projects", bodies.ProjectDraft),
    (r"PATCH /projects/[^/]+", bodies.ProjectPatch),
    (r"POST /companies/[^/]+/goals", bodies.GoalDraft),
    (r"PATCH /goals/[^/]+", bodies.GoalPatch),
    (r"POST /companies/[^/]+/folders", bodies.FolderDraft),
    (r"PATCH /companies/[^/]+/folders/[^/]+", bodies.FolderPatch),
    (r"POST /companies/[^/]+/folders/items/move", bodies.FolderItems),
    (r"PATCH /agents/[^/]+", bodies.AgentPatch),
    (r"POST /companies/[^/]+/members", bodies.MemberDraft),
    (r"PATCH /companies/[^/]+/members/[^/]+", bodies.MemberPatch),
    (r"POST /companies/[^/]+/webhook-endpoints", endpoints.EndpointDraft),
    (r"PATCH /companies/[^/]+/webhook-endpoints/[^/]+", endpoints.EndpointPatch),
    (r"POST /companies/[^/]+/issues", issues.IssueDraft),
    (r"PATCH /issues/[^/]+", issues.IssuePatch),
    (r"POST /v1/tasks/[^/]+", jetty.TaskCreate),
    (r"PUT /v1/tasks/[^/]+/[^/]+", jetty.TaskChange),
    (r"POST /v1/routines/[^/]+/[^/]+", jetty.RoutineCreate),
    (r"PATCH /v1/routines/[^/]+/[^/]+/[^/]+", jetty.RoutineChange),
    (r"POST /v1/run/[^/]+/[^/]+", jetty.RunCreate),
    (r"POST /v1/trajectory/.*/labels", jetty.LabelCreate),
    (r"PATCH /v1/collections/[^/]+/environment", jetty.EnvironmentChange),
    (r"POST /v1/api-keys", jetty.ApiKeyCreate),
)
ROUTINE = {
    "retry": "yes",
    "maxCost": "2.50",
    "windowSec": "86400",
    "probe.url": "https://example.com/queue",
    "probe.path": "queue.size",
    "probe.equals": "3",
    "variables.0.name": "team",
    "variables.0.defaultValue": "sales",
    "env.0.name": "OWN",
    "env.0.value": "x",
    "env.1.name": "SHARED",
    "env.1.type": "secret_ref",
    "env.1.variable": "TOKEN",
}
SCHEDULE = {"cronExpression": "0 9 * * *", "timezone": "UTC"}
CADENCE = {"name": "r", "type": "weekly", "hour_utc": "9", "minute_utc": "5", "day_of_week": "mon"}
SECRETS = {"secret_params": '{"a": 1}', "webhook_url": "https://example.org/in", "webhook_secret": "hunter2-hunter2"}


@pytest.fixture
def sent_bodies(board, api, company, agent, monkeypatch):
    """What the forms of the board have sent, by the shape of the body."""
    bodies_by_shape: dict[Any, list[Any]] = {shape: [] for shape in WITHOUT_FORM}
    call = Api.call

    async def noted(self, method, path, body=None, **kwargs):
        shape = next((shape for form, shape in SHAPES if re.fullmatch(form, f"{method} {path}")), None)
        if shape is not None and body is not None:
            bodies_by_shape[shape].append(json.loads(msgspec.json.encode(body)))
        return await call(self, method, path, body, **kwargs)

    monkeypatch.setattr(Api, "call", noted)
    _send_forms_of_routines(board, api, company, agent)
    _send_forms_of_tasks(board)
    _send_forms_of_structure(board, api, company, agent)
    return bodies_by_shape


def _send_forms_of_routines(board, api, company, agent):
    other = api.routine(company, agent, title="Other")
    board.send(board.show("/variables"), "/variables", name="TOKEN", secret_value="x")
    answer = board.send(
        board.show("/routines/new"), "/routines/new", **ROUTINE, **SCHEDULE, title="x", assigneeAgentId=agent
    )
    path = f"/routines/{answer.response.url.path.rsplit('/', 1)[1]}"
    board.send(board.show(f"{path}/edit"), "/edit", title="y")
    board.send(board.show(f"{path}/run"), f"{path}/run", **{"variable.team": "a", "payload": '{"a": 1}'})
    window = {"startsAt": "2098-01-01 09:00", "endsAt": "2099-01-01 09:00", "excludedDates": "2098-02-01"}
    for kind, fields in (
        ("webhook", {}),
        ("api", {}),
        ("chain", {"afterRoutineId": other}),
        ("schedule", SCHEDULE | window | {"check": "1"}),
        ("schedule", {"cronExpression": "", "runAt": "2099-01-01 09:00", "check": "1"}),
        ("schedule", SCHEDULE),
    ):
        board.send(board.show(f"{path}/triggers/new?kind={kind}"), "/triggers/new", **fields)
    for trigger in api.get(path)["triggers"]:
        page = board.show(f"{path}/triggers/{trigger['id']}")
        board.send(page, f"/triggers/{trigger['id']}")
        if trigger["kind"] == "webhook":
            board.send(page, "/rotate")
            board.send(page, "/sample")
    schedule = next(one["id"] for one in api.get(path)["triggers"] if one["kind"] == "schedule")
    page = board.show(f"{path}/triggers/{schedule}/backfills")
    fields = {"from": "2020-01-01 00:00", "to": "2020-01-02 00:00"}
    board.send(board.send(page, "/backfills", **fields), "/backfills", confirmed="1")
    board.send(board.show(f"{path}/pause"), "/pause", note="x", until="2099-01-01 09:00")
    board.send(board.show(path), "/status")
    fields = {**board.show("/routines").form("/many")["fields"], "confirmed": "1", "until": "2099-01-01 09:00"}
    chosen = {
        "q": {"q": "x", "agent": agent, "project": company, "all": "1"},
        "ids": {"routine": [other]},
        "all": {"all": "1"},
    }
    for narrowed in chosen.values():
        paused = board.post(f"/board/companies/{company}/routines/many", {**fields, "action": "pause", **narrowed})
    board.send(paused, "/many")
    board.post(f"/board/companies/{company}/routines/many", {**fields, "action": "resume", "all": "1"})
    board.post(f"/board/companies/{company}/routines/many", {**fields, "action": "move", "routine": [other]})


def _send_forms_of_tasks(board):
    board.send(board.show("/new-task"), "/new-task", name="t")
    board.send(board.show("/tasks/t/edit"), "/edit")
    started = board.send(board.show("/tasks/t/run"), "/run", **SECRETS)
    board.send(started, "/labels", key="a", value="b")
    board.send(board.show("/tasks/t/new-routine"), "/new-routine", **CADENCE, **SECRETS)
    board.send(board.show("/tasks/t/routines/r/edit"), "/edit", webhook_secret="hunter2-hunter3")
    board.send(board.show("/tasks"), "/collection-keys", name="k")


def _send_forms_of_structure(board, api, company, agent):
    for kind in ("projects", "goals", "folders", "issues"):
        board.send(board.show(f"/structure/{kind}/new"), "/new", name="x", title="x")
        thing = api.get(f"/companies/{company}/{kind}")[0]
        parent = api.post(f"/companies/{company}/folders", {"name": "y"})["id"] if kind == "folders" else None
        changed = {"name": "z", "title": "z"} | ({"parentId": parent} if parent else {})
        board.send(board.show(f"/structure/{kind}/{thing['id']}"), f"/{thing['id']}", **changed)
    issue = api.get(f"/companies/{company}/issues")[0]["id"]
    board.send(board.show(f"/issues/{issue}"), "/status", status="cancelled", failureReason="x")
    board.send(board.show(f"/structure/agents/{agent}"), f"/{agent}", name="x")
    people = board.send(board.show("/people"), f"/agents/{agent}", action="budget", maxCost="1", windowSec="60")
    board.send(people, "/people/members", name="Ada", email="ada@example.org", role="member")
    people = board.show("/people")
    ada = next(form["action"] for form in people.forms if "/members/" in form["action"])
    board.send_surely(people, ada, role="viewer")
    board.send(board.show("/deliveries"), "/endpoints", url="https://hooks.example.org/in", events="run.*")
    endpoint = api.get(f"/companies/{company}/webhook-endpoints")[0]["id"]
    board.send(board.show(f"/structure/webhook-endpoints/{endpoint}"), f"/{endpoint}", description="x")
    board.send(board.show("/deliveries"), f"/endpoints/{endpoint}", action="disable")
    board.send(board.show(f"/structure/company/{company}"), f"/{company}", maxCost="1", windowSec="60")


def test_every_field_of_the_bodies_is_sent_by_a_form_or_has_a_reason_why_not(sent_bodies):
    for shape, shape_bodies in sent_bodies.items():
        unsent = {
            _explained_field(path, WITHOUT_FORM[shape])
            for path in fields_without(inspect.type_info(shape), shape_bodies)
        }
        assert set(WITHOUT_FORM[shape]) == unsent, shape


def _explained_field(path: str, reasons: Collection[str]) -> str:
    """The field for which there is a reason, if the path is of it or within it."""
    return next((field for field in reasons if path == field or path.startswith(f"{field}.")), path)


def fields_without(info: inspect.Type, values: Sequence[Any], place: str = "") -> Iterator[str]:
    """The fields of a type that none of the values has, by their paths."""
    match info:
        case inspect.Metadata():
            yield from fields_without(info.type, values, place)
        case inspect.StructType():
            wanted = [one for one in values if isinstance(one, dict) and one.get(info.tag_field, info.tag) == info.tag]
            for field in info.fields:
                path = f"{place}.{field.encode_name}".strip(".")
                sent_values = [one[field.encode_name] for one in wanted if field.encode_name in one]
                if sent_values:
                    yield from fields_without(field.type, sent_values, path)
                else:
                    yield path
        case inspect.UnionType():
            for one in info.types:
                yield from fields_without(one, values, place)
        case inspect.VarTupleType():
            yield from fields_without(info.item_type, [one for many in values if many for one in many], place)
        case inspect.DictType():
            yield from fields_without(info.value_type, [one for many in values if many for one in many.values()], place)
        case _:
            pass
