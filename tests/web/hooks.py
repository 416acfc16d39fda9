"""Webhooks as their senders know them: an address, a secret, and how to sign with it (contract 6)."""

import hashlib
import hmac
import http.client
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import msgspec

from application.request_bodies.triggers import WebhookDraft
from application.use_cases import triggers
from tests.api import Api
from web.http.validation import parse

Headers = Mapping[str, str] | Sequence[tuple[str, str]]

JSON = {"Content-Type": "application/json"}
MODES = ["bearer", "hmac_sha256", "github_hmac", "none", "standard_webhooks"]
SIGNED = [mode for mode in MODES if mode != "none"]
NOT_ACTIVE = (409, "Routine trigger is not active")
NOT_FOUND = (404, "Routine trigger not found")
UNAUTHORIZED = (401, "Unauthorized")
FORWARDED = ("X-Forwarded-For", "X-Real-IP", "Forwarded")
CLIENT = httpx.Client(timeout=20)


class Hook(msgspec.Struct, frozen=True):
    """A webhook trigger and its secret; `api_url` is the API that its sender calls."""

    api_url: str
    trigger: str
    public_id: str
    secret: str
    mode: str

    @property
    def url(self) -> str:
        return f"{self.api_url}/api/routine-triggers/public/{self.public_id}/fire"

    def send(self, body: bytes | Any = b"", headers: Headers = (), *, client: httpx.Client = CLIENT) -> httpx.Response:
        """The body as it is, with these headers and no others of ours."""
        return client.post(self.url, content=body, headers=headers if isinstance(headers, Mapping) else list(headers))

    def send_raw(self, body: bytes, headers: Sequence[tuple[str, str]]) -> tuple[int, bytes]:
        """Status and content of the answer; the values of headers are latin-1, blanks at their ends and all."""
        at = urlsplit(self.url)
        connection = http.client.HTTPConnection(at.hostname or "", at.port)
        try:
            connection.putrequest("POST", at.path)
            for name, value in [*headers, ("Content-Length", str(len(body)))]:
                connection.putheader(name, value.encode("latin-1"))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def call(self, body: bytes = b"", headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Genuine: signed now."""
        return self.send(body, {**(headers or {}), **self.signed(body)})

    def fire(self, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Any:
        """The run of a genuine call that must succeed."""
        answer = self.call(body, headers)
        assert 202 == answer.status_code, answer.text
        return answer.json()

    def signed(self, body: bytes = b"", *, at: float | None = None, message_id: str | None = None) -> dict[str, str]:
        """The headers of a genuine call; `at` in seconds, now if not given: no two are the same."""
        sent = f"{time.time() if at is None else at:.6f}"
        match self.mode:
            case "bearer":
                return {"Authorization": f"Bearer {self.secret}"}
            case "hmac_sha256":
                signature = hex_hmac(self.secret, f"{sent}.".encode() + body)
                return {"X-Paperclip-Timestamp": sent, "X-Paperclip-Signature": f"sha256={signature}"}
            case "github_hmac":
                return {"X-Hub-Signature-256": f"sha256={hex_hmac(self.secret, body)}"}
            case "standard_webhooks":
                seconds, id_ = sent.partition(".")[0], message_id or f"msg_{uuid4().hex}"
                text = f"{id_}.{seconds}.".encode() + body
                key = b64decode(self.secret.removeprefix("whsec_"))
                signature = b64encode(hmac.digest(key, text, "sha256")).decode()
                return {"webhook-id": id_, "webhook-timestamp": seconds, "webhook-signature": f"v1,{signature}"}
            case _:
                return {}

    def at(self, api_url: str) -> "Hook":
        """The same webhook, called at another process."""
        return msgspec.structs.replace(self, api_url=api_url)

    def knowing(self, secret: str) -> "Hook":
        return msgspec.structs.replace(self, secret=secret)

    def signing(self, mode: str) -> "Hook":
        return msgspec.structs.replace(self, mode=mode)


def hook(api: Api, routine: str, mode: str = "bearer", **fields: Any) -> Hook:
    """A new webhook trigger, made by the use case, for the same caller as over HTTP."""
    draft = parse(WebhookDraft, {"signingMode": mode, **fields})
    new = api.ask(triggers.create, UUID(routine), draft).new_secret
    return Hook(api_url=api.url, trigger=str(new.trigger_id), public_id=new.public_id, secret=new.secret, mode=mode)


def known_hook(api: Api, trigger: Any, secret: str) -> Hook:
    """A webhook by its trigger as shown, for somebody who was told the secret."""
    return Hook(
        api_url=api.url,
        trigger=trigger["id"],
        public_id=trigger["publicId"],
        secret=secret,
        mode=trigger["signingMode"],
    )


def hex_hmac(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def refusal_of(answer: httpx.Response) -> tuple[int, str]:
    """The status and the error with which a call was refused."""
    return answer.status_code, answer.json()["error"]


def runs_of(api: Api, routine: str) -> list[Any]:
    """The runs of a routine, newest first."""
    runs: list[Any] = api.get(f"/routines/{routine}/runs?limit=200")
    return runs


def sending_from(address: str) -> httpx.Client:
    """A client that calls from one of the addresses of this machine."""
    return httpx.Client(transport=httpx.HTTPTransport(local_address=address))
