"""A request for each operation, and what has to be there for it; each kind of caller may send it."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec

from application import tokens
from application.request_bodies.issues import IssueDraft
from application.request_bodies.triggers import ApiDraft, ScheduleDraft, TriggerDraft
from application.use_cases import triggers
from application.use_cases.board import issues
from domain.identity import revision_of
from tests.api import Api
from tests.web import people
from tests.web.hooks import hook

SESSION = str(uuid4())
LAST_YEAR = {"from": "2025-01-01T00:00:00Z", "to": "2025-12-31T00:00:00Z"}
A_DAY = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
HOOK = "https://example.com/hook"


class Request(msgspec.Struct):
    path: str
    body: Any = ...


class AccessFixture(msgspec.Struct):
    """Two companies with their people; what a request needs is made for it, in the first."""

    api: Api
    company: str
    agent: str  # the one that everything belongs to
    tokens: dict[str, str | None]
    endpoints: list[str] = []

    def send(self, operation: str, token: str | None, request: Request) -> httpx.Response:
        method = OPERATIONS[operation][0]
        headers = {"X-Paperclip-Run-Id": SESSION}
        return self.api.request(method, request.path, request.body, token=token, headers=headers)

    def create(self, path: str, body: Any) -> str:
        return str(self.api.post(path, body)["id"])

    def in_company(self, path: str, body: Any) -> str:
        return self.create(f"/companies/{self.company}/{path}", body)

    def key(self) -> str:
        return self.create(f"/agents/{self.agent}/keys", {})

    def spare_agent(self) -> str:
        return self.api.agent(self.company, "Spare")[0]

    def beating_agent(self) -> str:
        return self.in_company("agents", {"name": "Beating", "heartbeatUrl": HOOK})

    def endpoint(self) -> str:
        """The one of the company, which may not have many."""
        if not self.endpoints:
            self.endpoints.append(self.new_endpoint())
        return self.endpoints[0]

    def new_endpoint(self) -> str:
        return self.in_company("webhook-endpoints", {"url": HOOK, "events": ["goal.*"]})

    def member(self) -> str:
        return str(self.api.post(f"/companies/{self.company}/members", {"name": "Robin"})["userId"])

    def unapproved_agent(self) -> str:
        return people.agent(self.api, self.company, "pending_approval")

    def routine(self) -> str:
        return self.api.routine(self.company, self.agent)

    def run(self) -> str:
        return self.create(f"/routines/{self.routine()}/run", {})

    def trigger(self) -> str:
        return self.new_trigger(ApiDraft())

    def schedule(self) -> str:
        return self.new_trigger(ScheduleDraft(cron_expression="0 9 1 * *"))

    def backfill(self) -> str:
        return self.create(f"/routine-triggers/{self.schedule()}/backfills", LAST_YEAR)

    def new_trigger(self, draft: TriggerDraft) -> str:
        return str(self.api.ask(triggers.create, UUID(self.routine()), draft).trigger_id)

    def public_id(self) -> str:
        return hook(self.api, self.routine(), "none").public_id

    def webhook_trigger(self) -> str:
        return hook(self.api, self.routine(), "none").trigger

    def first_revision(self) -> str:
        routine = self.routine()
        self.api.patch(f"/routines/{routine}", {"priority": "low"})
        return f"{routine}/revisions/{revision_of(UUID(routine), 1)}"

    def issue(self) -> str:
        draft = IssueDraft(title="Look", assignee_agent_id=UUID(self.agent))
        return str(self.api.ask(issues.create, UUID(self.company), draft))

    def held_issue(self) -> str:
        id_, body = self.issue(), {"agentId": self.agent, "expectedStatuses": ["todo"]}
        headers = {"X-Paperclip-Run-Id": SESSION}
        self.api.post(f"/issues/{id_}/checkout", body, token=self.tokens["agent own"], headers=headers)
        return id_

    def held_run(self) -> str:
        run = self.api.post(f"/routines/{self.routine()}/run", {})
        body, headers = {"agentId": self.agent, "expectedStatuses": ["todo"]}, {"X-Paperclip-Run-Id": SESSION}
        path = f"/issues/{run['linkedIssueId']}/checkout"
        self.api.post(path, body, token=self.tokens["agent own"], headers=headers)
        return str(run["id"])

    def comment(self) -> str:
        issue = self.issue()
        return f"{issue}/comments/{self.create(f'/issues/{issue}/comments', {'body': 'Hm'})}"

    def head(self) -> int:
        return self.api.system.store.head()

    def event(self) -> int:
        return int(self.api.get(f"/companies/{self.company}/events?limit=1")[0]["position"])

    def own_board_key(self) -> str:
        return str(self.api.post("/board-api-keys", {}, token=self.tokens["board owner"])["id"])


def in_company(path: str = "", body: Any = ...) -> Callable[[AccessFixture], Request]:
    return lambda access_fixture: Request(f"/companies/{access_fixture.company}{path}", body)


def in_company_of(kind: str, make: Callable[[AccessFixture], str]) -> Callable[[AccessFixture], Request]:
    return lambda access_fixture: Request(f"/companies/{access_fixture.company}/{kind}/{make(access_fixture)}")


def by_id(
    path: str, make: Callable[[AccessFixture], str], rest: str = "", body: Any = ...
) -> Callable[[AccessFixture], Request]:
    return lambda access_fixture: Request(f"/{path}/{make(access_fixture)}{rest}", body)


def plain(path: str, body: Any = ...) -> Callable[[AccessFixture], Request]:
    return lambda _world: Request(path, body)


def new_routine(access_fixture: AccessFixture) -> Request:
    return Request(
        f"/companies/{access_fixture.company}/routines", {"title": "Look", "assigneeAgentId": access_fixture.agent}
    )


def folder_of_company(rest: str = "", body: Any = ...) -> Callable[[AccessFixture], Request]:
    def request(access_fixture: AccessFixture) -> Request:
        folder = access_fixture.in_company("folders", {"name": "Nightly"})
        return Request(f"/companies/{access_fixture.company}/folders/{folder}{rest}", body)

    return request


def checkout(access_fixture: AccessFixture) -> Request:
    return Request(
        f"/issues/{access_fixture.issue()}/checkout", {"agentId": access_fixture.agent, "expectedStatuses": ["todo"]}
    )


def one_member(body: Any = ...) -> Callable[[AccessFixture], Request]:
    return lambda access_fixture: Request(
        f"/companies/{access_fixture.company}/members/{access_fixture.member()}", body
    )


def member_key(access_fixture: AccessFixture) -> Request:
    return Request(f"/companies/{access_fixture.company}/members/{access_fixture.member()}/keys", {})


def one_agent(access_fixture: AccessFixture) -> str:
    return access_fixture.agent


def project(access_fixture: AccessFixture) -> str:
    return access_fixture.in_company("projects", {"name": "Moon"})


def goal(access_fixture: AccessFixture) -> str:
    return access_fixture.in_company("goals", {"title": "Land"})


def agent_key(access_fixture: AccessFixture) -> str:
    return f"{access_fixture.agent}/keys/{access_fixture.key()}"


def endpoint(rest: str = "", body: Any = ...) -> Callable[[AccessFixture], Request]:
    return lambda access_fixture: Request(
        f"/companies/{access_fixture.company}/webhook-endpoints/{access_fixture.endpoint()}{rest}", body
    )


def redelivery(access_fixture: AccessFixture) -> Request:
    tested = access_fixture.api.post(
        f"/companies/{access_fixture.company}/webhook-endpoints/{access_fixture.endpoint()}/test"
    )
    return Request(f"/companies/{access_fixture.company}/deliveries/{tested['id']}/redeliver")


OPERATIONS: dict[str, tuple[str, Callable[[AccessFixture], Request]]] = {
    "getHealth": ("GET", plain("/health")),
    "listCompanies": ("GET", plain("/companies")),
    "createCompany": ("POST", plain("/companies", {"name": "Fresh"})),
    "getCompany": ("GET", in_company()),
    "updateCompany": ("PATCH", in_company(body={"description": "x"})),
    "archiveCompany": ("POST", in_company("/archive")),
    "listMembers": ("GET", in_company("/members")),
    "addMember": ("POST", in_company("/members", {"name": "Robin"})),
    "updateMember": ("PATCH", one_member({"membershipRole": "admin"})),
    "removeMember": ("DELETE", one_member()),
    "createMemberKey": ("POST", member_key),
    "listAgents": ("GET", in_company("/agents")),
    "createAgent": ("POST", in_company("/agents", {"name": "Fresh"})),
    "getMe": ("GET", plain("/agents/me")),
    "getInbox": ("GET", plain("/agents/me/inbox-lite")),
    "getAgent": ("GET", by_id("agents", one_agent)),
    "updateAgent": ("PATCH", by_id("agents", one_agent, body={"title": "x"})),
    "pauseAgent": ("POST", by_id("agents", AccessFixture.spare_agent, "/pause", {})),
    "resumeAgent": ("POST", by_id("agents", AccessFixture.spare_agent, "/resume")),
    "approveAgent": ("POST", by_id("agents", AccessFixture.unapproved_agent, "/approve")),
    "terminateAgent": ("POST", by_id("agents", AccessFixture.spare_agent, "/terminate")),
    "rotateHeartbeatSecret": ("POST", by_id("agents", AccessFixture.beating_agent, "/rotate-heartbeat-secret", {})),
    "listAgentKeys": ("GET", by_id("agents", one_agent, "/keys")),
    "createAgentKey": ("POST", by_id("agents", one_agent, "/keys", {})),
    "revokeAgentKey": ("DELETE", by_id("agents", agent_key)),
    "listCompanyKeys": ("GET", in_company("/keys")),
    "revokeCompanyKey": (
        "DELETE",
        lambda access_fixture: Request(f"/companies/{access_fixture.company}/keys/{access_fixture.key()}"),
    ),
    "getIdentity": ("GET", plain("/cli-auth/me")),
    "listBoardKeys": ("GET", plain("/board-api-keys")),
    "createBoardKey": ("POST", plain("/board-api-keys", {})),
    "revokeBoardKey": ("DELETE", by_id("board-api-keys", AccessFixture.own_board_key)),
    "listProjects": ("GET", in_company("/projects")),
    "createProject": ("POST", in_company("/projects", {"name": "Moon"})),
    "getProject": ("GET", by_id("projects", project)),
    "updateProject": ("PATCH", by_id("projects", project, body={"color": "red"})),
    "deleteProject": ("DELETE", by_id("projects", project)),
    "pauseProject": ("POST", by_id("projects", project, "/pause")),
    "resumeProject": ("POST", by_id("projects", project, "/resume")),
    "listGoals": ("GET", in_company("/goals")),
    "createGoal": ("POST", in_company("/goals", {"title": "Land"})),
    "listFolders": ("GET", in_company("/folders")),
    "createFolder": ("POST", in_company("/folders", {"name": "Nightly"})),
    "renameFolder": ("PATCH", folder_of_company(body={"name": "Daily"})),
    "moveFolder": ("POST", folder_of_company("/move", {"parentId": None})),
    "moveRoutines": ("POST", in_company("/folders/items/move", {"routineIds": [str(uuid4())], "folderId": None})),
    "deleteFolder": ("DELETE", folder_of_company()),
    "getGoal": ("GET", by_id("goals", goal)),
    "updateGoal": ("PATCH", by_id("goals", goal, body={"status": "active"})),
    "deleteGoal": ("DELETE", by_id("goals", goal)),
    "listRoutines": ("GET", in_company("/routines")),
    "createRoutine": ("POST", new_routine),
    "getRoutine": ("GET", by_id("routines", AccessFixture.routine)),
    "updateRoutine": ("PATCH", by_id("routines", AccessFixture.routine, body={"title": "Look again"})),
    "pauseRoutines": ("POST", in_company("/routines/pause", {"q": "nothing has this in it"})),
    "resumeRoutines": ("POST", in_company("/routines/resume", {"q": "nothing has this in it"})),
    "listCompanyRuns": ("GET", in_company("/runs")),
    "listRuns": ("GET", by_id("routines", AccessFixture.routine, "/runs")),
    "getRun": ("GET", by_id("routine-runs", AccessFixture.run)),
    "getRunLog": ("GET", by_id("routine-runs", AccessFixture.run, "/log")),
    "appendRunLog": (
        "POST",
        by_id(
            "routine-runs",
            AccessFixture.held_run,
            "/log",
            {"part": 0, "output": [{"stream": "stdout", "text": "Hm"}]},
        ),
    ),
    "reportUsage": ("POST", by_id("routine-runs", AccessFixture.run, "/usage", {"costMicros": 1})),
    "runRoutine": ("POST", by_id("routines", AccessFixture.routine, "/run", {})),
    "createTrigger": ("POST", by_id("routines", AccessFixture.routine, "/triggers", {"kind": "api"})),
    "updateTrigger": ("PATCH", by_id("routine-triggers", AccessFixture.trigger, body={"label": "x"})),
    "deleteTrigger": ("DELETE", by_id("routine-triggers", AccessFixture.trigger)),
    "rotateTriggerSecret": ("POST", by_id("routine-triggers", AccessFixture.webhook_trigger, "/rotate-secret", {})),
    "testTrigger": ("POST", by_id("routine-triggers", AccessFixture.webhook_trigger, "/test", {})),
    "fireWebhook": ("POST", by_id("routine-triggers/public", AccessFixture.public_id, "/fire", {})),
    "listRevisions": ("GET", by_id("routines", AccessFixture.routine, "/revisions")),
    "restoreRevision": ("POST", by_id("routines", AccessFixture.first_revision, "/restore")),
    "listOccurrences": ("GET", by_id("routine-triggers", AccessFixture.trigger, "/occurrences")),
    "explainRoutine": ("GET", by_id("routines", AccessFixture.routine, "/explain?at=2026-11-22T09:00:00Z")),
    "previewBackfill": ("POST", by_id("routine-triggers", AccessFixture.schedule, "/backfills/preview", LAST_YEAR)),
    "createBackfill": ("POST", by_id("routine-triggers", AccessFixture.schedule, "/backfills", LAST_YEAR)),
    "listBackfills": ("GET", by_id("routine-triggers", AccessFixture.schedule, "/backfills")),
    "getBackfill": ("GET", by_id("routine-backfills", AccessFixture.backfill)),
    "cancelBackfill": ("POST", by_id("routine-backfills", AccessFixture.backfill, "/cancel")),
    "previewSchedule": ("POST", plain("/schedule/preview", {"cronExpression": "0 9 * * *"})),
    "replayRoutine": ("POST", by_id("routines", AccessFixture.routine, "/what-if", A_DAY)),
    "replayCompany": ("POST", in_company("/what-if", A_DAY)),
    "listIssues": ("GET", in_company("/issues")),
    "createIssue": ("POST", in_company("/issues", {"title": "Look"})),
    "getIssue": ("GET", by_id("issues", AccessFixture.issue)),
    "getHeartbeatContext": ("GET", by_id("issues", AccessFixture.issue, "/heartbeat-context")),
    "updateIssue": ("PATCH", by_id("issues", AccessFixture.issue, body={"status": "blocked"})),
    "getIssueEnvironment": ("GET", by_id("issues", AccessFixture.held_issue, "/environment")),
    "checkoutIssue": ("POST", checkout),
    "releaseIssue": ("POST", by_id("issues", AccessFixture.held_issue, "/release")),
    "forceReleaseIssue": ("POST", by_id("issues", AccessFixture.held_issue, "/admin/force-release")),
    "listComments": ("GET", by_id("issues", AccessFixture.issue, "/comments")),
    "createComment": ("POST", by_id("issues", AccessFixture.issue, "/comments", {"body": "Hm"})),
    "getComment": ("GET", by_id("issues", AccessFixture.comment)),
    "createWebhookEndpoint": ("POST", in_company("/webhook-endpoints", {"url": HOOK, "events": ["*"]})),
    "listWebhookEndpoints": ("GET", in_company("/webhook-endpoints")),
    "getWebhookEndpoint": ("GET", endpoint()),
    "updateWebhookEndpoint": ("PATCH", endpoint(body={"description": "x"})),
    "deleteWebhookEndpoint": ("DELETE", in_company_of("webhook-endpoints", AccessFixture.new_endpoint)),
    "rotateWebhookEndpointSecret": ("POST", endpoint("/rotate-secret", {})),
    "testWebhookEndpoint": ("POST", endpoint("/test")),
    "listWebhookDeliveries": ("GET", endpoint("/deliveries")),
    "listDeliveries": ("GET", in_company("/deliveries")),
    "redeliver": ("POST", redelivery),
    "listEvents": ("GET", in_company("/events")),
    "listAllEvents": ("GET", plain("/events")),
    "exportView": ("GET", in_company("/exports/runs")),
    "listRoutineChanges": ("GET", by_id("routines", AccessFixture.routine, "/changes")),
    "listTriggerChanges": ("GET", by_id("routine-triggers", AccessFixture.trigger, "/changes")),
    "compareRoutine": (
        "GET",
        lambda access_fixture: Request(f"/routines/{access_fixture.routine()}/diff?from={access_fixture.head()}"),
    ),
    "listRefusals": ("GET", plain("/refusals")),
    "getEvent": (
        "GET",
        lambda access_fixture: Request(f"/companies/{access_fixture.company}/events/{access_fixture.event()}"),
    ),
    "getEventOfAll": ("GET", lambda access_fixture: Request(f"/events/{access_fixture.event()}")),
}


def new_access_fixture(api: Api) -> AccessFixture:
    home, abroad = api.company("Home"), api.company("Abroad")
    agent, own = api.agent(home, "Owner")
    _, sibling = api.agent(home, "Sibling")
    _, foreign = api.agent(abroad, "Foreigner")
    gone, gone_token = api.agent(home, "Gone")
    api.post(f"/agents/{gone}/terminate")
    revoked_user, _ = people.user(api)
    return AccessFixture(
        api=api,
        company=home,
        agent=agent,
        tokens={
            "nobody": None,
            "unknown token": tokens.mint("board"),
            "revoked key": people.key(api, revoked_user, revoked=True),
            "agent own": own,
            "agent not owning": sibling,
            "agent of another company": foreign,
            "terminated agent": gone_token,
            "board owner": people.member(api, home, "owner"),
            "member without tasks:assign": people.member(api, home, "member", ()),
            "viewer": people.member(api, home, "viewer"),
            "auditor": people.member(api, home, "auditor"),
            "user of another company": people.member(api, abroad, "owner"),
            "instance admin": api.token,
            "instance auditor": people.auditor(api),
        },
    )
