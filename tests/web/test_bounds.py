"""
What strangers cannot do: fill the memory of a web process, stop its event loop, or lock others out.

Each attack goes on while another client is answered. What a single field or head may hold is tests/web/test_abuse.py's.
"""

import socket
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager, suppress
from select import select
from threading import Event
from typing import Any

import httpx
import msgspec
import pytest
from litestar import _parsers
from msgspec.structs import replace

from application.request_bodies import jetty as jetty_request_bodies
from application.request_bodies.board import AgentDraft, ProjectDraft
from application.request_bodies.issues import CommentDraft, IssuePatch
from application.request_bodies.routines import RoutineDraft, RunRequest
from domain.bounds.limits import DEFAULT, KIB, MIB, Limits
from tests.api import Api
from tests.waiting import wait_for
from tests.web.hooks import FORWARDED, Hook, hook, sending_from
from tests.web.jetty.conftest import ECHO, Jetty
from tests.web.served import further
from tests.web.test_abuse import all_of, answers, only_answer
from web.http import json_body
from web.http.fair_queue import TENANT
from web.http.guard import MAX_PATH_BYTES, MAX_QUERY_BYTES, MAX_QUERY_FIELDS
from web.http.held_bodies import HeldBodies, Holder, NoRoom
from web.http.large_bodies import takes_anything
from web.http.rate_limit import TooMany, WebhookRateLimiter, network_of
from web.jetty.requests import MOST_ESCAPES, MOST_FIELDS

ID = "11111111-1111-4111-8111-111111111111"
PUBLIC = "/api/routine-triggers/public"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TRUSTING: dict[str, Any] = {"trusted_proxies": "127.0.0.0/8"}


def limits(**fields: int) -> Limits:
    return replace(DEFAULT, **fields)


@pytest.fixture
def company(api: Api) -> str:
    return api.company()


@pytest.fixture
def routine(api: Api, company: str) -> str:
    return api.routine(company, api.agent(company)[0], concurrencyPolicy="always_enqueue")


@pytest.fixture
def jetty(api: Api) -> Iterator[Jetty]:
    name = f"bounds-{api.company()[:8]}"
    owner = {"Authorization": f"Bearer {api.token}"}
    with httpx.Client(base_url=f"{api.url}/api/v1", headers=owner, timeout=20, trust_env=False) as http:
        http.post("/collections/", json={"name": name}).raise_for_status()
        key = http.post("/api-keys/", json={"name": "k", "collection_name": name})
        client = Jetty(api, name, key.raise_for_status().json()["api_key"])
        yield client
        client.close()


@contextmanager
def speaking(api: Api, *, address: str = "127.0.0.1") -> Iterator[socket.socket]:
    url = httpx.URL(api.url)
    with closing(socket.create_connection((url.host, url.port), source_address=(address, 0))) as client:
        client.settimeout(20)
        yield client


def head(method: str, path: str, length: int, *lines: str) -> bytes:
    fields = ("Host: routines.example", "Content-Type: application/json", f"Content-Length: {length}", *lines)
    return "\r\n".join([f"{method} {path} HTTP/1.1", *fields, "", ""]).encode()


def said(client: socket.socket) -> tuple[int, Any]:
    """Status and error of the one answer, after which we leave."""
    data = client.recv(65_536)
    ((status, headers, body),) = answers(data)
    return status, json_error(body) | {"retry": headers.get("retry-after")}


