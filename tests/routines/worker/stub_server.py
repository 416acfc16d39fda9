"""A server that answers the worker as ours does, and what tests of the worker share."""

from threading import Lock
from uuid import uuid4

LIMIT_S = 20.0
TOKEN = "pcp_secret"
AGENT, COMPANY, ROUTINE, RUN = (str(uuid4()) for _ in range(4))


class Stub:
    """What the worker uses of the API (contract 7.5), and everything that it was asked."""

    def __init__(self, url):
        self.url = url
        self.issues = {}
        self.requests = []
        self.comments = []
        self.reasons = []  # why the runs failed
        self.outputs = []
        self.usage = []
        self.refused_outputs = None  # the answer to outputs, if they are not taken
        self.refused_usage = None
        self.runs = {}
        self.routines = {}
        self.environment, self.missing = None, []  # of the routine that opened the issues
        self.troubles = []  # answers that come before the right one
        self.is_silent = False  # whether no request is answered
        self.lost = set()  # sessions from which an issue was taken
        self.sessions = []  # that began work
        self.leases = []  # of each checkout: the status that was expected, and for how long
        self.lock = Lock()

    def open(self, title="Say hello", **fields):
        number = len(self.issues) + 1
        issue = {
            "id": str(uuid4()),
            "companyId": COMPANY,
            "identifier": f"ACM-{number}",
            "title": title,
            "description": "",
            "status": "todo",
            "assigneeAgentId": AGENT,
            "checkoutRunId": None,
            "originId": ROUTINE,
            "originRunId": RUN,
            "updatedAt": f"2026-11-22T01:00:{number:02}.000Z",
        } | fields
        self.issues[issue["id"]] = issue
        return issue

    def answer(self, method, path, token, session, body):
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Unauthorized"}
        self.requests.append((method, path))
        if self.troubles:
            return self.troubles.pop(0)
        match method, path.split("/")[2:]:
            case "GET", ["agents", "me"]:
                return 200, {"id": AGENT, "name": "Ada"}
            case "GET", ["agents", "me", "inbox-lite"]:
                return 200, [i for i in self.issues.values() if i["status"] in ("todo", "in_progress", "blocked")]
            case "GET", ["issues", id_]:
                return 200, self.issues[id_]
            case "GET", ["issues", id_, "environment"] if self.environment is not None:
                return 200, {"environmentVariables": self.environment, "missing": self.missing}
            case "POST", ["issues", id_, "checkout"]:
                return self.check_out(self.issues[id_], session, body)
            case "GET", ["routine-runs", id_] if id_ in self.runs:
                return 200, self.runs[id_]
            case "GET", ["routines", id_] if id_ in self.routines:
                return 200, self.routines[id_]
            case "POST", ["issues", id_, "comments"]:
                self.comments.append(body["body"])
                return 201, {}
            case "PATCH", ["issues", id_]:
                return self.patch(self.issues[id_], session, body)
        return 404, {"error": "API route not found"}

    def check_out(self, issue, session, body):
        assert AGENT == body["agentId"]
        if session not in self.lost:
            self.leases.append((body["expectedStatuses"][0], body["leaseSeconds"]))
        if issue["checkoutRunId"] == session and issue["status"] == "in_progress":
            return 200, issue
        if issue["checkoutRunId"] is not None or issue["status"] not in body["expectedStatuses"]:
            return 409, {"error": "Issue checkout conflict", "details": {"checkoutRunId": issue["checkoutRunId"]}}
        count = issue.get("checkoutCount", 0) + 1
        issue |= {"status": "in_progress", "checkoutRunId": session, "checkoutCount": count}
        self.sessions.append(session)
        return 200, issue

    def patch(self, issue, session, body):
        if issue["checkoutRunId"] != session or session in self.lost:
            return 409, {"error": "Issue run ownership conflict"}
        issue |= {"status": body["status"], "checkoutRunId": None}
        for name, is_refused in (("outputs", self.refused_outputs), ("usage", self.refused_usage)):
            if name in body and is_refused is not None:
                issue |= {"status": "in_progress", "checkoutRunId": session}
                return is_refused
        self.outputs.append(body.get("outputs"))
        self.usage.append(body.get("usage"))
        self.comments.append(body.get("comment"))
        self.reasons.append(body.get("failureReason"))
        return 200, issue

    def count(self, method, end):
        return sum(verb == method and path.endswith(end) for verb, path in self.requests)


def read(path):
    return path.exists() and path.read_text().strip()


def fire(stub, **payload):
    trigger = str(uuid4())
    stub.runs[RUN] = {
        "id": RUN,
        "triggerId": trigger,
        "source": "webhook",
        "triggerPayload": payload,
        "plannedAt": "2026-11-22T01:05:00.000Z",
        "deadline": "2026-11-22T02:05:00.000Z",
        "failureReason": None,
    }
    triggers = [{"id": str(uuid4())}, {"id": trigger, "kind": "webhook"}]
    stub.routines[ROUTINE] = {"id": ROUTINE, "triggers": triggers, "recentRuns": []}
    return stub.open()
