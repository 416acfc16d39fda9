"""Whatever is wrong in a field, a sentence stands beside that field, everything typed is still there, and nothing is saved."""

from itertools import zip_longest

import pytest

FOREIGN = "00000000-0000-4000-8000-000000000000"
LONG, CONTROL = "x" * 100_001, "a\0b"
SCHEDULE = {"kind": "schedule", "cronExpression": "0 9 * * *", "timezone": "Asia/Tokyo"}
TASK = {"steps": ["query"], "step_configs": {"query": {"activity": "sql"}}}
OF_ROUTINES = {
    "title": ("", LONG, CONTROL),
    "description": (CONTROL,),
    "priority": ("soon",),
    "concurrencyPolicy": ("never",),
    "catchUpPolicy": ("never",),
    "activityGatePolicy": ("never",),
    "activityGateScope": ("never",),
    "assigneeAgentId": (FOREIGN, "nobody"),
    "projectId": (FOREIGN, "nothing"),
    "goalId": (FOREIGN, "nothing"),
    "folderId": (FOREIGN, "nothing"),
    "parentIssueId": (FOREIGN, "nothing"),
    "probe.url": ("nonsense", CONTROL),
    "maxRunDurationSec": ("soon", "-1", "1e9", "9" * 30),
    "alertBounds.missedInARow": ("-1", "x"),
    "alertBounds.stuckAfterSec": ("0", "x"),
    "maxCost": ("much", "-1"),
    "windowSec": ("long", "0"),
    "variables.0.name": ("9 x", CONTROL),
}
WITH_RETRIES = dict.fromkeys(
    ("maxAttempts", "backoffSeconds", "backoffFactor", "maxBackoffSeconds"), ("0", "x", "99999999")
)
OF_SCHEDULES = {
    "cronExpression": ("61 * * * *", "x", CONTROL, LONG),
    "timezone": ("Mars/Olympus", CONTROL, "../UTC"),
    "runAt": ("tomorrow",),
    "startsAt": ("tomorrow",),
    "endsAt": ("tomorrow",),
    "excludedDates": ("Christmas", "2026-02-30"),
    "jitterSec": ("x", "-1", "999999999"),
    "label": (LONG, CONTROL),
}


