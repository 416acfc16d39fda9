"""What takes something away is done by the second button only: the first one leads to a question that says what follows."""

from uuid import uuid4

import pytest

SCHEDULE = {"kind": "schedule", "cronExpression": "0 9 * * *", "timezone": "UTC", "label": "Mornings"}


@pytest.fixture
def removals(api, company):
    """Each removal: the page with its button, the end of the form's address, what the button sends, its question, and what is read then."""
    agent, token = api.agent(company)
    routine = api.routine(company, agent, title="Digest", triggers=[SCHEDULE])
    trigger = api.get(f"/routines/{routine}")["triggers"][0]["id"]
    period = {"from": "2020-01-01T00:00:00Z", "to": "2020-01-09T00:00:00Z"}
    backfill = api.post(f"/routine-triggers/{trigger}/backfills", period)["id"]
    api.post(f"/v1/tasks/{company}", {"name": "echo", "workflow": {}})
    api.post(f"/v1/routines/{company}/echo", {"name": "daily", "cadence": {"type": "manual"}})
    api.patch(f"/v1/collections/{company}/environment", {"environment_variables": {"TOKEN": "x"}})
    endpoint = {"url": "https://hooks.example.org/in", "events": ["run.*"]}
    endpoint = api.post(f"/companies/{company}/webhook-endpoints", endpoint)["id"]
    member = api.post(f"/companies/{company}/members", {"name": "Ada", "membershipRole": "viewer"})["userId"]
    key = api.post("/board-api-keys", {"name": "laptop"})["id"]
    project = api.post(f"/companies/{company}/projects", {"name": "Launch"})["id"]
    issue = api.post(f"/routines/{routine}/run", {})["linkedIssueId"]
    checkout = {"agentId": agent, "expectedStatuses": ["todo"]}
    session = {"X-Paperclip-Run-Id": str(uuid4())}
    api.request("POST", f"/issues/{issue}/checkout", checkout, token=token, headers=session).raise_for_status()
    of_trigger = f"/routines/{routine}/triggers/{trigger}"
    return [
        (f"{of_trigger}/backfills", "/cancel", {}, "Cancel this backfill?", f"/routine-backfills/{backfill}"),
        (of_trigger, "/delete", {}, "Delete the trigger “Mornings”?", f"/routines/{routine}"),
        (f"/issues/{issue}", "/release", {}, "from the session that has it?", f"/issues/{issue}"),
        (f"/routines/{routine}/edit", "/status", {}, "Archive the routine “Digest”?", f"/routines/{routine}"),
        (
            "/tasks/echo/routines/daily",
            "/action",
            {"action": "delete"},
            "“daily” of echo?",
            f"/v1/routines/{company}/echo",
        ),
        ("/tasks/echo", "/delete", {}, "Delete the task “echo”?", f"/v1/tasks/{company}"),
        ("/variables", "/variables", {"delete": "TOKEN"}, "“TOKEN”?", f"/v1/collections/{company}/environment"),
        ("/deliveries", endpoint, {"action": "delete"}, "hooks.example.org", f"/companies/{company}/webhook-endpoints"),
        ("/people", f"/members/{member}", {"remove": "1"}, "Remove Ada", f"/companies/{company}/members"),
        ("/people", f"/keys/{key}/revoke", {}, "Revoke the key “laptop”?", "/board-api-keys"),
        (
            f"/structure/projects/{project}",
            "/action",
            {"action": "delete"},
            "“Launch”?",
            f"/companies/{company}/projects",
        ),
    ]


def test_the_first_press_asks_and_changes_nothing_the_second_does_it(board, api, removals):
    for path, ending, button, question, read in removals:
        before = api.get(read)

        confirmation = board.send(board.show(path), ending, **button)

        assert (200, True) == (confirmation.status, question in confirmation.text), (path, confirmation.text)
        assert before == api.get(read), path
        assert "Change nothing" in confirmation.text
        page = board.send(confirmation, ending)
        assert 200 == page.status, page.text
        assert before != api.get(read), path


def test_the_last_owner_cannot_be_removed_and_the_sentence_stands_beside_them(board, api, company):
    owner = api.get("/cli-auth/me")["user"]["id"]
    page = board.send_surely(board.show("/people"), f"/members/{owner}", remove="1")
    assert (422, True) == (page.status, "owner" in page.text.partition("Add somebody")[0].lower())


def test_who_may_not_take_away_is_not_even_asked(viewer, removals):
    csrf = viewer.show("/system").form("/sign-out")["fields"]["csrf"]
    for path, ending, button, _, _ in removals:
        parents = {"/deliveries": "/deliveries/endpoints/"}.get(path, path.removesuffix("/edit"))
        address = path if path.endswith(ending) else parents + ending
        fields = {"csrf": csrf, "status": "archived", **button}
        assert viewer.post(f"/board/companies/{viewer.company}{address}", fields).status in (403, 404), path


def test_the_question_is_asked_anew_if_it_would_be_another_one_by_then(board, api, company):
    project = api.post(f"/companies/{company}/projects", {"name": "Launch"})["id"]
    confirmation = board.send(board.show(f"/structure/projects/{project}"), "/action", action="delete")
    api.patch(f"/projects/{project}", {"name": "Keep this"})

    changed_confirmation = board.send(confirmation, "/action")

    assert (200, True) == (changed_confirmation.status, "Delete the project “Keep this”?" in changed_confirmation.text)
    assert [project] == [one["id"] for one in api.get(f"/companies/{company}/projects")]
    assert "It is removed." in board.send(changed_confirmation, "/action").text
    assert 404 == board.send(changed_confirmation, "/action").status  # as after the browser's way back


def test_the_keys_that_a_member_has_issued_stay_good_if_that_is_chosen(board, api, company, agent):
    def member_with_key(name):
        added = api.post(f"/companies/{company}/members", {"name": name, "membershipRole": "member"})
        key = api.request("POST", f"/agents/{agent}/keys", {"name": name}, token=added["token"])
        assert 201 == key.status_code
        return f"/members/{added['userId']}"

    for how in ({"remove": "1"}, {"role": "viewer"}, {"assigns": "none"}):
        for keep in ({}, {"keep_keys": "yes"}):
            name = f"{how} {keep}"
            member = member_with_key(name)
            confirmation = board.send(board.show("/people"), member, **how)
            assert "The keys of agents and of the collection that they issued here stay good" in confirmation.text
            assert 200 == board.confirm(confirmation, **keep).status
            keys = {key["name"]: key["revokedAt"] for key in api.get(f"/companies/{company}/keys")}
            assert bool(keep) == (keys[name] is None), name