def json_error(body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(body)
    return {"error": document.get("error", document.get("detail"))}


def call(sender: Hook, client: httpx.Client) -> int:
    """The status of a genuine call of a webhook by this client."""
    return sender.send(b"{}", sender.signed(b"{}"), client=client).status_code


# What strangers name


def test_what_cannot_be_the_address_of_a_webhook_is_refused_without_its_body_and_not_counted(api: Api):
    with further(api, webhook_rate=1) as here:
        path = f"{here.url}{PUBLIC}"
        for public_id in ("x", "0" * 23, "0" * 25, "G" * 24, "A" * 24, "x" * 1_500):
            for _ in range(3):
                answer = httpx.post(f"{path}/{public_id}/fire")
                assert (404, "Routine trigger not found") == (answer.status_code, answer.json()["error"])
        with speaking(here) as client:
            client.sendall(head("POST", f"{PUBLIC}/{'x' * 24}/fire", MIB))
            assert 404 == said(client)[0]


@pytest.mark.parametrize("mode", ["bearer", "hmac_sha256", "none"])
def test_a_stranger_behind_the_same_proxy_uses_up_nobodys_calls(api: Api, routine: str, mode: str):
    """Unknown and malformed addresses, and false signatures, before and after he is told to wait."""
    genuine, another = hook(api, routine, mode), hook(api, routine, "github_hmac")

    with further(api, webhook_rate=2) as here, sending_from("127.0.0.4") as proxy:
        attempts = [
            proxy.post(f"{here.url}{PUBLIC}/{number:024x}/fire", content=b"{}").status_code for number in range(15)
        ]
        attempts += [call(another.at(here.url).knowing("no"), proxy) for _ in range(15)]
        known = [call(genuine.at(here.url), proxy) for _ in range(3)]

    assert [404] * 15 + [401] * 5 + [429] * 10 == attempts
    assert [202, 202, 429] == known


def test_a_sender_calls_every_webhook_as_often_as_one(api: Api, routine: str):
    hooks = [hook(api, routine) for _ in range(12)]

    with further(api, webhook_rate=1) as here, sending_from("127.0.0.5") as proxy:
        statuses = [[call(one.at(here.url), proxy) for _ in range(2)] for one in hooks]

    assert [[202, 429]] * 12 == statuses


def test_there_are_so_many_counters_and_the_newest_go_on():
    rate_limiter = WebhookRateLimiter(2, most_counters=100)
    storage: Any = rate_limiter._limiter.storage

    for number in range(1_000):
        rate_limiter.count_refusal(f"192.0.2.{number}")
    rate_limiter.count_refusal("192.0.2.999")

    assert len(storage.storage) <= 100
    assert len(storage.locks) <= 100
    for _ in range(18):
        rate_limiter.count_refusal("192.0.2.999")
    with pytest.raises(TooMany):
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
    query = "&".join(["status=active"] * MAX_QUERY_FIELDS)
    assert 200 == api.request("GET", f"/companies/{api.company()}/routines?{query}").status_code


# Proxies


def test_behind_a_trusted_proxy_the_last_hop_that_is_no_proxy_is_the_sender(api: Api, routine: str):
    sender = hook(api, routine, "none")

    with further(api, webhook_rate=1, **TRUSTING) as here:

        def call(forwarded: str) -> int:
            return sender.at(here.url).send(b"", {"X-Forwarded-For": forwarded}).status_code

        hops = [call("203.0.113.1"), call("198.51.100.9, 203.0.113.1, 127.0.0.9"), call("203.0.113.1:4711")]
        forged = [call(f"198.51.100.{number}, 203.0.113.1") for number in range(3)]
        others = [call("203.0.113.2"), call("2001:db8::1"), call("2001:db8::2")]
        nonsense = [call("unknown"), call("x" * 2_000), call("_hidden, 1.2.3"), call("203.0.113.77, nobody")]
        networks = [call("203.0.113.3, 127.0.0.1, 127.255.255.254"), call("203.0.113.3")]

    assert [202, 429, 429] == hops
    assert [429] * 3 == forged
    assert [202, 202, 429] == others
    assert [202, 429, 429, 429] == nonsense
    assert [202, 429] == networks


def test_who_is_no_trusted_proxy_does_not_choose_its_address(api: Api, routine: str):
    sender = hook(api, routine, "none")

    with further(api, webhook_rate=1, trusted_proxies="192.0.2.1,127.0.0.64/26") as here:
        refusals = [
            sender.at(here.url).send(b"", {name: f"203.0.113.{number}"}).status_code
            for number, name in enumerate(["X-Forwarded-For", *FORWARDED])
        ]

    assert [202, 429, 429, 429] == refusals


# Bodies


@pytest.mark.parametrize("token", [None, "nonsense", "pcp_board_" + "0" * 38])
def test_a_large_body_is_read_when_its_sender_is_known(api: Api, routine: str, token: str | None):
    path, authorization = f"/api/routines/{routine}/run", () if token is None else (f"Authorization: Bearer {token}",)
    sizes = (MIB + 1, 10 * MIB)

    for size in sizes:
        with speaking(api) as client:
            client.sendall(head("POST", path, size, *authorization))
            assert (401, {"error": "Unauthorized", "retry": None}) == said(client)
    chunks = (b" " * 100_000 for _ in range(50))
    answer = api.request("POST", f"/routines/{routine}/run", token=token, content=chunks, headers=JSON)
    known = api.request(
        "POST", f"/routines/{routine}/run", content=b'{"payload":{"text":"%s"}}' % (b"x" * MIB), headers=JSON
    )

    assert (401, "Bearer") == (answer.status_code, answer.headers["www-authenticate"])
    assert 202 == known.status_code


def test_an_operation_that_needs_no_large_body_takes_none_of_anybody(api: Api, company: str):
    body = b'{"name":"x"%s}' % (b" " * MIB)

    for path in ("/companies", f"/companies/{company}/projects", f"/companies/{company}/goals"):
        answer = api.request("POST", path, content=body, headers=JSON)
        assert (413, f"The body must have at most {MIB} bytes") == (answer.status_code, answer.json()["error"]), path


def test_large_bodies_are_those_that_hold_objects_of_any_shape_or_long_texts():
    large = (
        RunRequest,
        RoutineDraft,
        IssuePatch,
        AgentDraft,
        jetty_request_bodies.RunCreate,
        jetty_request_bodies.TaskChange,
        jetty_request_bodies.IngestCreate,
        jetty_request_bodies.StepReport,
        jetty_request_bodies.RoutineCreate,
    )
    small = (
        ProjectDraft,
        CommentDraft,
        jetty_request_bodies.CollectionCreate,
        jetty_request_bodies.LabelCreate,
    )

    assert all(map(takes_anything, large))
    assert not any(map(takes_anything, small))


def test_jetty_takes_large_bodies_where_results_are_pushed_and_of_its_own_keys_only(api: Api, jetty: Jetty):
    task = jetty.task(workflow=ECHO)
    path = f"/trajectories/{jetty.collection}/{task}/ingest"
    body = b'{"output":{"text":"%s"}%s}' % (b"x" * 1_000, b" " * 3 * MIB)

    refusals = [
        jetty.request("POST", path, content=body, headers=JSON, key=key) for key in ("", None, "mlc_" + "0" * 47)
    ]
    small = jetty.request("POST", f"/tasks/{jetty.collection}/{task}/nothing", content=body, headers=JSON)

    assert [200, 401, 401] == [answer.status_code for answer in refusals]
    assert {"detail": "Invalid API key or JWT token"} == refusals[1].json() == refusals[2].json()
    assert 413 == small.status_code
    assert "at most" in small.json()["detail"]


@pytest.mark.parametrize(
    "body", [b"a=" + b"%" * (MOST_ESCAPES + 1), b"&" * MOST_FIELDS, b"init_params=" + b"%7B" * (MOST_ESCAPES + 1)]
)
def test_a_form_that_takes_longer_to_read_than_to_send_is_not_read(jetty: Jetty, body: bytes):
    path = f"/run/{jetty.collection}/{jetty.task(workflow=ECHO)}"

    answer = jetty.request("POST", path, content=body, headers=FORM)
    largest = jetty.request("POST", path, content=b"a=" + b"%" * 9_000_000, headers=FORM)

    assert (422, 413) == (answer.status_code, largest.status_code)
    assert f"at most {MOST_FIELDS} fields and {MOST_ESCAPES} escapes" in answer.json()["detail"][0]["msg"]


def test_a_body_of_a_webhook_is_read_when_there_is_that_webhook(api: Api, routine: str):
    sender, body = hook(api, routine), b'{"a":"%s"}' % (b"x" * 500_000)

    with speaking(api) as client:
        client.sendall(head("POST", f"{PUBLIC}/{'0' * 24}/fire", MIB))
        unknown = said(client)
    known, forged = sender.call(body, JSON), sender.knowing("no").call(body, JSON)

    assert (404, "Routine trigger not found") == (unknown[0], unknown[1]["error"])
    assert [202, 401] == [known.status_code, forged.status_code]


def test_of_a_sender_whose_headers_prove_nothing_no_large_body_is_read_and_he_is_counted(api: Api, routine: str):
    late = {"X-Paperclip-Signature": "0" * 64, "X-Paperclip-Timestamp": "1000000000"}
    attempts = [
        (hook(api, routine), {"Authorization": "Bearer no"}),
        (hook(api, routine, "hmac_sha256"), late),
        (hook(api, routine, "github_hmac"), {}),
        (hook(api, routine, "standard_webhooks"), {"webhook-id": "1"}),
    ]
    with further(api, webhook_rate=1) as here:
        refused = []
        for sender, headers in attempts * 3:
            with speaking(here) as client:
                client.sendall(
                    head(
                        "POST",
                        f"{PUBLIC}/{sender.public_id}/fire",
                        MIB,
                        *(f"{name}: {value}" for name, value in headers.items()),
                    )
                )
                refused.append(said(client)[0])

    assert [401] * 10 + [429] * 2 == refused


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * 3_000_000 + b"1]",
        b"[" * 5_000_000,
        b"[" + b'"",' * 3_000_000 + b"1]",
        b'{"a":[' + b'"\\"",' * 1_500_000 + b"1]}",
        b'{"a":' * 1_500_000,
    ],
)
def test_values_are_counted_before_any_is_made(monkeypatch: pytest.MonkeyPatch, body: bytes):
    def decode(_body: bytes) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(msgspec.json, "decode", decode)

    with pytest.raises(json_body.Unsound, match="at most 100000 values"):
        json_body.read(body)


