"""
What requests and answers look like: one story, told in the values that the API takes and gives.

REQUESTS are bodies as clients send them, by operation and by a name; ANSWERS are those of the operations that answer
with something; PROBLEMS are those of the statuses of refusals.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec.structs import asdict, replace

from domain import disclosure
from domain.values import Json, Variable
from projections import responses
from projections.board.issues import CommentCursor, InboxItem
from projections.delivery.deliveries import Attempt, Delivery
from projections.delivery.endpoints import EndpointFields
from projections.engine.positions import ReadModelStatus
from projections.firing.backfills import Backfill
from projections.firing.occurrences import Occurrence
from web.http.errors import problem
from web.monitoring.health import Health, Unhealthy
from web.paperclip.agents import MadeAgent, Me
from web.paperclip.backfills import BackfillPreview, WouldRun
from web.paperclip.bulk import BulkAnswer, Refused
from web.paperclip.endpoints import MadeEndpoint
from web.paperclip.issues import HeartbeatContext, IssueDetail, IssueUpdated
from web.paperclip.keys import Identity, MintedAgentKey, MintedBoardKey, Revoked, UserSummary
from web.paperclip.members import AddedMember
from web.paperclip.revisions import RestoreAnswer
from web.paperclip.schedules import (
    ClockChange,
    Explanation,
    Fact,
    LocalTime,
    Moment,
    OccurrencePage,
    SchedulePreviewed,
    TriggerExplanation,
)
from web.paperclip.triggers import EditedTrigger, SecretMaterial, TriggerAnswer

USER_ID = UUID("5a1e0c7d-3c1f-4a52-9e0b-2f6d8c41b7a3")
COMPANY_ID = UUID("0b8f6c1e-7d24-4f0a-8a5e-91c3d2e4f506")
AGENT_ID = UUID("c1d2e3f4-5a6b-4c7d-8e9f-0a1b2c3d4e5f")
PROJECT_ID = UUID("7e57d004-2b97-4e7a-b45f-5387367791cd")
GOAL_ID = UUID("2c5ea4c0-4067-4e9b-8b1d-7a1d9d6b0d3a")
ROUTINE_ID = UUID("9f1c2d3e-4b5a-4678-9abc-def012345678")
FIRST_REVISION_ID = UUID("4c1f7a52-90de-5b1a-8f43-6e2d1c0b9a87")
REVISION_ID = UUID("d3b07384-d9a0-5c6b-9e21-47f0c9e1a2b3")
TRIGGER_ID = UUID("1f0e9d8c-7b6a-4594-8372-615049382716")
WEBHOOK_ID = UUID("6d5c4b3a-2918-4706-95f4-e3d2c1b0a998")
RUN_ID = UUID("3e4d5c6b-7a89-4b0c-9d1e-2f3a4b5c6d7e")
ISSUE_ID = UUID("8a7b6c5d-4e3f-4201-9f8e-7d6c5b4a3928")
COMMENT_ID = UUID("b2a19080-7f6e-4d5c-8b3a-291807f6e5d4")
SESSION_ID = UUID("e7d6c5b4-a392-4817-8605-f4e3d2c1b0a9")
KEY_ID = UUID("f0e1d2c3-b4a5-5968-8778-695a4b3c2d1e")

BOARD_TOKEN = "pcp_board_...shown.this.once..."  # noqa: S105 nobody's
AGENT_TOKEN = "pcp_...shown.this.once..."  # noqa: S105 nobody's

BACKFILL_ID = UUID("3f2e1d0c-9b8a-4796-8574-63524130fedc")
ENDPOINT_ID = UUID("17a6b5c4-d3e2-4f10-9a8b-7c6d5e4f3a21")
DELIVERY_ID = UUID("52d4c3b2-a190-5e8f-8d7c-6b5a49382716")
SIGNING_SECRET = "whsec_" + "A" * 43 + "="
FOUNDED_AT = "2026-11-20T09:00:00.000Z"
WRITTEN_AT = "2026-11-21T16:20:05.114Z"
FIRED_AT = "2026-11-22T01:05:39.330Z"
STARTED_AT = "2026-11-22T01:06:12.871Z"

COMPANY = responses.Company(
    id=COMPANY_ID,
    name="Acme",
    description="Makes everything",
    issue_prefix="ACM",
    issue_counter=7,
    created_at=FOUNDED_AT,
    updated_at=FOUNDED_AT,
)
MEMBER = responses.Member(
    company_id=COMPANY_ID,
    membership_role="member",
    user_id=USER_ID,
    permissions=("tasks:assign",),
    name="Robin",
    email="robin@example.org",
    created_at=FOUNDED_AT,
    updated_at=FOUNDED_AT,
)
AGENT = responses.Agent(
    id=AGENT_ID,
    company_id=COMPANY_ID,
    name="Scout",
    role="researcher",
    title="Reads what is written about us",
    status="idle",
    reports_to=None,
    adapter_type="process",
    adapter_config={"command": "scout"},
    url_key="scout",
    created_at=FOUNDED_AT,
    updated_at=FOUNDED_AT,
)
BEATING_AGENT = replace(AGENT, heartbeat_url="https://agents.example.org/scout")
ENDPOINT = EndpointFields(
    id=ENDPOINT_ID,
    company_id=COMPANY_ID,
    url="https://example.org/routines",
    events=("run.*", "issue.opened"),
    description=None,
    ordered=False,
    enabled=True,
    disabled_reason=None,
    created_at=FOUNDED_AT,
    updated_at=FOUNDED_AT,
)
DELIVERY = Delivery(
    id=DELIVERY_ID,
    message_id=f"msg_{DELIVERY_ID.hex}",
    company_id=COMPANY_ID,
    kind="webhook",
    target_id=ENDPOINT_ID,
    event_type="run.fired",
    event_position=4711,
    status="waiting",
    next_attempt_at=FIRED_AT,
    created_at=FIRED_AT,
    updated_at=FIRED_AT,
)
DELIVERED = replace(
    DELIVERY,
    status="delivered",
    attempts=(
        Attempt(at=FIRED_AT, status=503, reason="The receiver answered 503", took_ms=41),
        Attempt(at=STARTED_AT, status=204, reason=None, took_ms=38),
    ),
    next_attempt_at=None,
    updated_at=STARTED_AT,
)
PAUSED_AGENT = replace(AGENT, status="paused", paused_at=WRITTEN_AT, pause_reason="manual", updated_at=WRITTEN_AT)
PROJECT = responses.Project(
    id=PROJECT_ID,
    company_id=COMPANY_ID,
    goal_id=GOAL_ID,
    name="Launch",
    description=None,
    status="in_progress",
    lead_agent_id=AGENT_ID,
    target_date="2027-03-01",
    color="#2b7de9",
    url_key="launch",
    goal_ids=(GOAL_ID,),
    created_at=FOUNDED_AT,
    updated_at=FOUNDED_AT,
)
PAUSED_PROJECT = replace(PROJECT, paused_at=WRITTEN_AT, pause_reason="manual", updated_at=WRITTEN_AT)
GOAL = responses.Goal(
    id=GOAL_ID,
    company_id=COMPANY_ID,
    title="Be known",
    description=None,
    level="company",
    status="active",
    parent_id=None,
    owner_agent_id=None,
    created_at=FOUNDED_AT,
    updated_at=FOUNDED_AT,
)
ROUTINE = responses.Routine(
    id=ROUTINE_ID,
    company_id=COMPANY_ID,
    title="What is new about {{topic}}?",
    description="Read the news of {{date}} and sum it up in five lines.",
    project_id=PROJECT_ID,
    goal_id=None,
    parent_issue_id=None,
    assignee_agent_id=AGENT_ID,
    priority="medium",
    status="active",
    concurrency_policy="coalesce_if_active",
    catch_up_policy="skip_missed",
    variables=(Variable(name="topic", default_value="Acme"),),
    latest_revision_id=FIRST_REVISION_ID,
    latest_revision_number=1,
    created_by_agent_id=None,
    created_by_user_id=str(USER_ID),
    updated_by_agent_id=None,
    updated_by_user_id=str(USER_ID),
    responsible_user_id=str(USER_ID),
    created_at=WRITTEN_AT,
    updated_at=WRITTEN_AT,
)
FIRED_ROUTINE = replace(
    ROUTINE,
    latest_revision_id=REVISION_ID,
    latest_revision_number=2,
    last_triggered_at=FIRED_AT,
    last_enqueued_at=FIRED_AT,
    updated_at=FIRED_AT,
)
TRIGGER = responses.Trigger(
    id=TRIGGER_ID,
    company_id=COMPANY_ID,
    routine_id=ROUTINE_ID,
    kind="schedule",
    label="Every working day",
    enabled=True,
    cron_expression="0 9 * * MON-FRI",
    timezone="Europe/Amsterdam",
    next_run_at="2026-11-23T08:00:00.000Z",
    created_by_agent_id=None,
    created_by_user_id=str(USER_ID),
    updated_by_agent_id=None,
    updated_by_user_id=str(USER_ID),
    created_at=WRITTEN_AT,
    updated_at=WRITTEN_AT,
)
WEBHOOK = replace(
    TRIGGER,
    id=WEBHOOK_ID,
    kind="webhook",
    label="A new release",
    cron_expression=None,
    timezone=None,
    next_run_at=None,
    public_id="4f2a9c1b7e0d8365a1c4e9f2",
    secret_id=UUID("0a1b2c3d-4e5f-4061-8273-8495a6b7c8d9"),
    signing_mode="hmac_sha256",
    replay_window_sec=300,
    last_rotated_at=FIRED_AT,
    updated_at=FIRED_AT,
)
SECRET = SecretMaterial(
    webhook_url="https://routines.example/api/routine-triggers/public/4f2a9c1b7e0d8365a1c4e9f2/fire",
    webhook_secret="0123456789abcdef" * 3,
)
REVISION = responses.Revision(
    id=REVISION_ID,
    company_id=COMPANY_ID,
    routine_id=ROUTINE_ID,
    revision_number=2,
    title=ROUTINE.title,
    description=ROUTINE.description,
    snapshot=responses.Snapshot(
        routine=responses.RoutineSnapshot(
            id=ROUTINE_ID,
            company_id=COMPANY_ID,
            project_id=PROJECT_ID,
            goal_id=None,
            parent_issue_id=None,
            title=ROUTINE.title,
            description=ROUTINE.description,
            assignee_agent_id=AGENT_ID,
            priority="medium",
            status="active",
            concurrency_policy="coalesce_if_active",
            catch_up_policy="skip_missed",
            variables=ROUTINE.variables,
            responsible_user_id=str(USER_ID),
        ),
        triggers=[
            responses.TriggerSnapshot(
                id=TRIGGER_ID,
                kind="schedule",
                label=TRIGGER.label,
                enabled=True,
                cron_expression=TRIGGER.cron_expression,
                timezone=TRIGGER.timezone,
                public_id=None,
                signing_mode=None,
                replay_window_sec=None,
            )
        ],
    ),
    change_summary="Created schedule trigger",
    restored_from_revision_id=None,
    created_by_agent_id=None,
    created_by_user_id=str(USER_ID),
    created_by_run_id=None,
    responsible_user_id=str(USER_ID),
    created_at=WRITTEN_AT,
)
RESTORED = replace(
    REVISION,
    id=UUID("a4f5e6d7-c8b9-5a0b-9c1d-2e3f4a5b6c7d"),
    revision_number=5,
    change_summary="Restored from revision 2",
    restored_from_revision_id=REVISION_ID,
    created_at=FIRED_AT,
)
RUN = responses.Run(
    id=RUN_ID,
    company_id=COMPANY_ID,
    routine_id=ROUTINE_ID,
    trigger_id=None,
    source="manual",
    status="issue_created",
    triggered_at=FIRED_AT,
    routine_revision_id=REVISION_ID,
    responsible_user_id=str(USER_ID),
    idempotency_key="news-2026-11-22",
    trigger_payload={"variables": {"topic": "Acme"}},
    dispatch_fingerprint="9d4c1fe2" * 8,
    linked_issue_id=ISSUE_ID,
    coalesced_into_run_id=None,
    failure_reason=None,
    completed_at=None,
    created_at=FIRED_AT,
    updated_at=FIRED_AT,
)
WEBHOOK_RUN = replace(
    RUN,
    trigger_id=WEBHOOK_ID,
    source="webhook",
    idempotency_key=None,
    trigger_payload={"release": "2.4.0", "variables": {"topic": "Acme"}},
)
ISSUE = responses.Issue(
    id=ISSUE_ID,
    company_id=COMPANY_ID,
    project_id=PROJECT_ID,
    goal_id=None,
    parent_id=None,
    title="What is new about Acme?",
    description="Read the news of 2026-11-22 and sum it up in five lines.",
    status="todo",
    priority="medium",
    assignee_agent_id=AGENT_ID,
    created_by_agent_id=None,
    created_by_user_id=str(USER_ID),
    issue_number=7,
    identifier="ACM-7",
    origin_kind="routine_execution",
    origin_id=ROUTINE_ID,
    origin_run_id=RUN_ID,
    created_at=FIRED_AT,
    updated_at=FIRED_AT,
)
HELD_ISSUE = replace(
    ISSUE,
    status="in_progress",
    checkout_run_id=SESSION_ID,
    execution_run_id=SESSION_ID,
    started_at=STARTED_AT,
    updated_at=STARTED_AT,
)
RELEASED_ISSUE = replace(ISSUE, assignee_agent_id=None, updated_at=STARTED_AT)
MANUAL_ISSUE = replace(
    ISSUE,
    title="Order more paper",
    description=None,
    project_id=None,
    issue_number=8,
    identifier="ACM-8",
    origin_kind="manual",
    origin_id=None,
    origin_run_id=None,
)
COMMENT = responses.Comment(
    id=COMMENT_ID,
    company_id=COMPANY_ID,
    issue_id=ISSUE_ID,
    author_agent_id=AGENT_ID,
    author_user_id=None,
    author_type="agent",
    created_by_run_id=SESSION_ID,
    body="Three articles, all kind.",
    created_at=STARTED_AT,
    updated_at=STARTED_AT,
)
RUN_SUMMARY = responses.RunSummary(
    **{name: getattr(RUN, name) for name in responses.RunFields.__struct_fields__},
    linked_issue=ISSUE.summary(),
    trigger=None,
)
BOARD_KEY = responses.BoardKey(
    id=KEY_ID, name="paperclipai cli", created_at=FOUNDED_AT, expires_at="2026-12-20T09:00:00.000Z"
)
AGENT_KEY = responses.AgentKey(id=KEY_ID, name="default", issued_by_user_id=str(USER_ID), created_at=FOUNDED_AT)
COMPANY_KEY = responses.CompanyKey(
    id=KEY_ID,
    kind="agent",
    name="default",
    agent_id=AGENT_ID,
    issued_by_user_id=str(USER_ID),
    created_at=FOUNDED_AT,
    expires_at=None,
)

FIELDS = {name: getattr(FIRED_ROUTINE, name) for name in responses.RoutineFields.__struct_fields__}
LIST_ITEM = responses.RoutineListItem(
    **FIELDS,
    triggers=[
        responses.TriggerSummary(
            **{name: getattr(TRIGGER, name) for name in responses.TriggerSummary.__struct_fields__}
        )
    ],
    last_run=RUN_SUMMARY,
    active_issue=ISSUE.summary(),
)
DETAIL = responses.RoutineDetail(
    **FIELDS,
    project=PROJECT,
    assignee=responses.AssigneeSummary(
        id=AGENT_ID, name=AGENT.name, role=AGENT.role, title=AGENT.title, url_key=AGENT.url_key
    ),
    parent_issue=None,
    triggers=[TRIGGER],
    recent_runs=[RUN_SUMMARY],
    active_issue=ISSUE,
)


def _one(body: Json) -> dict[str, Json]:
    return {"example": body}


REQUESTS: dict[str, dict[str, Json]] = {
    "createCompany": _one({"name": "Acme", "description": "Makes everything"}),
    "updateCompany": _one({"description": "Makes everything, and more"}),
    "addMember": _one({"name": "Robin", "email": "robin@example.org", "membershipRole": "member"}),
    "updateMember": _one({"membershipRole": "viewer"}),
    "createMemberKey": _one({"name": "a new laptop"}),
    "createAgent": _one({"name": "Scout", "role": "researcher", "title": "Reads what is written about us"}),
    "updateAgent": _one({"adapterConfig": {"command": "scout --quick"}}),
    "pauseAgent": _one({"reason": "manual"}),
    "rotateHeartbeatSecret": _one({"overlapSec": 3600}),
    "createWebhookEndpoint": _one({"url": ENDPOINT.url, "events": list(ENDPOINT.events)}),
    "updateWebhookEndpoint": _one({"ordered": True}),
    "rotateWebhookEndpointSecret": _one({"overlapSec": 3600}),
    "createAgentKey": _one({"name": "default"}),
    "createBoardKey": _one({"name": "paperclipai cli", "expiresAt": "2099-12-31T00:00:00Z"}),
    "createProject": _one({"name": "Launch", "status": "in_progress", "targetDate": "2027-03-01"}),
    "updateProject": _one({"color": "#2b7de9"}),
    "createGoal": _one({"title": "Be known", "level": "company", "status": "active"}),
    "updateGoal": _one({"status": "achieved"}),
    "createRoutine": _one(
        {
            "title": ROUTINE.title,
            "description": ROUTINE.description,
            "variables": [{"name": "topic", "defaultValue": "Acme"}],
        }
    ),
    "updateRoutine": _one({"priority": "high", "catchUpPolicy": "enqueue_missed_with_cap"}),
    "runRoutine": _one(
        {
            "variables": {"topic": "Acme"},
            "assigneeAgentId": str(AGENT_ID),
            "idempotencyKey": "news-2026-11-22",
        }
    ),
    "createTrigger": {
        "schedule": {"kind": "schedule", "cronExpression": "0 9 * * MON-FRI", "timezone": "Europe/Amsterdam"},
        "webhook": {"kind": "webhook", "label": "A new release", "signingMode": "hmac_sha256"},
        "api": {"kind": "api", "label": "From the terminal"},
    },
    "updateTrigger": _one({"enabled": False}),
    "rotateTriggerSecret": _one({"overlapSec": 3600}),
    "fireWebhook": _one({"release": "2.4.0"}),
    "pauseRoutines": _one({"projectId": str(PROJECT_ID), "pauseNote": "The sprint is over"}),
    "resumeRoutines": _one({"projectId": str(PROJECT_ID)}),
    "previewBackfill": _one({"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T23:59:59Z"}),
    "createBackfill": _one({"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T23:59:59Z", "overlap": "one_at_a_time"}),
    "previewSchedule": _one({"cronExpression": "30 2 * * *", "timezone": "Europe/Amsterdam", "count": 1}),
    "createIssue": _one({"title": "Order more paper", "priority": "low"}),
    "updateIssue": _one({"status": "done", "comment": "Three articles, all kind."}),
    "checkoutIssue": _one({"agentId": str(AGENT_ID), "expectedStatuses": ["todo", "blocked"]}),
    "createComment": _one({"body": "Three articles, all kind."}),
}

OCCURRENCE = Occurrence(
    planned_at="2026-11-22T09:00:00.000Z",
    last_planned_at="2026-11-22T09:00:00.000Z",
    due_at="2026-11-22T09:00:00.000Z",
    outcome="issue_created",
    concurrency_policy="coalesce_if_active",
    catch_up_policy="skip_missed",
    run_id=RUN_ID,
    issue_id=ISSUE_ID,
    settled_at="2026-11-22T09:00:00.012Z",
    lateness_ms=12,
    position=1284,
)
NEXT_NIGHT = Moment(at="2026-11-23T01:30:00.000Z", local="2026-11-23T02:30:00+01:00", due_at="2026-11-23T01:30:00.000Z")
EXPLAINED = TriggerExplanation(
    trigger_id=TRIGGER_ID,
    label=None,
    cron_expression="0 9 * * *",
    timezone="UTC",
    verdict="ran",
    answer="The occurrence of Sun 22 Nov 2026 09:00 UTC ran: it was fired 12 ms after it was due, and opened an issue, "
    "which is open.",
    occurrence=Moment(at=OCCURRENCE.planned_at, local="2026-11-22T09:00:00+00:00", due_at=OCCURRENCE.planned_at),
    previous=None,
    next=Moment(at="2026-11-23T09:00:00.000Z", local="2026-11-23T09:00:00+00:00", due_at="2026-11-23T09:00:00.000Z"),
    reason=None,
    concurrency_policy="coalesce_if_active",
    catch_up_policy="skip_missed",
    run_id=RUN_ID,
    issue_id=ISSUE_ID,
    blocking_run_id=None,
    facts=[
        Fact(
            role="fired",
            event="run.fired",
            stream_id=RUN_ID,
            version=1,
            position=1284,
            at="2026-11-22T09:00:00.012Z",
            actor="scheduler",
        )
    ],
)

BACKFILL = Backfill(
    id=BACKFILL_ID,
    company_id=COMPANY_ID,
    routine_id=ROUTINE_ID,
    trigger_id=TRIGGER_ID,
    status="running",
    overlap="one_at_a_time",
    from_="2026-11-20T00:00:00.000Z",
    to="2026-11-21T23:59:59.000Z",
    count=2,
    created_by_agent_id=None,
    created_by_user_id=str(USER_ID),
    created_at=FIRED_AT,
    updated_at=FIRED_AT,
)

ANSWERS: dict[str, Any] = {
    "getHealth": Health(
        status="ok",
        read_models=[
            ReadModelStatus(
                name="routines",
                position=1284,
                behind=0,
                stopped=None,
                moved_at=datetime(2026, 11, 22, 1, 5, 39, tzinfo=UTC),
                behind_s=0.0,
            )
        ],
    ),
    "getHealth.503": Unhealthy(error="database_unreachable"),
    "listCompanies": [COMPANY],
    "createCompany": replace(COMPANY, issue_counter=0),
    "getCompany": COMPANY,
    "updateCompany": replace(COMPANY, description="Makes everything, and more", updated_at=WRITTEN_AT),
    "archiveCompany": replace(COMPANY, status="archived", updated_at=WRITTEN_AT),
    "listMembers": [MEMBER],
    "addMember": AddedMember(**asdict(MEMBER), token=BOARD_TOKEN),
    "updateMember": replace(MEMBER, membership_role="viewer", permissions=(), updated_at=WRITTEN_AT),
    "createMemberKey": MintedBoardKey(
        id=KEY_ID, name="a new laptop", token=BOARD_TOKEN, created_at=FOUNDED_AT, expires_at="2099-12-31T00:00:00.000Z"
    ),
    "listAgents": [AGENT],
    "createAgent": MadeAgent(**asdict(BEATING_AGENT), heartbeat_secret=SIGNING_SECRET),
    "rotateHeartbeatSecret": MadeAgent(**asdict(BEATING_AGENT), heartbeat_secret=SIGNING_SECRET),
    "createWebhookEndpoint": MadeEndpoint(**asdict(ENDPOINT), secret=SIGNING_SECRET),
    "listWebhookEndpoints": [ENDPOINT],
    "getWebhookEndpoint": ENDPOINT,
    "updateWebhookEndpoint": replace(ENDPOINT, ordered=True, updated_at=WRITTEN_AT),
    "rotateWebhookEndpointSecret": MadeEndpoint(**asdict(ENDPOINT), secret=SIGNING_SECRET),
    "testWebhookEndpoint": replace(DELIVERY, event_type="endpoint.tested"),
    "listWebhookDeliveries": [DELIVERED],
    "listDeliveries": [DELIVERED],
    "redeliver": DELIVERY,
    "getMe": disclosure.masked(Me(**asdict(AGENT))),
    "getInbox": [
        InboxItem(
            **{
                name: getattr(ISSUE, name)
                for name in InboxItem.__struct_fields__
                if name in responses.Issue.__struct_fields__
            }
        )
    ],
    "getAgent": AGENT,
    "updateAgent": MadeAgent(
        **asdict(replace(AGENT, adapter_config={"command": "scout --quick"}, updated_at=WRITTEN_AT))
    ),
    "pauseAgent": PAUSED_AGENT,
    "resumeAgent": replace(AGENT, updated_at=FIRED_AT),
    "approveAgent": replace(AGENT, updated_at=WRITTEN_AT),
    "terminateAgent": replace(AGENT, status="terminated", updated_at=WRITTEN_AT),
    "listAgentKeys": [AGENT_KEY],
    "createAgentKey": MintedAgentKey(id=KEY_ID, name="default", token=AGENT_TOKEN, created_at=FOUNDED_AT),
    "revokeAgentKey": Revoked(),
    "listCompanyKeys": [COMPANY_KEY],
    "revokeCompanyKey": Revoked(),
    "listBoardKeys": [BOARD_KEY],
    "createBoardKey": MintedBoardKey(
        id=KEY_ID,
        name="paperclipai cli",
        token=BOARD_TOKEN,
        created_at=FOUNDED_AT,
        expires_at="2099-12-31T00:00:00.000Z",
    ),
    "revokeBoardKey": Revoked(),
    "getIdentity": Identity(
        user=UserSummary(id=USER_ID, name="Robin", email="robin@example.org"),
        user_id=USER_ID,
        is_instance_admin=False,
        company_ids=[COMPANY_ID],
        memberships=[responses.Membership(company_id=COMPANY_ID, membership_role="member")],
        key_id=KEY_ID,
    ),
    "listProjects": [PROJECT],
    "createProject": replace(PROJECT, goal_id=None, goal_ids=(), lead_agent_id=None, color=None),
    "getProject": PROJECT,
    "updateProject": replace(PROJECT, updated_at=WRITTEN_AT),
    "deleteProject": PROJECT,
    "pauseProject": PAUSED_PROJECT,
    "resumeProject": replace(PROJECT, updated_at=FIRED_AT),
    "listGoals": [GOAL],
    "createGoal": GOAL,
    "getGoal": GOAL,
    "updateGoal": replace(GOAL, status="achieved", updated_at=WRITTEN_AT),
    "deleteGoal": GOAL,
    "listRoutines": [LIST_ITEM],
    "createRoutine": replace(ROUTINE, project_id=None, assignee_agent_id=None, status="paused"),
    "getRoutine": DETAIL,
    "updateRoutine": replace(
        ROUTINE,
        priority="high",
        catch_up_policy="enqueue_missed_with_cap",
        latest_revision_id=REVISION_ID,
        latest_revision_number=2,
        updated_at=FIRED_AT,
    ),
    "listRevisions": [REVISION],
    "restoreRevision": RestoreAnswer(
        routine=replace(FIRED_ROUTINE, latest_revision_id=RESTORED.id, latest_revision_number=RESTORED.revision_number),
        revision=RESTORED,
        restored_from_revision_id=REVISION_ID,
        restored_from_revision_number=2,
        secret_materials=[],
    ),
    "listRuns": [RUN_SUMMARY],
    "runRoutine": RUN,
    "createTrigger": TriggerAnswer(trigger=TRIGGER, secret_material=None, revision=REVISION),
    "updateTrigger": EditedTrigger(**asdict(replace(TRIGGER, enabled=False, updated_at=FIRED_AT))),
    "rotateTriggerSecret": TriggerAnswer(
        trigger=WEBHOOK,
        secret_material=SECRET,
        revision=replace(RESTORED, change_summary="Rotated webhook trigger secret", restored_from_revision_id=None),
    ),
    "fireWebhook": WEBHOOK_RUN,
    "listOccurrences": OccurrencePage(
        trigger_id=TRIGGER_ID,
        routine_id=ROUTINE_ID,
        from_="2026-11-22T00:00:00.000Z",
        to="2026-11-23T00:00:00.000Z",
        no_plan_because=None,
        occurrences=[OCCURRENCE],
        next_cursor=None,
    ),
    "explainRoutine": Explanation(
        routine_id=ROUTINE_ID, at=OCCURRENCE.planned_at, answer=EXPLAINED.answer, triggers=[EXPLAINED]
    ),
    "pauseRoutines": BulkAnswer(
        changed=[ROUTINE_ID], unchanged=[], refused=[Refused(routine_id=TRIGGER_ID, error="Routine not found")]
    ),
    "resumeRoutines": BulkAnswer(changed=[ROUTINE_ID], unchanged=[], refused=[]),
    "previewBackfill": BackfillPreview(
        trigger_id=TRIGGER_ID,
        routine_id=ROUTINE_ID,
        from_=BACKFILL.from_,
        to=BACKFILL.to,
        count=2,
        to_run=1,
        left_out=1,
        refused_because=None,
        occurrences=[
            WouldRun(
                at="2026-11-20T08:00:00.000Z", local="2026-11-20T09:00:00+01:00", action="leave_out", run_id=RUN_ID
            ),
            WouldRun(at="2026-11-21T08:00:00.000Z", local="2026-11-21T09:00:00+01:00", action="run", run_id=None),
        ],
    ),
    "createBackfill": BACKFILL,
    "listBackfills": [replace(BACKFILL, status="waiting", fired=1, reached_at="2026-11-20T08:00:00.000Z")],
    "getBackfill": BACKFILL,
    "cancelBackfill": replace(BACKFILL, status="cancelled", reason="cancelled", updated_at=STARTED_AT),
    "previewSchedule": SchedulePreviewed(
        valid=True,
        reason=None,
        description="At 02:30 every day, Europe/Amsterdam time",
        times=[NEXT_NIGHT],
        clock_changes=[
            ClockChange(
                at="2027-03-28T01:00:00.000Z",
                shift_minutes=60,
                effect="moved",
                walls=["2027-03-28T02:30:00"],
                times=[
                    LocalTime(at="2027-03-28T01:00:00.000Z", local="2027-03-28T03:00:00+02:00"),
                ],
                text="On Sun 28 Mar 2027 the clocks of Europe/Amsterdam go forward from 02:00 to 03:00: 02:30 does not "
                "exist, and the schedule runs at 03:00 (01:00 UTC) instead.",
            )
        ],
        clock_changes_until="2027-12-27T01:00:00.000Z",
    ),
    "listIssues": [ISSUE],
    "createIssue": replace(MANUAL_ISSUE, priority="low", status="backlog", assignee_agent_id=None),
    "getIssue": IssueDetail(**asdict(ISSUE), ancestors=[]),
    "getHeartbeatContext": HeartbeatContext(
        issue=HELD_ISSUE,
        ancestors=[],
        project=PROJECT,
        goal=None,
        comment_cursor=CommentCursor(total_comments=1, latest_comment_id=COMMENT_ID, latest_comment_at=STARTED_AT),
    ),
    "updateIssue": IssueUpdated(
        **asdict(
            replace(HELD_ISSUE, status="done", checkout_run_id=None, execution_run_id=None, completed_at=STARTED_AT)
        ),
        comment=COMMENT,
    ),
    "checkoutIssue": HELD_ISSUE,
    "releaseIssue": RELEASED_ISSUE,
    "forceReleaseIssue": RELEASED_ISSUE,
    "listComments": [COMMENT],
    "createComment": COMMENT,
    "getComment": COMMENT,
}

PROBLEMS = {
    400: problem(
        400,
        "Validation error",
        [
            {
                "code": "too_small",
                "minimum": 1,
                "type": "string",
                "inclusive": True,
                "exact": False,
                "message": "String must contain at least 1 character(s)",
                "path": ["title"],
            }
        ],
    ),
    401: problem(401, "Unauthorized"),
    403: problem(403, "Missing permission: tasks:assign"),
    404: problem(404, "Routine not found"),
    409: problem(409, "Routine is archived"),
    413: problem(413, "The body must have at most 1048576 bytes"),
    415: problem(415, "Content-Type must be application/json in UTF-8"),
    422: problem(422, "Default agent required"),
    429: problem(
        429,
        "The key has recorded more than 60000 events in a minute: try again in 5 s",
        {"code": "over_quota", "quota": "max_key_events_per_minute", "limit": 60_000},
    ),
    431: problem(431, "Too many or too large headers"),
    503: problem(503, "A read model is behind the log; try again", {"readModels": ["routines"]}),
}
