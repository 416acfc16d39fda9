"""How large the body of a request may be, and for whom a large one is held: whoever has a key, or the company of a webhook."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from application.access import Caller, Principal
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import triggers, webhooks
from domain.errors import NotFound, Unauthenticated
from domain.webhooks.verification import WebhookRequest
from web.apis import ApiName
from web.http import gzip_body, json_body
from web.http.backend import Backend
from web.http.held_bodies import Holder
from web.http.large_bodies import LargeBodies
from web.http.media_types import URL_ENCODED
from web.http.rate_limit import WebhookRateLimiter, network_of
from web.http.requests import bearer_token_of
from web.http.tenants import address_of, company_of


class BodyHead(msgspec.Struct, frozen=True):
    """What the headers of a request say of its body."""

    length: int  # 0 if none is announced
    types: Sequence[str]
    encoding: str  # in lower case
    is_chunked: bool

    def is_small(self, most: int) -> bool:
        """Return whether a body is announced as one that is small in any case, or there is none. Most are."""
        return self.length <= most and not self.encoding and not self.is_chunked


class Bounds(msgspec.Struct, frozen=True):
    """How long a body may be: `unknown` bytes from anybody, `most` bytes if `check` does not refuse the request."""

    most: int
    unknown: int
    check: Callable[[], Holder]  # returns for whom a large body is held
    is_gzip: bool = False  # the body counts as long as it says that it is when unpacked, too


def body_head_of(scope: Any) -> BodyHead:
    """Return what the headers of a request say of its body."""
    length, types, encodings, is_chunked = 0, list[str](), list[str](), False
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value)
        elif name == b"content-type":
            types.append(value.decode("latin-1"))
        elif name == b"content-encoding":
            encodings.append(value.decode("latin-1").lower())
        elif name == b"transfer-encoding":
            is_chunked = True
    return BodyHead(length, types, ", ".join(encodings), is_chunked)


def bounds_of(  # noqa: PLR0913, PLR0917 what the bounds depend on
    scope: Any,
    head: BodyHead,
    webhook: re.Match[str] | None,
    api: ApiName,
    backend: Backend,
    large: LargeBodies,
    rate_limiter: WebhookRateLimiter,
) -> Bounds:
    """Return how long the body of a request may be. `webhook` is the match of its path with the address of webhooks."""
    limits = backend.limits
    if webhook is not None:
        public_id = webhook[1]
        return Bounds(
            most=limits.max_webhook_bytes,
            unknown=min(limits.max_webhook_bytes, json_body.SMALL),
            check=lambda: _receiver_or_refusal(scope, public_id, backend, rate_limiter),
            is_gzip=head.encoding in gzip_body.NAMES,
        )
    # Parsing it takes far longer than sending it.
    slow = bool(head.types) and head.types[-1].lower().startswith(URL_ENCODED)
    takes_large = not slow and large.are_taken(scope["method"], scope["path"])
    most = max(limits.max_body_bytes, limits.max_large_body_bytes) if takes_large else limits.max_body_bytes

    def check() -> Holder:
        caller = Caller(token=bearer_token_of(scope), by_jetty=api == "jetty")
        backend.authorize(caller, _accept_known)
        company_id = company_of(scope, backend)
        return Holder(address_of(scope)) if company_id is None else Holder(str(company_id), is_known=True)

    return Bounds(most=most, unknown=min(most, json_body.SMALL), check=check)


def _accept_known(_work: UnitOfWork, _principal: Principal) -> None:
    """Do nothing: `authorize` has already checked that the key is valid."""


def _find_receiver(work: UnitOfWork, public_id: str, scope: Any) -> Holder:
    """
    Return the holder for calls of a company's webhooks, apart from requests with its keys.

    Raise NotFound, and Unauthenticated for a call whose headers show already that its sender is not known.
    """
    webhooks.check_headers(work, public_id, without_body(scope))
    trigger_id, _ = triggers.at_address(work, public_id)
    return Holder(f"webhooks of {work.company_of(trigger_id)}")


def _receiver_or_refusal(scope: Any, public_id: str, backend: Backend, rate_limiter: WebhookRateLimiter) -> Holder:
    """Return the holder for calls of a webhook. A refusal counts for its sender, as one by the route does."""
    try:
        return backend.executor.query(lambda work: _find_receiver(work, public_id, scope))
    except (NotFound, Unauthenticated):
        rate_limiter.count_refusal(sender_of(scope))
        raise


def without_body(scope: Any) -> WebhookRequest:
    """Return the headers of a call of a webhook whose body is not there, or does not count."""
    headers = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"])
    return WebhookRequest(headers=tuple(headers), body=b"")


def sender_of(scope: Any) -> str:
    """Return the sender of a request by the address of its connection; empty for one without."""
    return network_of(scope["client"][0]) if scope.get("client") else ""
