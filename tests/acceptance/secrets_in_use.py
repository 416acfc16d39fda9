"""A running system whose secrets are used and misused by its API, its command line, with its vault closed and its database gone."""

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
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import psycopg
from click.testing import CliRunner
from psycopg.sql import SQL, Identifier

from routines.cli import main
from routines.local import accounts
from routines.postgres.cluster import LocalPostgres
from tests.acceptance.canaries import Canaries
from tests.acceptance.running_system import wait_for as wait_for_file
from tests.waiting import wait_for

SIGNING_MODES = ("bearer", "hmac_sha256", "github_hmac", "none", "standard_webhooks")
SHOWN = re.compile(rb'"(?:token|webhookSecret|heartbeatSecret|secret|api_key)":"([^"]+)"')
TOKEN = re.compile(rb"pcp_(?:board_)?[0-9A-Za-z]{38}")
ASKS = {"init_params": {"q": "?"}, "steps": ["ask"], "step_configs": {"ask": {"activity": "llm"}}}


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
        self.directories = {name: root / name for name in ("rows", "events", "outputs", "answers")}
        for directory in self.directories.values():
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
        with (self.root / "up.out").open("wb") as output_file:
            self.process = subprocess.Popen(argv, stdout=output_file, stderr=output_file, env=self.env)
        self.url = json.loads(wait_for_file(self.data_dir / "up.json", self.process))["url"]
        self.token = self.canaries.add("first board token", (self.data_dir / "board.token").read_text().strip())
        self.client = httpx.Client(base_url=f"{self.url}/api", timeout=30, trust_env=False)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        output = (self.root / "up.out").read_bytes()
        self.keep("outputs", "up", take_out_secret(output, self.token.encode()))
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
        directory = self.directories[place]
        (directory / f"{len(list(directory.iterdir())):04}-{re.sub(r'[^a-zA-Z0-9]+', '-', name)[:60]}").write_bytes(
            content
        )

    def send(self, label, method, path, *, shows=0, echoes="", token="", **kwargs):
        """
        The answer of a request, kept for the search without the `shows` new secrets that it shows once.

        `echoes` is what a client sent in this very request, and is told to be wrong (contract 1.1).
        """
        headers = httpx.Headers(kwargs.pop("headers", {}))
        if token is not None and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {token or self.token}"
        answer = self.client.request(method, path, headers=headers, **kwargs)
        body = answer.content
        new_secrets = SHOWN.findall(body) if shows else []
        assert shows == len(new_secrets), (label, answer.text)
        for number, secret in enumerate(new_secrets):
            self.canaries.add(f"{label} {number}", secret.decode())
            body = take_out_secret(body, secret)
        if echoes:
            assert echoes.encode() in body, label
            body = body.replace(echoes.encode(), b"(echo)")
        head = b"\r\n".join(b": ".join(header) for header in answer.headers.raw)
        self.keep("answers", f"{label} {answer.status_code}", head + b"\r\n\r\n" + body)
        return answer

    def create(self, label, path, body, **kwargs):
        answer = self.send(label, "POST", path, json=body, **kwargs)
        assert answer.is_success, answer.text
        return answer.json()

    def run(self, *arguments, shows=0, env=()):
        """The exit status of a command, whose output is kept for the search without the tokens that it shows once."""
        done = CliRunner().invoke(main, arguments, env=self.env | dict(env))
        failure_text = "".join(traceback.format_exception(*done.exc_info)) if done.exc_info else ""
        output = done.stdout_bytes
        new_secrets = TOKEN.findall(output)
        assert shows == len(new_secrets), output
        for number, token in enumerate(new_secrets):
            self.canaries.add(f"{' '.join(arguments)} {number}", token.decode())
            output = take_out_secret(output, token)
        place = "events" if arguments == ("log",) else "outputs"
        self.keep(place, " ".join(arguments), output + done.stderr_bytes + failure_text.encode())
        return done.exit_code


def take_out_secret(output, secret):
    """Shown exactly once, and taken out."""
    assert 1 == output.count(secret), secret
    return output.replace(secret, b"(shown once)")


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


