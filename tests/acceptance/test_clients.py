"""Clients that are not ours: curl and openssl as docs/clients.md has them, and the examples of the API's reference."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
BODY = '{"payload": {"source": "stripe", "event": "invoice.paid"}}'

# As they stand in the reference of the API; Running.places() says what they are filled in with.
CREATE = r"""
curl -X POST "http://localhost:3100/api/companies/company-1/routines" \
  -H "Authorization: Bearer <board-token>" \
  -H "Content-Type: application/json" \
  -d '{
    "title": "Weekly CEO briefing for {{company_name}}",
    "description": "Compile a weekly summary and prepare the next priorities.",
    "assigneeAgentId": "agent-1",
    "projectId": "project-1",
    "goalId": "goal-1",
    "priority": "medium",
    "status": "active",
    "concurrencyPolicy": "coalesce_if_active",
    "catchUpPolicy": "skip_missed",
    "variables": [
      {
        "name": "company_name",
        "label": "Company name",
        "type": "text",
        "required": true,
        "defaultValue": "Paperclip"
      }
    ]
  }'
"""
LIST = r"""
curl "http://localhost:3100/api/companies/company-1/routines" \
  -H "Authorization: Bearer <token>"
"""
ADD_TRIGGER = r"""
curl -X POST "http://localhost:3100/api/routines/routine-1/triggers" \
  -H "Authorization: Bearer <board-token>" \
  -H "Content-Type: application/json" \
  -d '{
    "kind": "webhook",
    "label": "Webhook intake",
    "enabled": true,
    "signingMode": "bearer"
  }'
"""
RUN = r"""
curl -X POST "http://localhost:3100/api/routines/routine-1/run" \
  -H "Authorization: Bearer <board-token>" \
  -H "Content-Type: application/json" \
  -d '{
    "source": "manual",
    "payload": {
      "context": "Run a one-off briefing"
    },
    "idempotencyKey": "briefing-2026-04-15"
  }'
"""
FIRE = r"""
curl -X POST "http://localhost:3100/api/routine-triggers/public/<public-id>/fire" \
  -H "Authorization: Bearer <webhook-secret>" \
  -H "Content-Type: application/json" \
  -d '{
    "payload": {
      "source": "stripe",
      "event": "invoice.paid"
    }
  }'
"""


class SystemWithBoard:
    """A running system, and its board."""

    def __init__(self, running_up):
        self.directory, self.url, self.token = running_up.directory, running_up.url, running_up.token
        self.board = httpx.Client(base_url=f"{self.url}/api", timeout=20, trust_env=False)
        self.board.headers["Authorization"] = f"Bearer {self.token}"

    def get(self, path):
        return self.board.get(path).raise_for_status().json()

    def post(self, path, body):
        return self.board.post(path, json=body).raise_for_status().json()

    def places(self):
        """What stands in the reference's examples for the things of a new company."""
        company = self.post("/companies", {"name": "Acme"})["id"]
        return {
            "http://localhost:3100": self.url,
            "<board-token>": self.token,
            "<token>": self.token,
            "company-1": company,
            "agent-1": self.post(f"/companies/{company}/agents", {"name": "Scout"})["id"],
            "project-1": self.post(f"/companies/{company}/projects", {"name": "Briefings"})["id"],
            "goal-1": self.post(f"/companies/{company}/goals", {"title": "Know what is going on"})["id"],
        }

    def webhook(self, mode):
        """The routine, address and secret of a new webhook."""
        places = self.places()
        body = {"title": "Look into it", "assigneeAgentId": places["agent-1"]}
        routine = self.post(f"/companies/{places['company-1']}/routines", body)["id"]
        trigger = self.post(f"/routines/{routine}/triggers", {"kind": "webhook", "signingMode": mode})["secretMaterial"]
        return routine, trigger["webhookUrl"], trigger["webhookSecret"]

    def runs(self, routine):
        """Oldest first."""
        return self.get(f"/routines/{routine}/runs")[::-1]


@pytest.fixture(scope="module")
def system_with_board(running_up, begun_minute):  # what waits for the minute runs beside these
    system = SystemWithBoard(running_up)
    yield system
    system.board.close()


def script(text, cwd, limit_s):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=cwd,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )


def curl(*options):
    """Status and JSON of what curl was answered."""
    said = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", *options], capture_output=True, text=True, check=True)
    answer, status = said.stdout.rsplit("\n", 1)
    return int(status), json.loads(answer)


def example(command, places):
    """Status and JSON of what an example of the reference is answered."""
    for place, value in places.items():
        command = command.replace(place, value)
    said = script(f"{command.strip()} -sS -w '\\n%{{http_code}}'", "/", 20)
    assert (0, "") == (said.returncode, said.stderr)
    answer, status = said.stdout.rsplit("\n", 1)
    return int(status), json.loads(answer)


def hmac_of(secret, text):
    """The hex HMAC-SHA256 that openssl computes."""
    argv = ["openssl", "dgst", "-sha256", "-hmac", secret, "-r"]
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout.split(" ", 1)[0]


def send(url, body, headers):
    options = [option for name, value in headers.items() for option in ("-H", f"{name}: {value}")]
    return curl(url, "-H", "Content-Type: application/json", *options, "--data-binary", body)


