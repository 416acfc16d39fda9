"""
What bodies and queries may hold though it has no effect here: the one list. Whatever else is not known is refused.

Only operations of the two contracts have entries. Three kinds of fields are tolerated, because real clients send them:

- the fields of an answer in a body that is a copy of it, changed and sent back; it has the answer's `id`;
- fields that clients send without meaning anything by them here (`ignored`);
- fields of the contracts that are not supported yet, with those values that mean that they are not used (`unused`).

docs/clients.md shows the list to users.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from application.request_bodies import jetty as jetty_bodies
from application.request_bodies.board import (
    AgentDraft,
    AgentKeyDraft,
    AgentPatch,
    BoardKeyDraft,
    CompanyDraft,
    CompanyPatch,
    GoalDraft,
    GoalPatch,
    ProjectDraft,
    ProjectPatch,
)
from application.request_bodies.issues import CommentDraft, IssueDraft, IssuePatch
from application.request_bodies.routines import RoutineDraft, RoutinePatch
from application.request_bodies.triggers import ApiDraft, ScheduleDraft, TriggerPatch, WebhookDraft
from projections import responses
from projections.jetty import responses as jetty_responses

BodyType = type[msgspec.Struct]
Unused = Mapping[str, tuple[Any, ...]]  # the values of a field that mean that it is not used, the usual one first
COPY_MARK = "id"  # every resource that is answered has one, and no body needs it


class Tolerated(NamedTuple):
    """The fields of a body that are accepted beside its own, by their names in JSON."""

    of_copies: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    unused: Unused = {}


def _names_of_fields(*shapes: BodyType) -> frozenset[str]:
    return frozenset(field.encode_name for shape in shapes for field in msgspec.structs.fields(shape))


UNUSED_OF_COMPANY: Unused = {
    "budgetMonthlyCents": (0,),
    "spentMonthlyCents": (0,),
    "requireBoardApprovalForNewAgents": (False,),
    "brandColor": (None,),
}
UNUSED_OF_AGENT: Unused = {
    "runtimeConfig": ({},),
    "permissions": ({},),
    "icon": (None,),
    "capabilities": (None,),
    "defaultEnvironmentId": (None,),
    "spentMonthlyCents": (0,),
}
UNUSED_OF_ISSUE: Unused = {
    "assigneeUserId": (None,),
    "requestDepth": (0,),
    "workMode": ("standard",),
    "billingCode": (None,),
    "labelIds": ([],),
    "assigneeAdapterOverrides": (None,),
    "executionPolicy": (None,),
    "executionWorkspaceId": (None,),
    "executionWorkspacePreference": (None,),
    "executionWorkspaceSettings": (None,),
    "inheritExecutionWorkspaceFromIssueId": (None,),
    "projectWorkspaceId": (None,),
}
FOLLOW_UPS: Unused = {"reopen": (False,), "resume": (False,), "interrupt": (False,)}
# Agents send these when they block an issue: the original demands one of them, and here nothing follows from it.
BLOCKERS = frozenset({"blockedByIssueIds", "unblockDescriptor"})

COMPANY = Tolerated(of_copies=_names_of_fields(responses.Company), unused=UNUSED_OF_COMPANY)
AGENT = Tolerated(of_copies=_names_of_fields(responses.Agent) | {"chainOfCommand"}, unused=UNUSED_OF_AGENT)
PROJECT = Tolerated(of_copies=_names_of_fields(responses.Project))
GOAL = Tolerated(of_copies=_names_of_fields(responses.Goal))
ROUTINE = Tolerated(of_copies=_names_of_fields(responses.RoutineDetail, responses.RoutineListItem))
TRIGGER = Tolerated(of_copies=_names_of_fields(responses.TriggerDetail))
ISSUE = Tolerated(of_copies=_names_of_fields(responses.Issue) | {"ancestors"}, ignored=BLOCKERS, unused=UNUSED_OF_ISSUE)
TASK = Tolerated(of_copies=_names_of_fields(jetty_responses.Task))
TASK_ROUTINE = Tolerated(of_copies=_names_of_fields(jetty_responses.RoutineRead))
# Fields of another kind of trigger have no effect (contract 4), and no patch changes the kind.
TRIGGER_FIELDS = _names_of_fields(TriggerPatch)

TOLERATED: dict[BodyType, Tolerated] = {
    CompanyDraft: COMPANY,
    CompanyPatch: COMPANY._replace(unused={**UNUSED_OF_COMPANY, "status": ("active",)}),
    AgentDraft: AGENT,
    AgentPatch: AGENT,
    # A company for which an operator is asked to approve the key; here keys need no approval.
    BoardKeyDraft: Tolerated(ignored=frozenset({"requestedCompanyId"})),
    AgentKeyDraft: Tolerated(unused={"scope": ({"kind": "standard"},)}),
    ProjectDraft: PROJECT,
    ProjectPatch: PROJECT,
    GoalDraft: GOAL,
    GoalPatch: GOAL,
    RoutineDraft: ROUTINE,
    RoutinePatch: ROUTINE._replace(unused={"triggers": (None, [])}),
    ScheduleDraft: TRIGGER._replace(ignored=TRIGGER_FIELDS),
    WebhookDraft: TRIGGER._replace(ignored=TRIGGER_FIELDS),
    ApiDraft: TRIGGER._replace(ignored=TRIGGER_FIELDS),
    TriggerPatch: TRIGGER._replace(ignored=frozenset({"kind"})),
    IssueDraft: ISSUE,
    IssuePatch: ISSUE._replace(unused={**UNUSED_OF_ISSUE, **FOLLOW_UPS, "hiddenAt": (None,)}),
    CommentDraft: Tolerated(unused=FOLLOW_UPS),
    jetty_bodies.TaskCreate: TASK,
    jetty_bodies.TaskChange: TASK,
    jetty_bodies.RoutineCreate: TASK_ROUTINE,
    jetty_bodies.RoutineChange: TASK_ROUTINE,
    # The SDK names files, which are not kept, and a subscription to run with, which nothing here is billed to.
    jetty_bodies.RunCreate: Tolerated(ignored=frozenset({"files", "subscription_credential"})),
}
NOTHING = Tolerated()

# Operations, by their ids, whose queries are their callers': senders of webhooks and monitors add parameters of their own,
# whatever those are called and however often they occur.
QUERIES_OF_CALLERS = frozenset({"getHealth", "getMetrics", "getJettyHealth", "fireWebhook"})
# The operations of the contracts, by their ids: unknown parameters of their queries are ignored, since their clients
# send filters that only the original has.
LENIENT_QUERIES = frozenset(
    {
        *("listCompanies", "createCompany", "getCompany", "updateCompany", "archiveCompany"),
        *("listAgents", "createAgent", "getMe", "getInbox", "getAgent", "updateAgent"),
        *("pauseAgent", "resumeAgent", "approveAgent", "terminateAgent"),
        *("listProjects", "createProject", "getProject", "updateProject", "deleteProject"),
        *("listGoals", "createGoal", "getGoal", "updateGoal", "deleteGoal"),
        *("listIssues", "createIssue", "getIssue", "getHeartbeatContext", "updateIssue"),
        *("checkoutIssue", "releaseIssue", "forceReleaseIssue", "listComments", "createComment", "getComment"),
        *("listRoutines", "createRoutine", "getRoutine", "updateRoutine", "listRuns", "runRoutine"),
        *("listRevisions", "restoreRevision"),
        *("createTrigger", "updateTrigger", "deleteTrigger", "rotateTriggerSecret"),
        *("listBoardKeys", "createBoardKey", "revokeBoardKey", "getIdentity"),
        *("listAgentKeys", "createAgentKey", "revokeAgentKey"),
        *("listRoutinesOfCollection", "listRoutinesOfTask", "deleteRoutine", "pauseRoutine", "resumeRoutine"),
        *("runRoutineNow", "listRunsOfRoutine", "getInitParamsSchema"),
        *("listCollections", "createCollection", "getCollection", "getEnvironment", "updateEnvironment"),
        *("createApiKey", "listApiKeys", "listTasks", "createTask", "searchTasks", "getTask", "updateTask"),
        *("deleteTask", "runTask", "runTaskSync", "listTrajectories", "getTrajectory", "getStats", "setStatuses"),
        *("labelTrajectory", "ingestTrajectory", "getWorkflowLogs", "listStepTemplates", "getStepTemplate"),
        *("getTrial", "activateTrial"),
    }
)


def tolerated_in(shape: BodyType) -> Tolerated:
    """Return what is tolerated in a body of this type, or NOTHING."""
    return TOLERATED.get(shape, NOTHING)