@pytest.mark.parametrize(
    "text", [",[{" * 200_000, '\\",' * 200_000, "\\\\" * 200_000 + ",", '"' * 500_000, '\\"\\' * 9]
)
def test_marks_within_texts_are_no_values(text: str):
    value = {"a": [text, {text: "\\"}, "b"]}

    assert value == json_body.read(msgspec.json.encode(value))


@contextmanager
def reading_is_slow() -> Iterator[None]:
    """The thread that reads large bodies is at one."""
    over = Event()
    slow = json_body._READER.submit(over.wait)
    try:
        yield
    finally:
        over.set()
        slow.result()


def test_while_large_bodies_are_read_others_are_answered(api: Api, company: str):
    body = b'{"name":"x"%s}' % (b" " * 500_000)

    with speaking(api) as client:
        with reading_is_slow():
            client.sendall(head("POST", "/api/companies", len(body), f"Authorization: Bearer {api.token}") + body)
            small = [api.request("POST", f"/companies/{company}/projects", {"name": "y"}) for _ in range(5)]
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)
            client.settimeout(20)
        assert client.recv(65_536).startswith(b"HTTP/1.1 201 ")
    assert [201] * 5 == [answer.status_code for answer in small]


def test_bodies_at_the_same_time_are_bounded_and_small_ones_go_on(api: Api, company: str):
    """Whoever comes when too much is held is told to try again before we read what he has."""
    bounds = limits(max_held_body_bytes=1536 * KIB, max_held_body_bytes_per_sender=1024 * KIB)
    half, path = b'{"name":"' + b"x" * 600_000, "/api/companies"
    agents = [api.agent(one)[1] for one in (company, api.company())]
    another = api.agent(company, "another")[1]

    def start(client: socket.socket, token: str) -> None:
        client.sendall(head("POST", path, MIB, f"Authorization: Bearer {token}") + half)

    with further(api, limits=bounds) as here, ExitStack() as stack:
        clients = {token: stack.enter_context(speaking(here, address="127.0.0.6")) for token in agents}

        def leaves_no_room_for(token: str, holder: str) -> bool:
            """Whether too much is held for the token; a holder that the last such question was in the way of starts anew."""
            if _is_answered(clients[holder]):
                clients[holder] = stack.enter_context(speaking(here, address="127.0.0.6"))
                start(clients[holder], holder)
            return _is_refused(here, size=500_000, token=token)

        start(clients[agents[0]], agents[0])
        wait_for(lambda: leaves_no_room_for(another, agents[0]))  # the company's share is used up
        second = stack.enter_context(speaking(here, address="127.0.0.7"))
        start(second, another)
        assert (503, {"error": "Too many large requests are being processed; try again", "retry": "1"}) == said(second)
        start(clients[agents[1]], agents[1])
        wait_for(lambda: leaves_no_room_for(api.token, agents[1]))  # and now what there is for all
        small = here.request("POST", f"/companies/{company}/projects", {"name": "x" * 100})
        clients[agents[0]].close()
        wait_for(lambda: not _is_refused(here, size=500_000, token=api.token))

    assert 201 == small.status_code


