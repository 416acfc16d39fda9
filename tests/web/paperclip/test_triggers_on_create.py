"""Triggers that are created with their routine, in the same commit."""

from typing import Any

import pytest

from tests.api import Api

SCHEDULE = {"kind": "schedule", "cronExpression": "0 9 * * *", "timezone": "Europe/Berlin", "label": "Mornings"}


def create_routine(api: Api, company: str, triggers: Any, **fields: Any) -> Any:
    return api.post(f"/companies/{company}/routines", {"title": "Look", "triggers": triggers, **fields})


def refusal(api: Api, company: str, triggers: Any, **fields: Any) -> tuple[int, str, Any]:
    answer = api.request("POST", f"/companies/{company}/routines", {"title": "Look", "triggers": triggers, **fields})
    return answer.status_code, answer.json()["error"], [issue["path"] for issue in answer.json().get("details") or []]


def test_a_routine_is_created_with_its_triggers(api: Api, company: str, agent: tuple[str, str]):
    answer = create_routine(api, company, [SCHEDULE, {"kind": "webhook"}, {"kind": "api"}], assigneeAgentId=agent[0])

    detail = api.get(f"/routines/{answer['id']}")
    assert ["schedule", "webhook", "api"] == [trigger["kind"] for trigger in detail["triggers"]]
    assert detail["triggers"] == answer["triggers"]
    assert ("Mornings", "Europe/Berlin") == (detail["triggers"][0]["label"], detail["triggers"][0]["timezone"])
    assert detail["triggers"][0]["nextRunAt"]
    assert 4 == answer["latestRevisionNumber"]
    revisions = api.get(f"/routines/{answer['id']}/revisions")
    assert ["Created api trigger", "Created webhook trigger", "Created schedule trigger", "Created routine"] == [
        revision["changeSummary"] for revision in revisions
    ]


def test_the_secret_of_a_webhook_is_answered_once_and_fires_it(api: Api, company: str, agent: tuple[str, str]):
    answer = create_routine(api, company, [{"kind": "api"}, {"kind": "webhook"}], assigneeAgentId=agent[0])

    (secret,) = answer["secretMaterials"]
    hook = answer["triggers"][1]
    assert (hook["id"], True) == (secret["triggerId"], secret["webhookUrl"].endswith(f"/{hook['publicId']}/fire"))
    fired = api.request("POST", f"/routine-triggers/public/{hook['publicId']}/fire", {}, token=secret["webhookSecret"])
    assert 202 == fired.status_code
    for path in (f"/routines/{answer['id']}", f"/routines/{answer['id']}/revisions", f"/companies/{company}/routines"):
        assert secret["webhookSecret"] not in api.request("GET", path).text


def test_a_routine_without_triggers_is_answered_as_before(api: Api, company: str):
    for triggers in (None, []):
        assert not {"triggers", "secretMaterials"} & create_routine(api, company, triggers).keys()


@pytest.mark.parametrize(
    ("second", "status", "error", "path"),
    [
        ({"kind": "schedule"}, 400, "Validation error", ["triggers", 1, "cronExpression"]),
        ({"kind": "sometimes"}, 400, "Validation error", ["triggers", 1, "kind"]),
        ({"kind": "webhook", "signingMode": "x"}, 400, "Validation error", ["triggers", 1, "signingMode"]),
        ({"kind": "api", "lable": "x"}, 400, "Unknown field", ["triggers", 1, "lable"]),
        (
            SCHEDULE | {"cronExpression": "61 * * * *"},
            422,
            "triggers[1].cronExpression: Value 61",
            [*("triggers", 1), "cronExpression"],
        ),
        (
            SCHEDULE | {"timezone": "Mars/Base"},
            422,
            "triggers[1].timezone: Invalid timezone",
            ["triggers", 1, "timezone"],
        ),
        (SCHEDULE | {"runAt": "2020-01-01T00:00:00Z"}, 422, "triggers[1]", ["triggers", 1]),
    ],
)
def test_a_wrong_trigger_is_named_and_nothing_is_created(  # noqa: PLR0917 what is sent and what is said
    api: Api, company: str, second: Any, status: int, error: str, path: list[Any]
):
    fields = refusal(api, company, [SCHEDULE, second])

    assert status == fields[0]
    assert fields[1].startswith(error) or status == 400
    assert path == fields[2][0][: len(path)]
    assert [] == api.get(f"/companies/{company}/routines")


def test_a_schedule_of_a_routine_whose_variables_have_no_defaults_is_refused(api: Api, company: str):
    status, error, paths = refusal(api, company, [SCHEDULE], description="Look at {{what}}")

    assert (422, [["triggers", 0]]) == (status, paths)
    assert "triggers[0]: Scheduled routines require defaults for required variables: what" == error


def test_a_hundred_triggers_at_once_are_enough(api: Api, company: str):
    status, _, paths = refusal(api, company, [{"kind": "api"}] * 101)

    assert (400, [["triggers"]]) == (status, paths)


def test_an_agent_creates_a_routine_of_its_own_with_triggers(api: Api, company: str, agent: tuple[str, str]):
    body = {"title": "Look", "assigneeAgentId": agent[0], "triggers": [SCHEDULE]}

    assert 1 == len(api.post(f"/companies/{company}/routines", body, token=agent[1])["triggers"])


def test_a_copy_of_a_routine_has_its_triggers(api: Api, company: str):
    original = create_routine(api, company, [SCHEDULE])

    copy = api.post(f"/companies/{company}/routines", api.get(f"/routines/{original['id']}"))

    assert original["id"] != copy["id"]
    assert original["triggers"][0]["id"] != copy["triggers"][0]["id"]
    assert SCHEDULE == {name: copy["triggers"][0][name] for name in SCHEDULE}