def fire(story, label, url, mode, secret, **kwargs):
    """The status of a signed call of a webhook's address."""
    body = kwargs.pop("body", b'{"n":1}')
    headers = {"Content-Type": "application/json", **signature_headers(mode, secret, body), **kwargs.pop("headers", {})}
    path = url.partition("/api")[2]
    return story.send(label, "POST", path, token=None, headers=headers, content=body, **kwargs).status_code


def use_keys(story, company, agent):
    """Keys of all kinds, shown once; then used, listed, revoked and used again."""
    for label, path, body in (
        ("board key", "/board-api-keys", {"name": "a"}),
        ("agent key", f"/agents/{agent}/keys", {}),
        ("member", f"/companies/{company}/members", {"name": "Robin", "email": "robin@example.org"}),
    ):
        answer = story.create(label, path, body, shows=1)
        assert 200 == story.send(f"use {label}", "GET", f"/companies/{company}", token=answer["token"]).status_code
        story.send(f"a wrong use of {label}", "GET", f"/companies/{company}", token=answer["token"][:-1])
        if label != "member":
            story.send(f"revoke {label}", "DELETE", f"{path}/{answer['id']}")
            assert 401 == story.send(f"use revoked {label}", "GET", "/companies", token=answer["token"]).status_code
        story.send(f"list {label}", "GET", path)
    for label, path in (("me", "/cli-auth/me"), ("agent me", "/agents/me")):
        story.send(label, "GET", path)


def use_webhooks(story, routine):
    """Every signing mode: called rightly and wrongly, rotated with and without overlap. Returns triggers by mode."""
    webhooks = {}
    for mode in SIGNING_MODES:
        body, shows = {"kind": "webhook", "signingMode": mode, "label": mode}, int(mode != "none")
        first = story.create(f"create {mode}", f"/routines/{routine}/triggers", body, shows=shows)
        url, secret = first["secretMaterial"]["webhookUrl"], first["secretMaterial"]["webhookSecret"]
        trigger = f"/routine-triggers/{first['trigger']['id']}"
        assert 202 == fire(story, f"fire {mode}", url, mode, secret)
        if secret is not None:
            misuse_webhook(story, url, mode, secret)
        new_material = story.create(f"rotate {mode}", f"{trigger}/rotate-secret", {}, shows=shows)["secretMaterial"]
        fire(story, f"fire {mode} with the old secret", url, mode, secret)
        overlap = {"overlapSec": 60}
        overlap_material = story.create(f"overlap {mode}", f"{trigger}/rotate-secret", overlap, shows=shows)[
            "secretMaterial"
        ]
        sample = {"headers": {"Authorization": f"Bearer {secret}"}, "body": "{}"}
        assert 200 == story.send(f"sample {mode}", "POST", f"{trigger}/test", json=sample).status_code
        for one in (new_material, overlap_material):
            assert 202 == fire(story, f"fire {mode} in the overlap", url, mode, one["webhookSecret"])
        webhooks[mode] = trigger, url, overlap_material["webhookSecret"]
    return webhooks