def _is_answered(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return bool(client.recv(1))
    except BlockingIOError:
        return False


def _is_refused(here: Api, size: int, token: str) -> bool:
    headers = {**JSON, "Authorization": f"Bearer {token}"}
    status = httpx.post(f"{here.url}/api/companies", content=b'"%s"' % (b"x" * size), headers=headers).status_code
    assert status in (400, 401, 403, 503)
    return status == 503


@pytest.mark.parametrize("path", ["/api/companies", f"/api/routines/{ID}/run"])
def test_of_an_unknown_sender_no_more_is_read_than_a_small_body(api: Api, path: str):
    with speaking(api) as client:
        client.sendall(head("POST", path, json_body.SMALL + 1, f"Authorization: Bearer pcp_board_{'0' * 38}"))
        assert (401, {"error": "Unauthorized", "retry": None}) == said(client)


def test_calls_of_webhooks_cannot_fill_the_room_of_known_companies(api: Api, routine: str):
    """Nor has one company more of it than another, from however many addresses its webhooks are called."""
    public_id = hook(api, routine, "none").public_id
    bounds = limits(max_held_body_bytes=1200 * KIB, max_held_body_bytes_per_sender=1024 * KIB)

    with further(api, limits=bounds) as here, ExitStack() as stack:
        callers = [stack.enter_context(speaking(here, address=f"127.0.0.{number}")) for number in (6, 7)]
        for client in callers:
            client.sendall(head("POST", f"{PUBLIC}/{public_id}/fire", 900 * KIB) + b" " * 400 * KIB)
        refused = next(one for one in select(callers, [], [], 20)[0])
        assert 503 == said(refused)[0]
        assert not _is_refused(here, size=500_000, token=api.token)


def test_large_bodies_of_tenants_are_read_in_turns():
    order: list[str] = []

    def read(name: str) -> Future[None]:
        token = TENANT.set(name)
        try:
            return json_body._READER.submit(order.append, name)
        finally:
            TENANT.reset(token)

    with reading_is_slow():
        reads = [read(name) for name in ["hostile"] * 5 + ["neighbour"]]
    for one in reads:
        one.result(5)

    assert ["hostile", "neighbour"] == order[:2]


def test_what_values_take_of_our_memory_is_held_as_well(api: Api):
    values, text = b"[" + b"{}," * 50_000 + b"1]", b'"%s"' % (b"x" * 150_000)

    with further(api, limits=limits(max_held_body_bytes=2 * MIB)) as here:
        refusals = [here.request("POST", "/companies", content=one, headers=JSON) for one in (values, text)]

    assert [503, 400] == [answer.status_code for answer in refusals]


def test_what_a_request_held_is_given_back_however_it_ends():
    held, known = HeldBodies(200_000, 150_000), Holder("a", is_known=True)

    with held.share(known) as share:
        share.grow(100_000)
        with held.share(known) as another:
            another.grow(60_000)
            with pytest.raises(NoRoom):
                another.grow(60_000)
        with pytest.raises(NoRoom), held.share(Holder("b")) as stranger:
            stranger.grow(150_000)
    with held.share(known) as share:
        share.grow(150_000)

    assert {} == held._of


def test_half_of_the_room_is_for_companies_that_are_known():
    held = HeldBodies(200_000, 150_000)

    with held.share(Holder("a")) as stranger, held.share(Holder("b")) as another:
        stranger.grow(90_000)
        with pytest.raises(NoRoom):
            another.grow(90_000)
        with held.share(Holder("company", is_known=True)) as known:
            known.grow(120_000)


# Connections


def test_of_too_many_connections_of_a_peer_the_oldest_silent_ones_make_way(api: Api):
    with further(api, limits=limits(max_connections_per_peer=8)) as here, ExitStack() as stack:
        silent = [stack.enter_context(speaking(here, address="127.0.0.10")) for _ in range(12)]
        with sending_from("127.0.0.10") as same, sending_from("127.0.0.11") as other:
            statuses = [one.get(f"{here.url}/api/health").status_code for one in (same, other, same)]

        assert [200] * 3 == statuses
        assert [b""] * 5 == [all_of(client) for client in silent[:5]]
        for client in silent[5:]:
            client.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert all_of(client).startswith(b"HTTP/1.1 200 ")


def test_of_too_many_connections_at_all_the_oldest_silent_ones_make_way(api: Api):
    addresses = [f"127.0.1.{number}" for number in range(1, 31)]

    with further(api, limits=limits(max_connections=20)) as here, ExitStack() as stack:
        silent = [stack.enter_context(speaking(here, address=address)) for address in addresses]
        for client in silent[15:]:
            client.sendall(b"POST /api/companies HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        with sending_from("127.0.0.12") as other:
            assert [200] * 5 == [other.get(f"{here.url}/api/health").status_code for _ in range(5)]
        assert [b""] * 10 == [all_of(client) for client in silent[:10]]


def test_a_trusted_proxy_may_have_more_connections_than_a_peer(api: Api):
    bounds = limits(max_connections_per_peer=4)

    with further(api, limits=bounds, **TRUSTING) as here, ExitStack() as stack:
        clients = [stack.enter_context(speaking(here)) for _ in range(30)]
        for client in clients:
            client.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

        assert [b"HTTP/1.1 200"] * 30 == [all_of(client)[:12] for client in clients]


@pytest.mark.parametrize("filling", [b"%", b"%25", b"a&", b"?"])
def test_a_long_address_is_not_decoded(api: Api, monkeypatch: pytest.MonkeyPatch, filling: bytes):
    """To do so takes far longer than to send it: with all that a head may hold, a tenth of a second."""
    decoded: list[int] = []
    monkeypatch.setattr(urllib.parse, "unquote", lambda text: decoded.append(len(text)) or text)

    with speaking(api) as client:
        client.sendall(b"GET /" + filling * (60_000 // len(filling)) + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (431, "Too many or too large headers") == only_answer(all_of(client))

    assert [] == decoded


def test_requests_without_end_on_one_connection_are_not_kept(api: Api):
    with speaking(api) as client, suppress(ConnectionError):
        client.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n" * 5_000)
        with suppress(ConnectionError):
            client.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n" * 5_000)
        data = all_of(client)

        assert data.count(b"HTTP/1.1 200") < 1_000
