"""
A hostile tenant: one company with a key of every kind, which does the worst it may, and strangers without any key.

Run as a process of its own (`python -m verification.faults.hostile`), at a low priority, since an attacker brings a processor
of its own, and here shares the service's. It reads its orders as JSON from standard input, and prints as JSON how often each attack was answered
with which status. It imports nothing of the service.
"""

import base64
import contextlib
import itertools
import json
import os
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

THREADS = 24
SILENT_CONNECTIONS = 100
PATIENCE_S = 20.0
NEVER = {"kind": "schedule", "cronExpression": "* 2 */31 10 0", "timezone": "Australia/Sydney"}


@dataclass
class Orders:
    """Where to strike, as whom and for how long; `tokens` by kind: owner, member, viewer, agent, collection."""

    url: str
    company_id: str
    agent_id: str
    collection: str
    tokens: dict[str, str]
    seconds: float
    seed: str


class Tenant:
    """One thread's part of the attack, with its own connections and choices."""

    def __init__(self, orders: Orders, chance: random.Random, answers: Counter[tuple[str, int]], until: float) -> None:
        self._orders = orders
        self._until = until
        self._chance = chance
        self._answers = answers
        self._http = httpx.Client(base_url=orders.url, timeout=PATIENCE_S)
        self._routines: list[str] = []
        self._triggers: list[str] = []
        self._tasks: list[str] = []
        self._hooks: list[str] = []

    def attack(self, first: Callable[["Tenant"], None]) -> None:
        attack = first
        while time.monotonic() < self._until:
            with contextlib.suppress(httpx.HTTPError, OSError, ValueError, KeyError, IndexError):
                attack(self)
            attack = self._chance.choice(ATTACKS)

    def request(self, attack: str, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """Send a request. Raise TimeoutError when the time is up, so that an attack of many requests ends then."""
        if time.monotonic() > self._until:
            raise TimeoutError
        token = self._orders.tokens[more.pop("key", "owner")]
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        answer = self._http.request(method, path, json=body, headers=headers, **more)
        self._answers[attack, answer.status_code] += 1
        return answer

    def make_large_issues(self) -> None:
        for _ in range(5):
            body = {"title": "x" * 200, "description": self._random_text(100_000)}
            self.request("large", "POST", f"/api/companies/{self._orders.company_id}/issues", body, key="agent")

    def make_large_comments(self) -> None:
        path = f"/api/companies/{self._orders.company_id}/issues"
        issue = self.request("large", "POST", path, {"title": "talk"}).json()["id"]
        for _ in range(10):
            self.request("large", "POST", f"/api/issues/{issue}/comments", {"body": self._random_text(100_000)})

    def run_long_tasks(self) -> None:
        steps = [f"s{number}" for number in range(1_500)]
        configs = {step: {"activity": "text_echo", "text": "hello " * 20} for step in steps}
        self._call_task({"steps": steps, "step_configs": configs}, "many steps")

    def run_deep_tasks(self) -> None:
        steps = [f"s{number}" for number in range(490)]
        configs = {
            step: {"activity": "text_echo", "text_path": f"s{number - 1}.outputs" if number else "init_params"}
            for number, step in enumerate(steps)
        }
        self._call_task({"steps": steps, "step_configs": configs, "init_params": {"deep": _nest_arrays(60)}}, "deep")

    def run_expanding_templates(self) -> None:
        body = {
            "title": "{{word}} " * 20,
            "description": "{{word}}" * 12_000,
            "assigneeAgentId": self._orders.agent_id,
            "concurrencyPolicy": "always_enqueue",
            "variables": [{"name": "word", "type": "text", "defaultValue": "w" * 62}],
        }
        routine = self._create_routine(body, "expanding")
        for _ in range(30):
            run = {"variables": {"word": self._random_text(62)}}
            self.request("expanding", "POST", f"/api/routines/{routine}/run", run, key="agent")

    def make_many_schedules(self) -> None:
        body = {"title": "busy", "assigneeAgentId": self._orders.agent_id, "concurrencyPolicy": "always_enqueue"}
        for _ in range(10):
            routine = self._create_routine({**body, "description": self._random_text(10_000)}, "many")
            schedule = {"kind": "schedule", "cronExpression": "* * * * *", "timezone": "UTC"}
            answer = self.request("many", "POST", f"/api/routines/{routine}/triggers", schedule)
            self._triggers.append(answer.json()["trigger"]["id"])

    def backfill(self) -> None:
        now = datetime.now(UTC)
        trigger = self._chance.choice(self._triggers)
        period = {"from": (now - timedelta(minutes=4_900)).isoformat(), "to": now.isoformat(), "overlap": "policy"}
        self.request("backfill", "POST", f"/api/routine-triggers/{trigger}/backfills", period)

    def call_webhooks(self) -> None:
        if not self._hooks:
            routine = self._create_routine({"title": "hook", "assigneeAgentId": self._orders.agent_id}, "webhook")
            trigger = {"kind": "webhook", "signingMode": "none"}
            answer = self.request("webhook", "POST", f"/api/routines/{routine}/triggers", trigger)
            self._hooks.append(answer.json()["trigger"]["publicId"])
        for _ in range(5):
            path = f"/api/routine-triggers/public/{self._hooks[0]}/fire"
            self._send_as_stranger("webhook", "POST", path, content=json.dumps({"text": self._random_text(900_000)}))

    def call_unknown_webhooks(self) -> None:
        for _ in range(20):
            self._send_as_stranger(
                "unknown ids", "POST", f"/api/routine-triggers/public/{self._random_text(20_000)}/fire", content="{}"
            )

    def race(self) -> None:
        if not self._routines:
            body = {"title": "race", "assigneeAgentId": self._orders.agent_id}
            self._routines.append(self._create_routine(body, "race"))
        for _ in range(20):
            self.request("race", "POST", f"/api/routines/{self._routines[0]}/run", {"idempotencyKey": str(uuid4())})

    def read_much(self) -> None:
        company = f"/api/companies/{self._orders.company_id}"
        key = self._chance.choice(["owner", "viewer", "agent"])
        for path in (f"{company}/issues?limit=1000", f"{company}/routines", "/api/agents/me/inbox-lite"):
            self.request("reads", "GET", path, key=key)
        for routine in self._routines[:1]:
            self.request("reads", "GET", f"/api/routines/{routine}/runs?limit=200", key=key)

    def search_for_ever(self) -> None:
        routine = self._create_routine({"title": "never", "assigneeAgentId": self._orders.agent_id}, "never")
        self.request("never", "POST", f"/api/routines/{routine}/triggers", NEVER)
        for trigger in self._triggers[:1]:
            query = "from=1970-01-01T00:00:00Z&to=2100-01-01T00:00:00Z&limit=1000"
            self.request("never", "GET", f"/api/routine-triggers/{trigger}/occurrences?{query}")

    def forge_cursors(self) -> None:
        place = self._chance.choice(
            [b'[1,"x",["9999-99-99",7]]', b"[1]", b'{"a":1}', b'[1,"abc",null]', os.urandom(50)]
        )
        cursor = base64.urlsafe_b64encode(place).decode().rstrip("=")
        for list_ in ("routines", "issues"):
            self.request("cursors", "GET", f"/api/companies/{self._orders.company_id}/{list_}?cursor={cursor}&limit=5")

    def mint_keys(self) -> None:
        self.request("keys", "POST", f"/api/agents/{self._orders.agent_id}/keys", {}, key="member")
        self.request("keys", "POST", "/api/board-api-keys", {"name": "again"}, key="viewer")
        values = {"environment_variables": {f"NAME_{self._chance.random()}": "x", "BASH_ENV": "/dev/null", "A=B": "x"}}
        self.request("keys", "PATCH", f"/api/v1/collections/{self._orders.collection}/environment", values)

    def leave_at_once(self) -> None:
        task = self._tasks[0]
        with contextlib.suppress(httpx.TimeoutException):
            path = f"/api/v1/run-sync/{self._orders.collection}/{task}"
            self.request("gone", "POST", path, {}, key="collection", timeout=0.05)

    def send_large_bodies(self) -> None:
        path = f"/api/companies/{self._orders.company_id}/issues"
        for content in (
            b"%" * 9_000_000,
            b"[" * 2_000_000,
            b'{"title": "' + b"x" * 9_000_000 + b'"}',
            b"[1,] " * 1_500_000,
        ):
            self._send_as_stranger(
                "bodies", "POST", path, content=content, headers={"Content-Type": "application/json"}
            )

    def hang_on_deliveries(self) -> None:
        receiver = {"url": self._orders.url.replace("127.0.0.1", "127.9.9.9"), "events": ["*"]}
        self.request("endpoints", "POST", f"/api/companies/{self._orders.company_id}/webhook-endpoints", receiver)

    def listen_to_everything(self) -> None:
        """Make as many endpoints as it may, each of which is then told of each change of its own."""
        for number in range(25):
            receiver = {"url": self._orders.url.replace("127.0.0.1", f"127.9.9.{number + 10}"), "events": ["*"]}
            self.request("listening", "POST", f"/api/companies/{self._orders.company_id}/webhook-endpoints", receiver)
        for number in range(50):
            self.request(
                "listening", "POST", f"/api/companies/{self._orders.company_id}/goals", {"title": f"g{number}"}
            )

    def leave_many_at_once(self) -> None:
        """Send more requests than there are threads, and wait for no answer."""
        address, path = urlsplit(self._orders.url), f"/api/companies/{self._orders.company_id}/issues"
        body = json.dumps({"title": "left", "description": self._random_text(10_000)})
        head = "\r\n".join(
            [
                f"POST {path} HTTP/1.1",
                f"Host: {address.netloc}",
                f"Authorization: Bearer {self._orders.tokens['owner']}",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
            ]
        )
        with contextlib.ExitStack() as open_ones:
            for _ in range(30):
                connection = socket.create_connection((address.hostname or "", address.port or 0), timeout=2)
                open_ones.enter_context(connection).sendall(f"{head}\r\n\r\n{body}".encode())
            time.sleep(0.02)
        self._answers["left", 0] += 30

    def _call_task(self, workflow: Mapping[str, Any], attack: str) -> None:
        name = f"t{self._chance.randrange(10**9)}"
        collection = self._orders.collection
        self.request(
            attack, "POST", f"/api/v1/tasks/{collection}", {"name": name, "workflow": workflow}, key="collection"
        )
        self._tasks.append(name)
        for _ in range(3):
            self.request(attack, "POST", f"/api/v1/run/{collection}/{name}", {}, key="collection")

    def _create_routine(self, body: Mapping[str, Any], attack: str) -> str:
        answer = self.request(attack, "POST", f"/api/companies/{self._orders.company_id}/routines", body)
        return str(answer.json()["id"])

    def _send_as_stranger(self, attack: str, method: str, path: str, **more: Any) -> None:
        answer = self._http.request(method, path, **more)
        self._answers[attack, answer.status_code] += 1

    def _random_text(self, length: int) -> str:
        return base64.b64encode(self._chance.randbytes(length * 3 // 4 + 3)).decode()[:length].replace("/", "_")


ATTACKS: list[Callable[[Tenant], None]] = [
    attack
    for name, attack in vars(Tenant).items()
    if callable(attack) and not name.startswith("_") and name not in ("attack", "request")
]


def _nest_arrays(depth: int) -> object:
    value: object = "end"
    for _ in range(depth):
        value = [value]
    return value


def stay_silent(url: str, until: float) -> None:
    """Hold connections that say nothing, or one byte now and then; make those again that are closed."""
    address = urlsplit(url)
    open_sockets: list[socket.socket] = []
    while time.monotonic() < until:
        for connection in open_sockets[:]:
            try:
                connection.send(b"G")
            except OSError:
                open_sockets.remove(connection)
                connection.close()
        while len(open_sockets) < SILENT_CONNECTIONS:
            try:
                open_sockets.append(socket.create_connection((address.hostname or "", address.port or 0), timeout=2))
            except OSError:
                break
        time.sleep(1)
    for connection in open_sockets:
        connection.close()


def main() -> None:
    os.nice(5)
    orders = Orders(**json.load(sys.stdin))
    answers: Counter[tuple[str, int]] = Counter()
    until = time.monotonic() + orders.seconds
    tenants = [Tenant(orders, random.Random(f"{orders.seed} {number}"), answers, until) for number in range(THREADS)]
    firsts = itertools.cycle(ATTACKS)  # so that none is left out, however short it takes
    threads = [threading.Thread(target=tenant.attack, args=(next(firsts),)) for tenant in tenants]
    threads.append(threading.Thread(target=stay_silent, args=(orders.url, until)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump([[attack, status, many] for (attack, status), many in sorted(answers.items())], sys.stdout)


if __name__ == "__main__":
    main()