def use_tasks(story, receiver):
    """Secrets of routines, calls and collections: kept, masked, replaced, given to the worker alone, called back."""
    plant, path = story.canaries.plant, "/v1/routines/my-org/ask"
    story.create("collection", "/v1/collections/", {"name": "my-org"})
    key = story.create("API key", "/v1/api-keys/", {"name": "ci", "collection_name": "my-org"}, shows=1)["api_key"]
    variables = {"environment_variables": {"TOKEN": plant("environment variable")}}
    assert 200 == story.send("environment", "PATCH", "/v1/collections/my-org/environment", json=variables).status_code
    story.create("task", "/v1/tasks/my-org", {"name": "ask", "workflow": ASKS}, token=key)
    draft = {
        "name": "hourly",
        "cadence": {"type": "hourly", "minute_utc": 5},
        "secret_params": {"old": plant("replaced secret param")},
        "webhook_url": receiver.url,
        "webhook_secret": plant("replaced webhook secret"),
    }
    answer = story.create("routine of a task", path, draft, token=key)
    assert ({"old": "***"}, "***") == (answer["secret_params"], answer["webhook_secret"])
    for label, change in {
        "secrets of a wrong type": {"secret_params": plant("secret params that are text")},
        "a secret that is too long": {"webhook_secret": plant("too long") * 1_000},
    }.items():
        assert 400 == story.send(label, "PATCH", f"{path}/hourly", json=change, token=key).status_code
    new = {"secret_params": {"new": plant("secret param")}, "webhook_secret": plant("webhook secret")}
    assert 200 == story.send("replace secrets", "PATCH", f"{path}/hourly", json=new, token=key).status_code
    story.create("run now", f"{path}/hourly/run-now", {}, token=key)
    by_hand = {"secret_params": {"k": plant("secret of a call")}, "webhook_url": receiver.url}
    story.create("call", "/v1/run/my-org/ask", by_hand, token=key)
    for number in range(2):
        claim(story, key, number)
    wait_for(lambda: len(receiver.good) >= 2)
    for label in ("", "/hourly", "/hourly/runs"):
        story.send(f"read routine{label}", "GET", f"{path}{label}", token=key)
    for label in ("tasks/my-org", "collections/my-org/environment", "api-keys/collection/my-org"):
        assert 200 == story.send(label, "GET", f"/v1/{label}").status_code
    for one in story.send("trajectories", "GET", "/v1/db/trajectories/my-org/ask", token=key).json()["trajectories"]:
        id_ = one["trajectory_id"]
        story.send("trajectory", "GET", f"/v1/db/trajectory/my-org/ask/{id_}", token=key)
        story.send("logs", "GET", f"/v1/workflows-logs/{one['workflow_id']}", token=key)
    story.send("delete the routine", "DELETE", f"{path}/hourly", token=key)


def claim(story, key, number):
    """A worker is told the secrets; nobody else is, and what it says of them is its own affair."""
    answer = story.client.post("/v1/workers/my-org/claim", json={}, headers={"Authorization": f"Bearer {key}"})
    secrets = {**answer.json()["secret_params"], **answer.json()["environment_variables"]}
    body = answer.content
    for value in secrets.values():
        assert value.encode() in story.canaries.known.values()
        body = take_out_secret(body, value.encode())
    story.keep("answers", f"claim {number}", body)
    claim_path = f"/v1/workers/my-org/{answer.json()['trajectory']['trajectory_id']}/{answer.json()['claim_id']}"
    story.create(f"finish {number}", f"{claim_path}/finish", {"status": "completed"}, token=key)


def use_deliveries(story, company, receiver):
    """What signs heartbeats and webhooks: shown once, rotated with and without overlap, used."""
    beat = {"name": "Beats", "heartbeatUrl": receiver.url}
    agent = story.create("beating agent", f"/companies/{company}/agents", beat, shows=1)["id"]
    story.create("rotate heartbeat", f"/agents/{agent}/rotate-heartbeat-secret", {"overlapSec": 60}, shows=1)
    path = f"/companies/{company}/webhook-endpoints"
    endpoint = story.create("endpoint", path, {"url": receiver.url, "events": ["issue.*"], "ordered": True}, shows=1)[
        "id"
    ]
    story.create("rotate endpoint", f"{path}/{endpoint}/rotate-secret", {}, shows=1)
    story.create("overlap endpoint", f"{path}/{endpoint}/rotate-secret", {"overlapSec": 60}, shows=1)
    before = len(receiver.good)
    story.create("test endpoint", f"{path}/{endpoint}/test", {})
    story.create("issue", f"/companies/{company}/issues", {"title": "Beat", "assigneeAgentId": agent})
    wait_for(lambda: len(receiver.good) >= before + 3)
    for where in (path, f"{path}/{endpoint}", f"{path}/{endpoint}/deliveries", f"/companies/{company}/deliveries"):
        assert 200 == story.send(f"read {where}", "GET", where).status_code


def misuse_webhook(story, url, mode, secret):
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
    for label, (method, where, more) in calls.items():
        answer = story.send(f"{mode}: {label}", method, where, token=None, **more)
        assert 400 <= answer.status_code < 500, (label, answer.status_code)
    if mode not in ("none", "bearer"):
        assert 401 == fire(story, f"{mode}: secret as bearer", url, "bearer", secret)
        broken = {name: value[:-1] for name, value in signature_headers(mode, secret, b"{}").items()}
        assert 401 == fire(story, f"{mode}: a signature cut short", url, "none", secret, body=b"{}", headers=broken)
    if mode == "bearer":
        assert 401 == fire(
            story, "bearer: in lower case", url, "none", secret, headers={"Authorization": f"bearer {secret}"}
        )
    cut = f'{{"secret":"{secret}"'.encode()
    assert 400 == fire(story, f"{mode}: broken JSON of a known sender", url, mode, secret, body=cut)