@pytest.fixture
def forms(api, company, agent):
    """Each form: its page, the end of its address, what else is filled in, and the wrong texts of each field."""
    variables = [{"name": "number", "type": "number", "required": True, "defaultValue": 1}]
    routine = api.routine(company, agent, variables=variables, triggers=[SCHEDULE, {"kind": "webhook"}])
    schedule, webhook = (one["id"] for one in api.get(f"/routines/{routine}")["triggers"])
    issue = api.post(f"/routines/{routine}/run", {"variables": {"number": 1}})["linkedIssueId"]
    project = api.post(f"/companies/{company}/projects", {"name": "Launch"})["id"]
    goal = api.post(f"/companies/{company}/goals", {"title": "Grow"})["id"]
    endpoint = {"url": "https://hooks.example.org/in", "events": ["run.*"]}
    endpoint = api.post(f"/companies/{company}/webhook-endpoints", endpoint)["id"]
    api.post(f"/v1/tasks/{company}", {"name": "t", "workflow": TASK})
    api.post(f"/v1/routines/{company}/t", {"name": "r", "cadence": {"type": "manual"}})
    number = api.post(f"/v1/run/{company}/t", {})["trajectory_id"]
    of_routine = f"/routines/{routine}"
    of_task_routines = {
        "name": ("", "A b", LONG, CONTROL),
        "type": ("yearly",),
        "hour_utc": ("99", "x"),
        "minute_utc": ("99", "x"),
        "init_params_overrides": ("{", "[]"),
        "webhook_url": ("nonsense", CONTROL),
    }
    of_tasks = {
        "name": ("", "/", LONG, CONTROL),
        "description": (CONTROL,),
        "workflow": ("{", "[]", '{"steps": 1}'),
    }
    weekly = {"type": "weekly", "hour_utc": "9"}
    return [
        (
            "/routines/new",
            "/routines/new",
            {"title": "x"},
            {**OF_ROUTINES, **{n: OF_SCHEDULES[n] for n in ("cronExpression", "timezone")}},
        ),
        (f"{of_routine}/edit", "/edit", {}, OF_ROUTINES),
        (
            f"{of_routine}/edit",
            "/edit",
            {"retry": "yes"},
            {f"retryPolicy.{n}": texts for n, texts in WITH_RETRIES.items()},
        ),
        (
            f"{of_routine}/edit",
            "/edit",
            {"probe.url": "https://x.example"},
            {"probe.status": ("9999", "x"), "probe.ifUnanswered": ("odd",), "probe.path": (CONTROL,)},
        ),
        (
            f"{of_routine}/edit",
            "/edit",
            {"variables.0.name": "n", "variables.0.type": "number"},
            {"variables.0.defaultValue": ("x",)},
        ),
        (
            f"{of_routine}/edit",
            "/edit",
            {"variables.0.name": "n"},
            {"variables.0.type": ("odd",), "variables.0.label": (LONG, CONTROL)},
        ),
        (
            f"{of_routine}/edit",
            "/edit",
            {"env.0.name": "N", "env.0.value": "x"},
            {"env.0.name": ("9 x", CONTROL), "env.0.type": ("odd",)},
        ),
        (
            f"{of_routine}/edit",
            "/edit",
            {"env.0.name": "N", "env.0.type": "secret_ref"},
            {"env.0.variable": ("NONE_SUCH",)},
        ),
        (f"{of_routine}/triggers/new", "/triggers/new", {}, OF_SCHEDULES),
        (f"{of_routine}/triggers/{schedule}", f"/triggers/{schedule}", {}, OF_SCHEDULES),
        (
            f"{of_routine}/triggers/{webhook}",
            f"/triggers/{webhook}",
            {},
            {"signingMode": ("odd",), "replayWindowSec": ("x", "-1", "99999999"), "label": (LONG,)},
        ),
        (
            f"{of_routine}/triggers/new?kind=chain",
            "/triggers/new",
            {},
            {"afterRoutineId": (FOREIGN, "x"), "afterOutcome": ("odd",)},
        ),
        (
            f"{of_routine}/triggers/{schedule}/backfills",
            "/backfills",
            {"from": "2026-01-01"},
            {"from": ("", "x"), "to": ("x",), "overlap": ("odd",)},
        ),
        (f"{of_routine}/pause", "/pause", {}, {"note": (LONG, CONTROL), "until": ("x", "2001-01-01")}),
        (f"{of_routine}/run", "/run", {}, {"variable.number": ("x",), "payload": ("{", "[]")}),
        (f"/issues/{issue}", "/comments", {}, {"body": ("", CONTROL)}),
        (f"/issues/{issue}", "/status", {}, {"status": ("odd",), "agent": (FOREIGN, "x")}),
        (f"/issues/{issue}", "/status", {"status": "cancelled"}, {"failureReason": (LONG, CONTROL)}),
        (
            f"/structure/projects/{project}",
            f"/{project}",
            {},
            {
                "name": ("", LONG, CONTROL),
                "status": ("odd",),
                "goalId": (FOREIGN, "x"),
                "leadAgentId": (FOREIGN, "x"),
                "targetDate": ("x", "2026-02-30"),
                "color": (CONTROL,),
            },
        ),
        (
            f"/structure/goals/{goal}",
            f"/{goal}",
            {},
            {
                "title": ("", LONG, CONTROL),
                "level": ("odd",),
                "status": ("odd",),
                "parentId": (FOREIGN, "x"),
                "ownerAgentId": (FOREIGN, "x"),
            },
        ),
        (
            "/structure/folders/new",
            "/folders/new",
            {"name": "x"},
            {"name": ("", LONG, CONTROL), "parentId": (FOREIGN, "x")},
        ),
        (
            f"/structure/agents/{agent}",
            f"/{agent}",
            {},
            {"name": ("", LONG, CONTROL), "role": ("odd",), "reportsTo": (FOREIGN, "x"), "heartbeatUrl": ("nonsense",)},
        ),
        (
            "/structure/issues/new",
            "/issues/new",
            {"title": "x"},
            {
                "title": ("", LONG, CONTROL),
                "priority": ("odd",),
                "assigneeAgentId": (FOREIGN, "x"),
                "projectId": (FOREIGN,),
                "goalId": (FOREIGN,),
                "parentId": (FOREIGN, "x"),
            },
        ),
        (
            f"/structure/webhook-endpoints/{endpoint}",
            f"/{endpoint}",
            {},
            {"url": ("nonsense", ""), "events": ("", "odd.kind")},
        ),
        (
            f"/structure/company/{company}",
            f"/{company}",
            {},
            {"name": ("", LONG, CONTROL), "maxCost": ("much",), "windowSec": ("x",)},
        ),
        (
            "/deliveries",
            "/endpoints",
            {"url": "https://x.example", "events": "*"},
            {"url": ("nonsense", ""), "events": ("", "odd.kind")},
        ),
        ("/new-task", "/new-task", {"name": "n"}, of_tasks),
        ("/tasks/t/edit", "/edit", {}, of_tasks),
        ("/tasks/t/run", "/run", {}, {"init_params": ("{", "[]"), "webhook_url": ("nonsense",)}),
        ("/tasks/t/new-routine", "/new-routine", {"name": "n"}, of_task_routines),
        ("/tasks/t/new-routine", "/new-routine", {"name": "n", **weekly}, {"day_of_week": ("", "noday")}),
        ("/tasks/t/routines/r/edit", "/edit", {"type": "daily", "hour_utc": "9"}, of_task_routines),
        (
            f"/tasks/t/trajectories/{number}",
            "/labels",
            {"key": "k", "value": "v"},
            {"key": ("", LONG, CONTROL), "value": (LONG, CONTROL)},
        ),
        (f"/tasks/t/trajectories/{number}", "/status", {}, {"status": ("odd",)}),
        ("/variables", "/variables", {}, {"name": ("", "9 x", CONTROL)}),
        (
            "/people",
            "/people/members",
            {"name": "Ada"},
            {"name": ("", LONG, CONTROL), "email": (LONG, "x"), "role": ("odd",)},
        ),
    ]


