"""What strangers name costs no memory, and whoever they hide behind uses up nobody else's calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from litestar import _parsers
from litestar.types import ASGIApp

from domain.bounds.limits import MIB
from tests.api import Api
from tests.running import make_app
from tests.web.bounds.connections import FORM, ID, PUBLIC, TRUSTING, connected_client, read_answer, request_head
from tests.web.hooks import FORWARDED, Hook, hook, sending_from
from tests.web.jetty.conftest import ECHO, Jetty
from tests.web.served import leave_end_of_minute, serve_app, serve_further
from web.http.guard import MAX_PATH_BYTES, MAX_QUERY_BYTES, MAX_QUERY_FIELDS
from web.http.rate_limit import TooManyCalls, WebhookRateLimiter, network_of


@pytest.fixture(scope="module")
def one_call_app(api: Api) -> ASGIApp:
    """An application that takes one call of a webhook from a sender in a minute."""
    return make_app(api.system, webhook_rate=1)


@contextmanager
def serve_one_call_app(api: Api, one_call_app: ASGIApp, **settings: Any) -> Iterator[Api]:
    leave_end_of_minute()
    with serve_app(api, one_call_app, **settings) as here:
        yield here


def call_webhook(sender: Hook, client: httpx.Client) -> int:
    """The status of a genuine call of a webhook by this client."""
    return sender.send(b"{}", sender.signed(b"{}"), client=client).status_code


def test_what_cannot_be_the_address_of_a_webhook_is_refused_without_its_body_and_not_counted(
    api: Api, one_call_app: ASGIApp
):
    with serve_one_call_app(api, one_call_app) as here, sending_from("127.0.0.8") as sender:
        path = f"{here.url}{PUBLIC}"
        for public_id in ("x", "0" * 23, "0" * 25, "G" * 24, "A" * 24, "x" * 1_500):
            for _ in range(3):
                answer = sender.post(f"{path}/{public_id}/fire")
                assert (404, "Routine trigger not found") == (answer.status_code, answer.json()["error"])
        with connected_client(here) as client:
            client.sendall(request_head("POST", f"{PUBLIC}/{'x' * 24}/fire", MIB))
            assert 404 == read_answer(client)[0]


def test_a_stranger_behind_the_same_proxy_uses_up_nobodys_calls(api: Api, routine: str):
    """Unknown and malformed addresses, and false signatures, before and after he is told to wait."""
    *genuine, another = (hook(api, routine, mode) for mode in ("bearer", "hmac_sha256", "none", "github_hmac"))

    with serve_further(api, webhook_rate=2) as here, sending_from("127.0.0.4") as proxy:
        attempts = [
            proxy.post(f"{here.url}{PUBLIC}/{number:024x}/fire", content=b"{}").status_code for number in range(15)
        ]
        attempts += [call_webhook(another.at(here.url).knowing("no"), proxy) for _ in range(15)]
        known = [[call_webhook(one.at(here.url), proxy) for _ in range(3)] for one in genuine]

    assert [404] * 15 + [401] * 5 + [429] * 10 == attempts
    assert [[202, 202, 429]] * 3 == known


def test_a_sender_calls_every_webhook_as_often_as_one(api: Api, routine: str, one_call_app: ASGIApp):
    hooks = [hook(api, routine) for _ in range(12)]

    with serve_one_call_app(api, one_call_app) as here, sending_from("127.0.0.5") as proxy:
        statuses = [[call_webhook(one.at(here.url), proxy) for _ in range(2)] for one in hooks]

    assert [[202, 429]] * 12 == statuses


def test_there_are_so_many_counters_and_the_newest_go_on():
    rate_limiter = WebhookRateLimiter(2, most_counters=100)
    counters: Any = rate_limiter._counters
    storage = counters._limiter.storage

    for number in range(1_000):
        rate_limiter.count_refusal(f"192.0.2.{number}")
    rate_limiter.count_refusal("192.0.2.999")

    assert len(storage.storage) <= 100
    assert len(storage.locks) <= 100
    for _ in range(18):
        rate_limiter.count_refusal("192.0.2.999")
    with pytest.raises(TooManyCalls):
        rate_limiter.count_refusal("192.0.2.999")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::1%" + "x" * 1_000, "fe80::/64"),
        ("", ""),
        ("unknown", ""),
        ("x" * 10_000, ""),
        ("192.0.2.7:80", ""),
    ],
)
def test_a_sender_is_an_address_or_the_network_of_one_customer(address: str, network: str):
    assert network == network_of(address)


def test_the_framework_remembers_no_long_path_query_or_form(api: Api, jetty: Jetty):
    """It keeps the last 1,024 of each."""
    task = jetty.task(workflow=ECHO)
    caches = (_parsers.parse_query_string, _parsers.parse_url_encoded_form_data, _parsers.parse_cookie_string)
    api.request("GET", "/companies")  # an empty query is one that is kept
    before = [cache.cache_info().currsize for cache in caches]
    long = [
        f"/companies/{ID}/routines?q={'x' * MAX_QUERY_BYTES}",
        f"/companies/{ID}/routines?" + "&".join(["a=1"] * (MAX_QUERY_FIELDS + 1)),
        f"/companies/{'x' * MAX_PATH_BYTES}/routines",
    ]

    statuses = [api.request("GET", path, token=None).status_code for path in long]
    run = jetty.request("POST", f"/run/{jetty.collection}/{task}", content=b"use_trial_keys=true", headers=FORM)
    cookies = api.request("GET", "/companies", headers={"Cookie": "a=b; c=d"})

    assert ([400, 400, 404], 200, 200) == (statuses, run.status_code, cookies.status_code)
    assert before == [cache.cache_info().currsize for cache in caches]
    query = "&".join(["a=1"] * MAX_QUERY_FIELDS)
    assert 200 == api.request("GET", f"/companies/{api.company()}/routines?{query}").status_code


def test_behind_a_trusted_proxy_the_last_hop_that_is_no_proxy_is_the_sender(
    api: Api, routine: str, one_call_app: ASGIApp
):
    sender = hook(api, routine, "none")

    with serve_one_call_app(api, one_call_app, **TRUSTING) as here:

        def call_webhook(forwarded: str) -> int:
            return sender.at(here.url).send(b"", {"X-Forwarded-For": forwarded}).status_code

        hops = [
            call_webhook("203.0.113.1"),
            call_webhook("198.51.100.9, 203.0.113.1, 127.0.0.9"),
            call_webhook("203.0.113.1:4711"),
        ]
        forged = [call_webhook(f"198.51.100.{number}, 203.0.113.1") for number in range(3)]
        others = [call_webhook("203.0.113.2"), call_webhook("2001:db8::1"), call_webhook("2001:db8::2")]
        nonsense = [
            call_webhook("unknown"),
            call_webhook("x" * 2_000),
            call_webhook("_hidden, 1.2.3"),
            call_webhook("203.0.113.77, nobody"),
        ]
        networks = [call_webhook("203.0.113.3, 127.0.0.1, 127.255.255.254"), call_webhook("203.0.113.3")]

    assert [202, 429, 429] == hops
    assert [429] * 3 == forged
    assert [202, 202, 429] == others
    assert [202, 429, 429, 429] == nonsense
    assert [202, 429] == networks


def test_who_is_no_trusted_proxy_does_not_choose_its_address(api: Api, routine: str, one_call_app: ASGIApp):
    sender = hook(api, routine, "none")

    with serve_one_call_app(api, one_call_app, trusted_proxies="192.0.2.1,127.0.0.64/26") as here:
        refusals = [
            sender.at(here.url).send(b"", {name: f"203.0.113.{number}"}).status_code
            for number, name in enumerate(["X-Forwarded-For", *FORWARDED])
        ]

    assert [202, 429, 429, 429] == refusals
