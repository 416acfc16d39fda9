"""
Secrets are planted and minted wherever the product takes or makes one; then each is searched for in all it left behind.

One system runs, at its most talkative, and is used and misused as far as secrets go: by its API, its command line,
with its vault closed and its database gone. Every secret may be seen where it is shown once, and nowhere else. What
is searched: the rows of every table, the files of the database (the write-ahead log with them), what `routines log`
says, every log and every output, the command lines of the processes, and every answer that was ever given.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from pprint import pformat
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from click.testing import CliRunner
from psycopg.sql import SQL, Identifier
from rich.pretty import pretty_repr

from application.access import Caller
from application.request_bodies.jetty import CadenceConfig, EnvironmentChange, RoutineChange, RoutineCreate, RunCreate
from application.secrets.key_ring import KeyRing
from application.secrets.vault import Kept, Vault
from application.use_cases import delivery_attempts, endpoints, triggers
from application.use_cases.board import agents, keys
from application.use_cases.jetty import trajectories
from domain.webhooks.secret import Secret
from domain.webhooks.verification import WebhookRequest
from projections.jetty.responses import NewApiKey
from routines import bootstrap
from routines.cli import main
from routines.local import accounts
from routines.postgres.cluster import LocalPostgres
from routines.settings import BadSetting, Settings, from_env
from tests.acceptance.running_system import wait_for as wait_for_file
from tests.waiting import exists, wait_for
from verification.faults.receiver import Receiver

SIGNING_MODES = ("bearer", "hmac_sha256", "github_hmac", "none", "standard_webhooks")
SHOWN = re.compile(rb'"(?:token|webhookSecret|heartbeatSecret|secret|api_key)":"([^"]+)"')
TOKEN = re.compile(rb"pcp_(?:board_)?[0-9A-Za-z]{38}")
ASKS = {"init_params": {"q": "?"}, "steps": ["ask"], "step_configs": {"ask": {"activity": "llm"}}}
PLACES = ("rows", "files", "events", "logs", "outputs", "answers")


class Canaries:
    """Secrets by name, and every form in which one might show."""

    def __init__(self):
        self.known = {}

    def plant(self, name):
        """A new secret that could be anybody's."""
        return self.add(name, secrets.token_urlsafe(24))

    def add(self, name, text):
        self.known[name] = text.encode()
        return text

    def needles(self):
        return {needle: name for name, secret in self.known.items() for needle in needles(secret)}