def test_a_wrong_field_has_a_sentence_beside_it_and_keeps_what_was_typed(board, forms):
    """Fields are wrong together; those that have their sentence are then right, until none is left."""
    faults = []
    for path, ending, filled, wrong_texts in forms:
        page = board.show(path)
        for texts in zip_longest(*wrong_texts.values()):
            wrong = {name: text for name, text in zip(wrong_texts, texts, strict=True) if text is not None}
            while wrong:
                answer = board.send(page, ending, **{**filled, **wrong})
                missing = {
                    name: what for name, text in wrong.items() if (what := missing_of(answer, ending, name, text))
                }
                if missing.keys() == wrong.keys():
                    faults.append((path.replace(board.company, "C")[-30:], answer.status, missing))
                    break
                wrong = {name: wrong[name] for name in missing}
    assert not faults, "\n".join(map(str, faults))


def missing_of(answer, ending, name, text):
    """What an answer to a form lacks that had a wrong text in a field."""
    good = {
        "status": 400 <= answer.status < 500,
        "sentence": f'id="{name}-error"' in answer.html,
        "plain words": "Invalid" not in answer.text and "Expected" not in answer.text,
        "typed": text == CONTROL or (answer.has_form(ending) and text == answer.form(ending)["fields"].get(name)),
    }
    return [what for what, is_there in good.items() if not is_there]


def test_a_form_without_the_token_of_its_session_saves_nothing_says_so_and_keeps_what_was_typed(board, forms, api):
    before, faults = api.system.store.head(), []
    extra = [
        (path, ending, {}, {"name": ()})
        for path, ending in (("/people", "/people/agents"), ("/people", "/people/keys"))
    ]
    extra += [("/tasks", "/collection-keys", {}, {"name": ()})]
    for path, ending, filled, wrong_texts in [*forms, *extra]:
        name = next(
            (name for name in ("title", "name", "label", "body", "note", "payload") if name in wrong_texts), None
        )
        typed = {name: "typed here"} if name else {}
        answer = board.send(board.show(path), ending, **{**filled, **typed, "csrf": ""})
        good = answer.status == 422 and ("Nothing is saved yet" in answer.text or 'class="error"' in answer.html)
        if not good or (name and "typed here" not in answer.html):
            faults.append((path[-30:], ending[-20:], name, answer.status))
    assert not faults, "\n".join(map(str, faults))
    assert before == api.system.store.head()