@pytest.mark.timeout(180)
def test_every_bash_block_of_the_page_works_as_it_stands(system_with_board, root):
    start, *blocks = BLOCK.findall((root / "docs/clients.md").read_text())
    assert start == ("export PAPERCLIP_API_URL=http://127.0.0.1:3100 PAPERCLIP_API_KEY=$(cat .routines/board.token)\n")
    start = start.replace("http://127.0.0.1:3100", system_with_board.url).replace(
        ".routines/", f"{system_with_board.directory}/"
    )

    done = script("\n".join([start, *blocks, 'echo "ROUTINE $ROUTINE"']), root, 150)

    assert (0, "") == (done.returncode, done.stderr), done.stdout
    routine = done.stdout.rsplit(" ", 1)[1].strip()
    runs = system_with_board.runs(routine)
    assert [
        "Look into a deploy",
        "Look into deploy 42",
        "Look into a paid invoice",
        "Look into a refund",
        "Look into a push",
        "Look into a new contact",
        "Look into a lost contact",
        "Look into anything",
    ] == [run["linkedIssue"]["title"] for run in runs]
    assert {("webhook", "issue_created")} == {(run["source"], run["status"]) for run in runs}
    assert 4200 == runs[2]["triggerPayload"]["amount"]
    assert "deploy-42" == runs[1]["idempotencyKey"]


def test_the_examples_of_the_reference_work_word_for_word(system_with_board):
    places = system_with_board.places()

    status, routine = example(CREATE, places)
    assert 201 == status
    assert "active" == routine["status"]
    places["routine-1"] = routine["id"]

    status, listed = example(LIST, places)
    assert (200, [routine["id"]]) == (status, [item["id"] for item in listed])

    status, trigger = example(ADD_TRIGGER, places)
    assert 201 == status
    places["<public-id>"] = trigger["trigger"]["publicId"]
    places["<webhook-secret>"] = trigger["secretMaterial"]["webhookSecret"]

    status, by_hand = example(RUN, places)
    assert (202, "issue_created") == (status, by_hand["status"])
    assert (202, by_hand) == example(RUN, places)  # the same key

    status, called = example(FIRE, places)
    assert (202, "coalesced") == (status, called["status"])
    assert by_hand["id"] == called["coalescedIntoRunId"]

    assert [by_hand["id"], called["id"]] == [run["id"] for run in system_with_board.runs(routine["id"])]
    assert {"source": "stripe", "event": "invoice.paid"} == called["triggerPayload"]["payload"]
    assert "Weekly CEO briefing for Paperclip" == system_with_board.get(f"/issues/{by_hand['linkedIssueId']}")["title"]


@pytest.mark.parametrize(
    ("mode", "signature", "stamped"),
    [
        ("hmac_sha256", "X-Paperclip-Signature", True),
        ("hmac_sha256", "X-Hub-Signature-256", True),
        ("github_hmac", "X-Hub-Signature-256", False),
        ("github_hmac", "X-Hub-Signature-256", True),
        ("github_hmac", "X-Paperclip-Signature", False),
        ("github_hmac", "X-Paperclip-Signature", True),
    ],
)
@pytest.mark.parametrize("prefix", ["", "sha256="])
def test_what_openssl_signs_is_taken_in_every_header_that_the_reference_names(
    system_with_board, mode, signature, stamped, prefix
):
    routine, url, secret = system_with_board.webhook(mode)
    sent = str(int(time.time()))
    headers = {"X-Paperclip-Timestamp": sent} if stamped else {}
    text = f"{sent}.{BODY}" if stamped else BODY

    status, run = send(url, BODY, {**headers, signature: prefix + hmac_of(secret, text)})

    assert (202, "issue_created") == (status, run["status"])
    assert json.loads(BODY) == run["triggerPayload"]
    assert [run["id"]] == [found["id"] for found in system_with_board.runs(routine)]


def test_a_timestamped_call_counts_once(system_with_board):
    routine, url, secret = system_with_board.webhook("hmac_sha256")
    sent = str(int(time.time()))
    headers = {"X-Paperclip-Timestamp": sent, "X-Paperclip-Signature": hmac_of(secret, f"{sent}.{BODY}")}

    first, again = send(url, BODY, headers), send(url, BODY, headers)

    assert 202 == first[0]
    assert (409, "Webhook replay detected") == (again[0], again[1]["error"])
    assert [first[1]["id"]] == [run["id"] for run in system_with_board.runs(routine)]


@pytest.mark.parametrize("wrong", ["another body", "no timestamp", "an old timestamp", "another secret", "upper case"])
def test_a_call_that_is_not_signed_as_it_should_be_leaves_nothing(system_with_board, wrong):
    routine, url, secret = system_with_board.webhook("hmac_sha256")
    sent = str(int(time.time()) - (301 if wrong == "an old timestamp" else 0))
    signature = hmac_of("another" if wrong == "another secret" else secret, f"{sent}.{BODY}")
    headers = {
        "X-Paperclip-Timestamp": sent,
        "X-Paperclip-Signature": signature.upper() if wrong == "upper case" else signature,
    }
    if wrong == "no timestamp":
        del headers["X-Paperclip-Timestamp"]

    status, answer = send(url, BODY + " " if wrong == "another body" else BODY, headers)

    assert (401, "Unauthorized") == (status, answer["error"])
    assert [] == system_with_board.runs(routine)


def test_a_rotated_secret_is_dead_with_the_next_call(system_with_board):
    routine, url, old = system_with_board.webhook("github_hmac")
    trigger = system_with_board.get(f"/routines/{routine}")["triggers"][0]["id"]
    new = system_with_board.post(f"/routine-triggers/{trigger}/rotate-secret", {})["secretMaterial"]

    assert url == new["webhookUrl"]
    assert 401 == send(url, BODY, {"X-Hub-Signature-256": f"sha256={hmac_of(old, BODY)}"})[0]
    assert 202 == send(url, BODY, {"X-Hub-Signature-256": f"sha256={hmac_of(new['webhookSecret'], BODY)}"})[0]