def change_modes(story, webhooks):
    """A secret that was kept as a digest must be minted anew when it is to sign, and is dropped when it is to show."""
    trigger, _, _ = webhooks["bearer"]
    for mode, shows in (("hmac_sha256", 1), ("github_hmac", 0), ("bearer", 0), ("none", 0), ("standard_webhooks", 1)):
        answer = story.send(f"mode {mode}", "PATCH", trigger, json={"signingMode": mode}, shows=shows)
        assert 200 == answer.status_code


def restore(story, routine, webhooks):
    """A webhook that was deleted gets a new secret when a revision brings it back, if its mode asks for one."""
    revision = story.send("revisions", "GET", f"/routines/{routine}/revisions").json()[0]["id"]
    for mode in ("hmac_sha256", "none"):
        assert 204 == story.send(f"delete {mode}", "DELETE", webhooks[mode][0]).status_code
    path = f"/routines/{routine}/revisions/{revision}/restore"
    materials = story.create("restore", path, {}, shows=1)["secretMaterials"]
    assert {404} == {
        fire(story, "the old address", webhooks[mode][1], mode, webhooks[mode][2]) for mode in ("hmac_sha256", "none")
    }
    trigger_path = f"/routine-triggers/{materials[0]['triggerId']}"
    mode = next(mode for mode, (trigger, _, _) in webhooks.items() if trigger == trigger_path)
    assert 202 == fire(story, "the new address", materials[0]["webhookUrl"], mode, materials[0]["webhookSecret"])


def say_wrong_things(story, company):
    """Made-up secrets of callers whom nobody knows."""
    plant = story.canaries.plant
    story.send("made-up token", "GET", "/companies", token="pcp_board_" + plant("made-up token"))
    story.send("made-up agent", "GET", "/companies", token="pcp_" + plant("made-up agent token"))
    story.send("two tokens", "GET", "/companies", token=f"{story.token}, Bearer {plant('second token')}")
    story.send("a key in the query", "GET", "/companies", params={"api_key": plant("key in the query")})
    story.send("unknown route", "GET", f"/{plant('path')}", headers={"X-Api-Key": plant("X-Api-Key")})
    for label, body in {
        "unknown field": json.dumps({"name": "Acme", "token": plant("in an unknown field")}).encode(),
        "too deep": b'{"a":' * 65 + json.dumps(plant("too deep")).encode() + b"}" * 65,
        "not UTF-8": b'{"name":"%s\xff"}' % plant("not UTF-8").encode(),
        "half an escape": b'{"name":"%s\\ud8"}' % plant("half an escape").encode(),
        "too large": b'{"name":"%s%s"}' % (plant("too large").encode(), b"x" * 10_500_000),
    }.items():
        answer = story.send(label, "POST", "/companies", content=body, headers={"Content-Type": "application/json"})
        assert 400 <= answer.status_code < 500
    echo = plant("told to be wrong")
    story.send("enum", "POST", f"/companies/{company}/routines", json={"title": "x", "status": echo}, echoes=echo)
    address = ("127.0.0.1", int(story.url.rsplit(":", 1)[1]))
    for label, request in {
        "no HTTP": f"GET /{plant('no HTTP')}\xff nonsense\r\n\r\n".encode("latin-1"),
        "half a request": f"POST /api/companies HTTP/1.1\r\nAuthorization: Bearer {plant('half a request')}".encode(),
        "too many headers": b"GET /api/health HTTP/1.1\r\n"
        + b"".join(f"X-{n}: {plant(f'header {n}')}\r\n".encode() for n in range(3))
        + b"X-Y: z\r\n" * 100
        + b"\r\n",
    }.items():
        with socket.create_connection(address, timeout=20) as raw:
            raw.sendall(request)
            if label != "half a request":
                story.keep("answers", label, raw.recv(65_536))