def needles(secret):
    """
    Half a secret in every form, for either half: whoever shows the whole shows that.

    The bytes that a text stands for are searched for, too. What `grep` cannot take as a pattern is left to the other
    forms.
    """
    meanings = {secret, *decoded(secret)}
    halves = {half for one in meanings for half in (one[: len(one) // 2], one[len(one) // 2 :])}
    return {
        form for half in halves for form in forms(half) if len(form) >= 10 and b"\n" not in form and b"\0" not in form
    }


def decoded(secret):
    text = secret.decode()
    if re.fullmatch(r"(?:[0-9a-f]{2}){16,}", text):
        yield bytes.fromhex(text)
    if re.fullmatch(r"whsec_[A-Za-z0-9+/]+=*", text):
        yield b64decode(text.removeprefix("whsec_"))


def forms(half):
    yield half
    yield half.hex().encode()
    yield half.hex().upper().encode()
    for before in range(3):  # base64 of a text it stands in, at any place
        core = base64.b64encode(b"\0" * before + half)[(0, 2, 3)[before] : (before + len(half)) * 8 // 6]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))
    text = half.decode("latin-1")
    yield from (one.encode() for one in (quote(half, safe=""), quote_plus(half), json.dumps(text)[1:-1]))
    yield json.dumps(text)[1:-1].replace("/", r"\/").encode()
    yield half[::-1]


def find_canaries(canaries, directory):
    """Which secrets are in the files of a directory, as (name, file)."""
    by_needle = canaries.needles()
    patterns = directory.parent / f"{uuid4().hex}.needles"
    patterns.write_bytes(b"\n".join(by_needle) + b"\n")
    argv = ["grep", "-r", "-a", "-o", "-Z", "-F", "-D", "skip", "-f", patterns, directory]
    done = subprocess.run(argv, capture_output=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    patterns.unlink()
    assert done.returncode in (0, 1), done.stderr
    hits = [line.split(b"\0", 1) for line in done.stdout.splitlines()]
    return {(by_needle[needle], Path(path.decode()).name) for path, needle in hits}


class Story:
    """A running system, all that it says, and the secrets that it must not say."""

    def __init__(self, root):
        self.root = root
        self.argvs = []
        self.bait = ""
        self.canaries = Canaries()
        root.chmod(0o711)  # the parts read the key file in it, as an account of their own where we are root
        parts = accounts.of_parts(print)
        self.place = LocalPostgres(root / "place", durable=False, parts=parts, parts_roles=("postgres",))
        self.data_dir = root / "data"
        self.key_file = root / "planted.keys"
        self.said = {name: root / name for name in ("rows", "events", "outputs", "answers")}
        for directory in self.said.values():
            directory.mkdir()
        key = secrets.token_hex(16).encode()  # 32 bytes that a pattern may hold
        self.canaries.add("vault key", b64encode(key).decode())
        self.canaries.add("bytes of the vault key", key.decode())
        self.key_file.write_text(f"k1 {b64encode(key).decode()}\n")
        self.key_file.chmod(0o600)

    def start(self):
        password = self.canaries.add("database password", f"p@ss/{secrets.token_hex(16)}")
        url = self.place.start().replace("@", f":{quote(password, safe='')}@", 1)
        self.env = {
            **os.environ,
            "ROUTINES_DATABASE_URL": url,
            "ROUTINES_KEY_FILE": str(self.key_file),
            "ROUTINES_LOG_LEVEL": "debug",
            "ROUTINES_WEBHOOK_RATE": "0",
        }
        argv = [
            sys.executable,
            "-m",
            "routines",
            "up",
            "--data-dir",
            self.data_dir,
            "--port",
            "0",
            "--allow-private-targets",
        ]
        with (self.root / "up.out").open("wb") as out:
            self.process = subprocess.Popen(argv, stdout=out, stderr=out, env=self.env)
        self.url = json.loads(wait_for_file(self.data_dir / "up.json", self.process))["url"]
        self.token = self.canaries.add("first board token", (self.data_dir / "board.token").read_text().strip())
        self.client = httpx.Client(base_url=f"{self.url}/api", timeout=30, trust_env=False)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        said = (self.root / "up.out").read_bytes()
        self.keep("outputs", "up", without(said, self.token.encode()))
        for number, argv in enumerate(self.argvs):
            self.keep("outputs", f"argv{number}", argv)

    def end(self):
        self.client.close()
        self.process.kill()
        self.process.wait()
        self.place.stop()
        shutil.rmtree((self.root / "place" / "postgres").resolve())

    def keep(self, place, name, content):
        """Under a name of its own, for the search."""
        directory = self.said[place]
        (directory / f"{len(list(directory.iterdir())):04}-{re.sub(r'[^a-zA-Z0-9]+', '-', name)[:60]}").write_bytes(
            content
        )

    def send(self, what, method, path, *, shows=0, echoes="", token="", **kwargs):
        """
        The answer of a request, kept for the search without the `shows` new secrets that it shows once.

        `echoes` is what a client sent in this very request, and is told to be wrong (contract 1.1).
        """
        headers = httpx.Headers(kwargs.pop("headers", {}))
        if token is not None and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {token or self.token}"
        answer = self.client.request(method, path, headers=headers, **kwargs)
        body = answer.content
        minted = SHOWN.findall(body) if shows else []
        assert shows == len(minted), (what, answer.text)
        for number, secret in enumerate(minted):
            self.canaries.add(f"{what} {number}", secret.decode())
            body = without(body, secret)
        if echoes:
            assert echoes.encode() in body, what
            body = body.replace(echoes.encode(), b"(echo)")
        head = b"\r\n".join(b": ".join(header) for header in answer.headers.raw)
        self.keep("answers", f"{what} {answer.status_code}", head + b"\r\n\r\n" + body)
        return answer

    def made(self, what, path, body, **kwargs):
        answer = self.send(what, "POST", path, json=body, **kwargs)
        assert answer.is_success, answer.text
        return answer.json()

    def run(self, *arguments, shows=0, env=()):
        """The exit status of a command, whose output is kept for the search without the tokens that it shows once."""
        done = CliRunner().invoke(main, arguments, env=self.env | dict(env))
        failed = "".join(traceback.format_exception(*done.exc_info)) if done.exc_info else ""
        said = done.stdout_bytes
        minted = TOKEN.findall(said)
        assert shows == len(minted), said
        for number, token in enumerate(minted):
            self.canaries.add(f"{' '.join(arguments)} {number}", token.decode())
            said = without(said, token)
        place = "events" if arguments == ("log",) else "outputs"
        self.keep(place, " ".join(arguments), said + done.stderr_bytes + failed.encode())
        return done.exit_code


def without(said, secret):
    """Shown exactly once, and taken out."""
    assert 1 == said.count(secret), secret
    return said.replace(secret, b"(shown once)")


def signature_headers(mode, secret, body):
    """The headers of a call as this mode wants them."""
    now = str(int(time.time()))
    if mode == "bearer":
        return {"Authorization": f"Bearer {secret}"}
    if mode == "hmac_sha256":
        mac = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
        return {"X-Paperclip-Timestamp": now, "X-Paperclip-Signature": mac}
    if mode == "github_hmac":
        return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
    if mode == "standard_webhooks":
        id_, key = f"msg_{uuid4().hex}", b64decode(secret.removeprefix("whsec_"))
        mac = b64encode(hmac.digest(key, f"{id_}.{now}.".encode() + body, "sha256")).decode()
        return {"webhook-id": id_, "webhook-timestamp": now, "webhook-signature": f"v1,{mac}"}
    return {}


def fire(canary_story, what, url, mode, secret, **kwargs):
    """The status of a signed call of a webhook's address."""
    body = kwargs.pop("body", b'{"n":1}')
    headers = {"Content-Type": "application/json", **signature_headers(mode, secret, body), **kwargs.pop("headers", {})}
    path = url.partition("/api")[2]
    return canary_story.send(what, "POST", path, token=None, headers=headers, content=body, **kwargs).status_code


def use_keys(canary_story, company, agent):
    """Keys of all kinds, shown once; then used, listed, revoked and used again."""
    for what, path, body in (
        ("board key", "/board-api-keys", {"name": "a"}),
        ("agent key", f"/agents/{agent}/keys", {}),
        ("member", f"/companies/{company}/members", {"name": "Robin", "email": "robin@example.org"}),
    ):
        made = canary_story.made(what, path, body, shows=1)
        assert 200 == canary_story.send(f"use {what}", "GET", f"/companies/{company}", token=made["token"]).status_code
        canary_story.send(f"a wrong use of {what}", "GET", f"/companies/{company}", token=made["token"][:-1])
        if what != "member":
            canary_story.send(f"revoke {what}", "DELETE", f"{path}/{made['id']}")
            assert 401 == canary_story.send(f"use revoked {what}", "GET", "/companies", token=made["token"]).status_code
        canary_story.send(f"list {what}", "GET", path)
    for what, path in (("me", "/cli-auth/me"), ("agent me", "/agents/me")):
        canary_story.send(what, "GET", path)


def use_webhooks(canary_story, routine):
    """Every signing mode: called rightly and wrongly, rotated with and without overlap. Returns triggers by mode."""
    made = {}
    for mode in SIGNING_MODES:
        body, shows = {"kind": "webhook", "signingMode": mode, "label": mode}, int(mode != "none")
        first = canary_story.made(f"create {mode}", f"/routines/{routine}/triggers", body, shows=shows)
        url, secret = first["secretMaterial"]["webhookUrl"], first["secretMaterial"]["webhookSecret"]
        trigger = f"/routine-triggers/{first['trigger']['id']}"
        assert 202 == fire(canary_story, f"fire {mode}", url, mode, secret)
        if secret is not None:
            misuse_webhook(canary_story, url, mode, secret)
        rotated = canary_story.made(f"rotate {mode}", f"{trigger}/rotate-secret", {}, shows=shows)["secretMaterial"]
        fire(canary_story, f"fire {mode} with the old secret", url, mode, secret)
        overlap = {"overlapSec": 60}
        both = canary_story.made(f"overlap {mode}", f"{trigger}/rotate-secret", overlap, shows=shows)["secretMaterial"]
        sample = {"headers": {"Authorization": f"Bearer {secret}"}, "body": "{}"}
        assert 200 == canary_story.send(f"sample {mode}", "POST", f"{trigger}/test", json=sample).status_code
        for one in (rotated, both):
            assert 202 == fire(canary_story, f"fire {mode} in the overlap", url, mode, one["webhookSecret"])
        made[mode] = trigger, url, both["webhookSecret"]
    return made


def use_tasks(canary_story, receiver):
    """Secrets of routines, calls and collections: kept, masked, replaced, given to the worker alone, called back."""
    plant, path = canary_story.canaries.plant, "/v1/routines/my-org/ask"
    canary_story.made("collection", "/v1/collections/", {"name": "my-org"})
    key = canary_story.made("API key", "/v1/api-keys/", {"name": "ci", "collection_name": "my-org"}, shows=1)["api_key"]
    variables = {"environment_variables": {"TOKEN": plant("environment variable")}}
    assert (
        200
        == canary_story.send("environment", "PATCH", "/v1/collections/my-org/environment", json=variables).status_code
    )
    canary_story.made("task", "/v1/tasks/my-org", {"name": "ask", "workflow": ASKS}, token=key)
    draft = {
        "name": "hourly",
        "cadence": {"type": "hourly", "minute_utc": 5},
        "secret_params": {"old": plant("replaced secret param")},
        "webhook_url": receiver.url,
        "webhook_secret": plant("replaced webhook secret"),
    }
    made = canary_story.made("routine of a task", path, draft, token=key)
    assert ({"old": "***"}, "***") == (made["secret_params"], made["webhook_secret"])
    for what, change in {
        "secrets of a wrong type": {"secret_params": plant("secret params that are text")},
        "a secret that is too long": {"webhook_secret": plant("too long") * 1_000},
    }.items():
        assert 400 == canary_story.send(what, "PATCH", f"{path}/hourly", json=change, token=key).status_code
    new = {"secret_params": {"new": plant("secret param")}, "webhook_secret": plant("webhook secret")}
    assert 200 == canary_story.send("replace secrets", "PATCH", f"{path}/hourly", json=new, token=key).status_code
    canary_story.made("run now", f"{path}/hourly/run-now", {}, token=key)
    by_hand = {"secret_params": {"k": plant("secret of a call")}, "webhook_url": receiver.url}
    canary_story.made("call", "/v1/run/my-org/ask", by_hand, token=key)
    for number in range(2):
        claim(canary_story, key, number)
    wait_for(lambda: len(receiver.good) >= 2)
    for what in ("", "/hourly", "/hourly/runs"):
        canary_story.send(f"read routine{what}", "GET", f"{path}{what}", token=key)
    for what in ("tasks/my-org", "collections/my-org/environment", "api-keys/collection/my-org"):
        assert 200 == canary_story.send(what, "GET", f"/v1/{what}").status_code
    for one in canary_story.send("trajectories", "GET", "/v1/db/trajectories/my-org/ask", token=key).json()[
        "trajectories"
    ]:
        id_ = one["trajectory_id"]
        canary_story.send("trajectory", "GET", f"/v1/db/trajectory/my-org/ask/{id_}", token=key)
        canary_story.send("logs", "GET", f"/v1/workflows-logs/{one['workflow_id']}", token=key)
    canary_story.send("delete the routine", "DELETE", f"{path}/hourly", token=key)


def claim(canary_story, key, number):
    """A worker is told the secrets; nobody else is, and what it says of them is its own affair."""
    answer = canary_story.client.post("/v1/workers/my-org/claim", json={}, headers={"Authorization": f"Bearer {key}"})
    secrets = {**answer.json()["secret_params"], **answer.json()["environment_variables"]}
    body = answer.content
    for value in secrets.values():
        assert value.encode() in canary_story.canaries.known.values()
        body = without(body, value.encode())
    canary_story.keep("answers", f"claim {number}", body)
    of = f"/v1/workers/my-org/{answer.json()['trajectory']['trajectory_id']}/{answer.json()['claim_id']}"
    canary_story.made(f"finish {number}", f"{of}/finish", {"status": "completed"}, token=key)


def use_deliveries(canary_story, company, receiver):
    """What signs heartbeats and webhooks: shown once, rotated with and without overlap, used."""
    beat = {"name": "Beats", "heartbeatUrl": receiver.url}
    agent = canary_story.made("beating agent", f"/companies/{company}/agents", beat, shows=1)["id"]
    canary_story.made("rotate heartbeat", f"/agents/{agent}/rotate-heartbeat-secret", {"overlapSec": 60}, shows=1)
    path = f"/companies/{company}/webhook-endpoints"
    endpoint = canary_story.made(
        "endpoint", path, {"url": receiver.url, "events": ["issue.*"], "ordered": True}, shows=1
    )["id"]
    canary_story.made("rotate endpoint", f"{path}/{endpoint}/rotate-secret", {}, shows=1)
    canary_story.made("overlap endpoint", f"{path}/{endpoint}/rotate-secret", {"overlapSec": 60}, shows=1)
    before = len(receiver.good)
    canary_story.made("test endpoint", f"{path}/{endpoint}/test", {})
    canary_story.made("issue", f"/companies/{company}/issues", {"title": "Beat", "assigneeAgentId": agent})
    wait_for(lambda: len(receiver.good) >= before + 3)
    for where in (path, f"{path}/{endpoint}", f"{path}/{endpoint}/deliveries", f"/companies/{company}/deliveries"):
        assert 200 == canary_story.send(f"read {where}", "GET", where).status_code


def misuse_webhook(canary_story, url, mode, secret):
    """The right secret in wrong places, in requests that are refused: nothing of them may be kept."""
    path = url.partition("/api")[2]
    public_id = path.split("/")[-2]
    base = {"Content-Type": "application/json"}
    calls: dict[str, tuple[str, str, dict[str, Any]]] = {
        "secret as its address": ("POST", path.replace(public_id, secret), {}),
        "secret in the query of another": ("POST", path.replace(public_id, "0" * 24), {"params": {"secret": secret}}),
        "secret as a token": ("GET", "/companies", {"headers": {"Authorization": f"Bearer {secret}"}}),
        "secret as a password": ("GET", "/companies", {"headers": {"Authorization": f"Basic {secret}"}}),
        "secret as a cookie": ("GET", "/companies", {"headers": {"Cookie": f"session={secret}"}}),
        "secret as a work session": ("GET", "/companies", {"headers": {"X-Paperclip-Run-Id": secret}}),
        "secret in an id": ("GET", f"/routines/{secret}", {}),
        "secret in a query": ("GET", f"/companies/{uuid4()}/routines", {"params": {"projectId": secret}}),
        "secret in broken JSON": ("POST", "/companies", {"content": f'{{"name":"{secret}"', "headers": base}),
        "secret in a wrong type": ("POST", "/companies", {"json": {"name": {secret: secret}}}),
        "secret beside a nul": ("POST", "/companies", {"content": f'{{"name":"{secret}\\u0000"}}', "headers": base}),
        "secret in plain text": ("POST", "/companies", {"content": secret, "headers": {"Content-Type": "text/plain"}}),
        "secret in an unknown method": ("PUT", "/companies", {"json": {"name": secret}}),
    }
    for what, (method, where, more) in calls.items():
        answer = canary_story.send(f"{mode}: {what}", method, where, token=None, **more)
        assert 400 <= answer.status_code < 500, (what, answer.status_code)
    if mode not in ("none", "bearer"):
        assert 401 == fire(canary_story, f"{mode}: secret as bearer", url, "bearer", secret)
        broken = {name: value[:-1] for name, value in signature_headers(mode, secret, b"{}").items()}
        assert 401 == fire(
            canary_story, f"{mode}: a signature cut short", url, "none", secret, body=b"{}", headers=broken
        )
    if mode == "bearer":
        assert 401 == fire(
            canary_story, "bearer: in lower case", url, "none", secret, headers={"Authorization": f"bearer {secret}"}
        )
    cut = f'{{"secret":"{secret}"'.encode()
    assert 400 == fire(canary_story, f"{mode}: broken JSON of a known sender", url, mode, secret, body=cut)


def change_modes(canary_story, webhooks):
    """A secret that was kept as a digest must be minted anew when it is to sign, and is dropped when it is to show."""
    trigger, _, _ = webhooks["bearer"]
    for mode, shows in (("hmac_sha256", 1), ("github_hmac", 0), ("bearer", 0), ("none", 0), ("standard_webhooks", 1)):
        answer = canary_story.send(f"mode {mode}", "PATCH", trigger, json={"signingMode": mode}, shows=shows)
        assert 200 == answer.status_code


def restore(canary_story, routine, webhooks):
    """A webhook that was deleted gets a new secret when a revision brings it back, if its mode asks for one."""
    revision = canary_story.send("revisions", "GET", f"/routines/{routine}/revisions").json()[0]["id"]
    for mode in ("hmac_sha256", "none"):
        assert 204 == canary_story.send(f"delete {mode}", "DELETE", webhooks[mode][0]).status_code
    path = f"/routines/{routine}/revisions/{revision}/restore"
    restored = canary_story.made("restore", path, {}, shows=1)["secretMaterials"]
    assert {404} == {
        fire(canary_story, "the old address", webhooks[mode][1], mode, webhooks[mode][2])
        for mode in ("hmac_sha256", "none")
    }
    of = f"/routine-triggers/{restored[0]['triggerId']}"
    mode = next(mode for mode, (trigger, _, _) in webhooks.items() if trigger == of)
    assert 202 == fire(canary_story, "the new address", restored[0]["webhookUrl"], mode, restored[0]["webhookSecret"])


def say_wrong_things(canary_story, company):
    """Made-up secrets of callers whom nobody knows."""
    plant = canary_story.canaries.plant
    canary_story.send("made-up token", "GET", "/companies", token="pcp_board_" + plant("made-up token"))
    canary_story.send("made-up agent", "GET", "/companies", token="pcp_" + plant("made-up agent token"))
    canary_story.send("two tokens", "GET", "/companies", token=f"{canary_story.token}, Bearer {plant('second token')}")
    canary_story.send("a key in the query", "GET", "/companies", params={"api_key": plant("key in the query")})
    canary_story.send("unknown route", "GET", f"/{plant('path')}", headers={"X-Api-Key": plant("X-Api-Key")})
    for what, body in {
        "unknown field": json.dumps({"name": "Acme", "token": plant("in an unknown field")}).encode(),
        "too deep": b'{"a":' * 65 + json.dumps(plant("too deep")).encode() + b"}" * 65,
        "not UTF-8": b'{"name":"%s\xff"}' % plant("not UTF-8").encode(),
        "half an escape": b'{"name":"%s\\ud8"}' % plant("half an escape").encode(),
        "too large": b'{"name":"%s%s"}' % (plant("too large").encode(), b"x" * 10_500_000),
    }.items():
        answer = canary_story.send(
            what, "POST", "/companies", content=body, headers={"Content-Type": "application/json"}
        )
        assert 400 <= answer.status_code < 500
    echo = plant("told to be wrong")
    canary_story.send(
        "enum", "POST", f"/companies/{company}/routines", json={"title": "x", "status": echo}, echoes=echo
    )
    address = ("127.0.0.1", int(canary_story.url.rsplit(":", 1)[1]))
    for what, request in {
        "no HTTP": f"GET /{plant('no HTTP')}\xff nonsense\r\n\r\n".encode("latin-1"),
        "half a request": f"POST /api/companies HTTP/1.1\r\nAuthorization: Bearer {plant('half a request')}".encode(),
        "too many headers": b"GET /api/health HTTP/1.1\r\n"
        + b"".join(f"X-{n}: {plant(f'header {n}')}\r\n".encode() for n in range(3))
        + b"X-Y: z\r\n" * 100
        + b"\r\n",
    }.items():
        with socket.create_connection(address, timeout=20) as raw:
            raw.sendall(request)
            if what != "half a request":
                canary_story.keep("answers", what, raw.recv(65_536))


def close_the_vault(canary_story, routine, webhooks):
    """The key file is open to others, then holds something else than keys: whoever needs a key is told to come back."""
    content = canary_story.key_file.read_text()
    trigger, url, secret = webhooks["github_hmac"]
    body = {"kind": "webhook", "signingMode": "hmac_sha256"}
    for mode, text in ((0o644, content), (0o600, f"k1 {canary_story.canaries.plant('no key')}\n"), (0o600, "")):
        canary_story.key_file.chmod(0o600)
        canary_story.key_file.write_text(text)
        canary_story.key_file.chmod(mode)
        create = canary_story.send("create without a vault", "POST", f"/routines/{routine}/triggers", json=body)
        rotate = canary_story.send("rotate without a vault", "POST", f"{trigger}/rotate-secret", json={})
        fire(canary_story, "fire without a vault", url, "github_hmac", secret)
        assert [503, 503] == [create.status_code, rotate.status_code]
    assert 0 != canary_story.run("secrets", "status")
    canary_story.key_file.write_text(content)
    canary_story.key_file.chmod(0o600)


def lose_the_database(canary_story, company, webhooks):
    """Whoever calls meanwhile is told to come back; afterwards all works again."""
    canary_story.place.stop()
    calls = [
        lambda mode=mode: fire(
            canary_story, f"fire {mode} without a database", webhooks[mode][1], mode, webhooks[mode][2]
        )
        for mode in SIGNING_MODES
    ]
    with ThreadPoolExecutor(len(calls)) as pool:
        answers = [pool.submit(call) for call in calls]
        assert 503 == canary_story.send("read", "GET", f"/companies/{company}").status_code
        assert 0 != canary_story.run("board-key")
        canary_story.place.start()
        assert {answer.result() for answer in answers} <= {202, 503}
    wait_for(
        lambda: canary_story.send("again", "GET", f"/companies/{company}").is_success, tick=lambda: time.sleep(0.1)
    )
    assert 202 == fire(
        canary_story, "fire again", webhooks["github_hmac"][1], "github_hmac", webhooks["github_hmac"][2]
    )


def use_the_command_line(canary_story):
    """Every command that is near a secret."""
    wrong = f"postgresql://someone:{canary_story.canaries.plant('password of a wrong address')}@127.0.0.1:1/x"
    assert 0 != canary_story.run("init", env={"ROUTINES_DATABASE_URL": wrong})
    assert 0 == canary_story.run("board-key", "--name", "a further one", shows=1)
    assert 0 == canary_story.run("secrets", "rotate-key")
    canary_story.canaries.add("new vault key", canary_story.key_file.read_text().split()[1])
    assert 0 == canary_story.run("secrets", "status", "--json")
    assert 0 == canary_story.run("secrets", "retire-key", "k1")
    assert 0 == canary_story.run("projections", "status")
    worker = (
        "worker",
        "--url",
        canary_story.url,
        "--state-dir",
        str(canary_story.root / "claims"),
        "--once",
        "--",
        "true",
    )
    token = "pcp_" + canary_story.canaries.plant("token of a worker")
    assert 0 != canary_story.run(*worker, env={"ROUTINES_AGENT_TOKEN": token})


def read_everything(canary_story, company, routine):
    """What can be seen afterwards, by whoever may see it."""
    paths = ["/health", "/openapi.json", "/docs", "/companies", "/board-api-keys", "/cli-auth/me"]
    paths += [
        f"/companies/{company}/{kind}" for kind in ("agents", "members", "routines", "issues", "projects", "goals")
    ]
    paths += [f"/routines/{routine}{more}" for more in ("", "/revisions", "/runs?limit=200")]
    for path in paths:
        assert 200 == canary_story.send(f"read {path}", "GET", path).status_code


def dump(canary_story):
    """Every row of every table as text, with the bytes of what is stored as bytes; and what Postgres is doing now."""
    tables = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
    with psycopg.connect(canary_story.env["ROUTINES_DATABASE_URL"], autocommit=True) as conn:
        conn.execute("CHECKPOINT")
        rows = 0
        for schema, table in [*conn.execute(tables), ("pg_catalog", "pg_stat_activity")]:
            content = b""
            for row in conn.execute(SQL("SELECT * FROM {}").format(Identifier(schema, table))):
                content += b"\t".join(one if isinstance(one, bytes) else str(one).encode() for one in row) + b"\n"
                rows += schema in ("log", "vault", "read_models")
            canary_story.keep("rows", f"{schema} {table}", content)
    assert rows > 200


@pytest.fixture(scope="module")
def canary_story(tmp_path_factory):
    told = Story(tmp_path_factory.mktemp("canaries"))
    try:
        told.start()
        company = told.made("company", "/companies", {"name": "Acme"})["id"]
        agent = told.made("agent", f"/companies/{company}/agents", {"name": "Scout"})["id"]
        body = {"title": "Check", "assigneeAgentId": agent, "concurrencyPolicy": "always_enqueue"}
        routine = told.made("routine", f"/companies/{company}/routines", body)["id"]
        use_keys(told, company, agent)
        webhooks = use_webhooks(told, routine)
        with Receiver() as receiver:
            use_tasks(told, receiver)
            use_deliveries(told, company, receiver)
        say_wrong_things(told, company)
        close_the_vault(told, routine, webhooks)
        lose_the_database(told, company, webhooks)
        change_modes(told, webhooks)
        restore(told, routine, webhooks)
        use_the_command_line(told)
        told.bait = told.canaries.plant("a secret that a client put into a comment")
        issue = told.send("issues", "GET", f"/companies/{company}/issues").json()[0]["id"]
        told.made("bait", f"/issues/{issue}/comments", {"body": told.bait})
        read_everything(told, company, routine)
        assert 0 == told.run("log")
        state = json.loads((told.data_dir / "up.json").read_text())
        pids = [state["pid"], *state["processes"].values()]
        told.argvs = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids if exists(pid)]
        dump(told)
        told.stop()
        told.keep("outputs", "postgres", (told.place.root / "logs/postgres.log").read_bytes())
        told.said |= {"files": told.place.home, "logs": told.data_dir / "logs"}
        yield told
    finally:
        told.end()


def of_bait(canary_story):
    """The one secret that is to be found."""
    bait = Canaries()
    bait.add("bait", canary_story.bait)
    return bait


def of_others(canary_story):
    others = Canaries()
    others.known = {
        name: secret for name, secret in canary_story.canaries.known.items() if secret != canary_story.bait.encode()
    }
    return others


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_is_left_anywhere(canary_story, place):
    assert set() == find_canaries(of_others(canary_story), canary_story.said[place])


@pytest.mark.parametrize("place", ["rows", "files", "events", "answers"])
def test_what_a_client_says_in_public_is_found_wherever_that_is_kept(canary_story, place):
    """So the search looks at what there is: a comment is in the rows, the files, the events and an answer."""
    assert {"bait"} == {name for name, _ in find_canaries(of_bait(canary_story), canary_story.said[place])}


def test_there_were_secrets_of_every_kind_and_much_to_search(canary_story):
    minted = [name for name in canary_story.canaries.known if re.search(r"\d$", name)]

    assert len(minted) >= 3 + 3 * (len(SIGNING_MODES) - 1) + 2 + 2 + 1 + 6
    assert len(canary_story.canaries.known) >= 58
    assert len(list(canary_story.said["answers"].iterdir())) > 150
    assert b'"run.fired"' in b"".join(path.read_bytes() for path in canary_story.said["events"].iterdir())
    logs = b"".join(path.read_bytes() for path in canary_story.said["logs"].iterdir())
    assert b"vault_closed" in logs
    assert b"request_refused" in logs


@pytest.mark.parametrize("place", PLACES)
def test_the_search_finds_each_form_of_a_secret_in_each_place(canary_story, place):
    kinds = (
        "vault key",
        "first board token",
        "create hmac_sha256 0",
        "create standard_webhooks 0",
        "database password",
    )
    leaked = {}
    for name in kinds:
        for number, written in enumerate(ways_to_leak(canary_story.canaries.known[name])):
            leak = canary_story.said[place] / f"{number}-{name}.leak"
            leak.write_bytes(written)
            leaked[leak] = name

    hits = find_canaries(of_others(canary_story), canary_story.said[place])

    for leak, name in leaked.items():
        leak.unlink()
        assert (name, leak.name) in hits


def ways_to_leak(secret):
    said = b'{"token": "' + secret + b'"}'
    return [
        *(said, b64encode(said), base64.urlsafe_b64encode(said), secret.hex().encode(), said.hex().upper().encode()),
        *(quote(secret, safe="").encode(), json.dumps(said.decode()).encode(), secret[::-1]),
        *(b"..." + secret[-(len(secret) // 2 + 1) :], secret[: len(secret) // 2] + b"..."),
    ]


CANARY = "canary-4f1d2c3b5a69788796a5b4c3d2e1f001"
KEY = b64encode(b"canary" * 5 + b"xx").decode()


def shapes_with_secrets(tmp_path):
    """Everything of ours that holds a secret in its memory."""
    key_file = tmp_path / "secret.keys"
    key_file.write_text(f"k1 {KEY}\n")
    key_file.chmod(0o600)
    settings = Settings(database_url=f"postgresql://someone:{CANARY}@127.0.0.1/x", key_file=str(key_file))
    now, id_ = datetime(2026, 11, 22, tzinfo=UTC), UUID(int=1)
    minted = triggers.NewSecret(trigger_id=id_, public_id="0" * 24, secret=CANARY)
    ring = KeyRing(key_file)
    ring.current()
    secret = Secret(CANARY.encode())
    with bootstrap.system(Settings(database_url="postgresql://127.0.0.1:1/x")) as system:
        built = bootstrap.System(
            **{name: getattr(system, name) for name in system.__struct_fields__} | {"settings": settings}
        )
        vault = Vault(system.pool, ring)
    return {
        "Settings": settings,
        "System": built,
        "KeyRing": ring,
        "Vault": vault,
        "Secret": secret,
        "Kept": Kept(id=id_, company_id=id_, owner_id=id_, purpose="webhook", secret=secret),
        "Caller": Caller(token=CANARY),
        "WebhookRequest": WebhookRequest(headers=(("authorization", f"Bearer {CANARY}"),), body=b"{}"),
        "key": keys.NewKey(key_id=id_, name="a", token=CANARY, created_at=now),
        "webhook": minted,
        "made": triggers.TriggerResult(trigger_id=id_, routine_id=id_, revision=1, minted=minted),
        "agent": agents.AgentResult(agent_id=id_, heartbeat_secret=CANARY),
        "endpoint": endpoints.EndpointResult(endpoint_id=id_, secret=CANARY),
        "claim": trajectories.Claimed(
            trajectory_id=id_, claim_id=id_, secret_params={"a": CANARY}, environment={"B": CANARY}
        ),
        "address": delivery_attempts.Address(url="https://example.org", secrets=(secret,)),
        "routine of a task": RoutineCreate(
            name="a", cadence=CadenceConfig(type="manual"), secret_params={"a": CANARY}, webhook_secret=CANARY
        ),
        "change of one": RoutineChange(secret_params={"a": CANARY}, webhook_secret=CANARY),
        "call": RunCreate(secret_params={"a": CANARY}, webhook_secret=CANARY),
        "environment": EnvironmentChange(environment_variables={"A": CANARY}),
        "API key": NewApiKey(
            id=id_,
            collection_id=1,
            collection_name="a",
            name="a",
            key_prefix="mlc_",
            created_at="",
            is_active=True,
            api_key=CANARY,
        ),
    }


HOLDERS = (
    *("Settings", "System", "KeyRing", "Vault", "Secret", "Kept", "Caller", "WebhookRequest", "key", "webhook", "made"),
    *("agent", "endpoint", "claim", "address", "routine of a task", "change of one", "call", "environment", "API key"),
)


@pytest.mark.parametrize("kind", HOLDERS)
def test_nothing_that_holds_a_secret_shows_it_when_it_is_printed(tmp_path, kind):
    thing = shapes_with_secrets(tmp_path)[kind]
    ways = (repr, str, "{}".format, pformat, pretty_repr, lambda one: repr([one]), lambda one: pretty_repr({"a": one}))
    held = Canaries()
    held.known = {"secret": CANARY.encode(), "key": KEY.encode(), "bytes of the key": b64decode(KEY)}

    shown = "\n".join(way(thing) for way in ways)

    assert [] == [name for needle, name in held.needles().items() if needle.decode("latin-1") in shown]


def everything_said_by(error):
    """Of an exception and of those that are shown behind it."""
    return repr(error) + "".join(traceback.format_exception(error))


@pytest.mark.parametrize("field", ["threads", "log_level", "public_url", "webhook_rate"])
def test_a_wrong_setting_is_named_and_no_other_is_shown(field):
    address = f"postgresql://someone:{CANARY}@127.0.0.1/x"

    with pytest.raises(BadSetting) as caught:
        from_env({"ROUTINES_DATABASE_URL": address, f"ROUTINES_{field.upper()}": "nonsense?"})

    assert f"ROUTINES_{field.upper()}" in str(caught.value)
    assert CANARY not in everything_said_by(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://someone:{}@127.0.0.1:1/x",
        "postgresql://someone:{}@[half/x",
        "postgresql://someone:some@{}@127.0.0.1:1/x",
        "postgresql://someone:{}@127.0.0.1:port/x",
        "postgresql://someone@127.0.0.1:1/x?password={}&nonsense=1",
        "postgresql://someone@127.0.0.1:1/x?password={}",
        "postgres:/someone:{}@127.0.0.1",
        "host=127.0.0.1 port=1 user=someone password={}",
        "host=127.0.0.1 password={} port",
    ],
)
def test_a_database_that_is_not_found_is_told_without_its_password(address):
    with pytest.raises((BadSetting, psycopg.OperationalError, psycopg.ProgrammingError)) as caught:
        bootstrap.prepare(from_env({"ROUTINES_DATABASE_URL": address.format(CANARY)}))

    assert str(caught.value)
    assert CANARY not in everything_said_by(caught.value)