def close_the_vault(story, routine, webhooks):
    """The key file is open to others, then holds something else than keys: whoever needs a key is told to come back."""
    content = story.key_file.read_text()
    trigger, url, secret = webhooks["github_hmac"]
    body = {"kind": "webhook", "signingMode": "hmac_sha256"}
    for mode, text in ((0o644, content), (0o600, f"k1 {story.canaries.plant('no key')}\n"), (0o600, "")):
        story.key_file.chmod(0o600)
        story.key_file.write_text(text)
        story.key_file.chmod(mode)
        create = story.send("create without a vault", "POST", f"/routines/{routine}/triggers", json=body)
        rotate = story.send("rotate without a vault", "POST", f"{trigger}/rotate-secret", json={})
        fire(story, "fire without a vault", url, "github_hmac", secret)
        assert [503, 503] == [create.status_code, rotate.status_code]
    assert 0 != story.run("secrets", "status")
    story.key_file.write_text(content)
    story.key_file.chmod(0o600)


def lose_the_database(story, company, webhooks):
    """Whoever calls meanwhile is told to come back; afterwards all works again."""
    story.place.stop()
    calls = [
        lambda mode=mode: fire(story, f"fire {mode} without a database", webhooks[mode][1], mode, webhooks[mode][2])
        for mode in SIGNING_MODES
    ]
    with ThreadPoolExecutor(len(calls)) as pool:
        answers = [pool.submit(call) for call in calls]
        assert 503 == story.send("read", "GET", f"/companies/{company}").status_code
        assert 0 != story.run("board-key")
        story.place.start()
        assert {answer.result() for answer in answers} <= {202, 503}
    wait_for(lambda: story.send("again", "GET", f"/companies/{company}").is_success, tick=lambda: time.sleep(0.1))
    assert 202 == fire(story, "fire again", webhooks["github_hmac"][1], "github_hmac", webhooks["github_hmac"][2])


def use_the_command_line(story):
    """Every command that is near a secret."""
    wrong = f"postgresql://someone:{story.canaries.plant('password of a wrong address')}@127.0.0.1:1/x"
    assert 0 != story.run("init", env={"ROUTINES_DATABASE_URL": wrong})
    assert 0 == story.run("board-key", "--name", "a further one", shows=1)
    assert 0 == story.run("secrets", "rotate-key")
    story.canaries.add("new vault key", story.key_file.read_text().split()[1])
    assert 0 == story.run("secrets", "status", "--json")
    assert 0 == story.run("secrets", "retire-key", "k1")
    assert 0 == story.run("projections", "status")
    worker = (
        "worker",
        "--url",
        story.url,
        "--state-dir",
        str(story.root / "claims"),
        "--once",
        "--",
        "true",
    )
    token = "pcp_" + story.canaries.plant("token of a worker")
    assert 0 != story.run(*worker, env={"ROUTINES_AGENT_TOKEN": token})


def read_everything(story, company, routine):
    """What can be seen afterwards, by whoever may see it."""
    paths = ["/health", "/openapi.json", "/docs", "/companies", "/board-api-keys", "/cli-auth/me"]
    paths += [
        f"/companies/{company}/{kind}" for kind in ("agents", "members", "routines", "issues", "projects", "goals")
    ]
    paths += [f"/routines/{routine}{more}" for more in ("", "/revisions", "/runs?limit=200")]
    for path in paths:
        assert 200 == story.send(f"read {path}", "GET", path).status_code


def dump(story):
    """Every row of every table as text, with the bytes of what is stored as bytes; and what Postgres is doing now."""
    tables = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
    with psycopg.connect(story.env["ROUTINES_DATABASE_URL"], autocommit=True) as conn:
        conn.execute("CHECKPOINT")
        rows = 0
        for schema, table in [*conn.execute(tables), ("pg_catalog", "pg_stat_activity")]:
            content = b""
            for row in conn.execute(SQL("SELECT * FROM {}").format(Identifier(schema, table))):
                content += b"\t".join(one if isinstance(one, bytes) else str(one).encode() for one in row) + b"\n"
                rows += schema in ("log", "vault", "read_models")
            story.keep("rows", f"{schema} {table}", content)
    assert rows > 200
