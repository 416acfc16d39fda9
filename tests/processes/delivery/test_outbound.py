"""Requests to addresses that others have given us, against servers that mean no good."""

import asyncio
import gc
import itertools
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from uuid import UUID, uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from domain.bounds.limits import DEFAULT
from processes.delivery.lookups import Lookups, Overdue, resolve
from processes.delivery.outbound import PRIVATE, Client
from processes.delivery.shares import Shares
from tests.processes.delivery.conftest import trusted_authorities

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Server:
    """Counts connections, keeps what it was sent, answers what it is told to."""

    def __init__(self, answer=OK):
        self.answer = answer
        self.connections = 0
        self.requests = []

    async def __call__(self, reader, writer):
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
            )
            self.requests.append((head, await reader.readexactly(length)))
            if callable(self.answer):
                await self.answer(writer)
            else:
                writer.write(self.answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serve(server, context=None):
    running = await asyncio.start_server(server, "127.0.0.1", 0, ssl=context)
    (listening,) = running.sockets
    async with running:
        try:
            yield listening.getsockname()[1]
        finally:
            # A connection that is just being accepted when the server closes would stay open, and fail a later test.
            asyncio.get_running_loop().remove_reader(listening.fileno())
            await asyncio.sleep(0)


@asynccontextmanager
async def client(*, allow_private=False, limits=DEFAULT, **options):
    limits = replace(limits, allow_private_targets=allow_private)
    outbound_client = Client(lambda: NOW, limits=limits, **{"context": trusted_authorities(), **options})
    yield outbound_client
    await outbound_client.close()


def post_to_server(answer, path="/in", **options):
    """What a post to a local server gives, and the server."""

    async def run():
        server = Server(answer)
        async with serve(server) as port, client(allow_private=True, **options) as sender:
            return await sender.post(f"http://127.0.0.1:{port}{path}", {"X-A": "1"}, b"body"), server

    return asyncio.run(run())


def test_the_server_of_these_tests_leaves_no_connection_open_whenever_it_closes():
    async def connect_and_leave(rounds):
        async with serve(Server()) as port:
            with socket.socket() as sender:
                sender.setblocking(False)
                sender.connect_ex(("127.0.0.1", port))
                for _ in range(rounds):
                    await asyncio.sleep(0)

    for rounds in range(6):
        asyncio.run(connect_and_leave(rounds))
    gc.collect()  # whatever was left open is noticed now, and fails the test


def test_a_post_sends_its_body_and_headers_and_gives_the_status():
    answer, server = post_to_server(b"HTTP/1.1 204 No Content\r\n\r\n")

    [(head, body)] = server.requests
    assert (answer.status, answer.is_good, body) == (204, True, b"body")
    assert head.startswith(b"POST /in HTTP/1.1\r\n")
    assert b"X-A: 1\r\n" in head


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", "/"),
        ("/in", "/in"),
        ("/in;key=a;b", "/in;key=a;b"),
        ("/a;x/b;y?q=1;2", "/a;x/b;y?q=1;2"),
        ("/in?", "/in?"),
        ("?", "/?"),
        ("?q", "/?q"),
        ("?a=/b", "/?a=/b"),
        ("/a?b?c", "/a?b?c"),
        ("/%2F%41%zz/../.", "/%2F%41%zz/../."),
        ("//a//", "//a//"),
        ("/A[]{}|\"<>'`^", "/A[]{}|\"<>'`^"),
        ("/http://b@c:1/", "/http://b@c:1/"),
        (";x", None),
    ],
)
def test_the_rest_of_an_address_is_asked_for_to_the_letter(path, target):
    answer, server = post_to_server(OK, path)

    assert [head.split(b" ")[1].decode() for head, _ in server.requests] == ([target] if target else [])
    assert answer.status == (200 if target else None)


def test_a_redirect_is_an_answer_and_is_not_followed():
    async def run():
        inner = Server()
        async with serve(inner) as port:
            moved = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n"
            outer = Server(moved.encode())
            async with serve(outer) as first, client(allow_private=True) as sender:
                return await sender.post(f"http://127.0.0.1:{first}/", {}, b""), inner.connections

    answer, connections = asyncio.run(run())
    assert (answer.status, answer.is_good, connections) == (302, False, 0)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://10.0.0.1:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://metadata.google.internal/",
        "http://0x7f.1:{port}/",
        "http://127.1:{port}/",
        "http://2130706433:{port}/",
        "http://user@127.0.0.1:{port}/",
        "http://0.0.0.0:{port}/",
        "ftp://127.0.0.1:{port}/",
    ],
)
def test_a_private_address_is_refused_without_a_connection_however_it_is_written(url):
    async def run():
        server = Server()
        async with serve(server) as port, client() as sender:
            return await sender.post(url.format(port=port), {}, b""), server.connections

    answer, connections = asyncio.run(run())
    assert (answer.status, connections) == (None, 0)
    assert answer.reason


def test_a_name_that_flips_a_thousand_times_never_leads_to_a_private_address():
    async def run():
        server, looks = Server(), itertools.count()

        async def flipping(_host, _port):
            return ["192.0.2.1"] if next(looks) % 2 else ["127.0.0.1"]

        async with serve(server) as port, client(resolve=flipping) as sender:
            answers = [await sender.post(f"http://rebind.example:{port}/", {}, b"") for _ in range(1_000)]
        return answers, server.connections, next(looks)

    answers, connections, looks = asyncio.run(run())
    assert connections == 0
    assert looks == 1_000  # one look for each request: what was judged is what is connected to
    assert {answer.reason for answer in answers} == {PRIVATE}


def test_of_several_addresses_only_those_that_are_public_are_tried(monkeypatch):
    tried = []

    async def mixed(_host, _port):
        return ["127.0.0.1", "10.1.2.3", "8.8.8.8", "::1", "::ffff:127.0.0.1"]

    async def run():
        async with client(resolve=mixed) as sender:
            backend = sender._pool._network_backend

            async def connect(address, *_how):
                tried.append(address)
                raise ConnectionError

            monkeypatch.setattr(backend._inner, "connect_tcp", connect)
            return await sender.post("http://mixed.example/", {}, b"")

    assert asyncio.run(run()).status is None
    assert tried == ["8.8.8.8"]


def test_a_peer_that_is_another_than_was_asked_for_is_sent_nothing(monkeypatch):
    """As if something between us and the socket had led it elsewhere."""

    async def public(_host, _port):
        return ["8.8.8.8"]

    async def run():
        server = Server()
        async with serve(server) as port, client(resolve=public) as sender:
            backend = sender._pool._network_backend
            real = backend._inner.connect_tcp

            async def elsewhere(_address, _port, *how):
                return await real("127.0.0.1", port, *how)

            monkeypatch.setattr(backend._inner, "connect_tcp", elsewhere)
            answer = await sender.post(f"http://public.example:{port}/", {}, b"secret")
        return answer, server.requests

    answer, requests = asyncio.run(run())
    assert (answer.status, answer.reason, requests) == (None, PRIVATE, [])


def test_proxies_of_the_environment_are_not_asked(monkeypatch):
    async def run():
        proxy, server = Server(), Server()
        async with serve(proxy) as proxy_port, serve(server) as port:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy_port}")
            async with client(allow_private=True) as sender:
                answer = await sender.post(f"http://127.0.0.1:{port}/", {}, b"")
        return answer.status, proxy.connections, server.connections

    assert asyncio.run(run()) == (200, 0, 1)


async def drip_headers(writer):
    for byte in itertools.cycle(b"HTTP/1.1 200 OK\r\nX: "):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.01)


async def stay_silent(_writer):
    await asyncio.sleep(5)


@pytest.mark.parametrize("answer", [drip_headers, stay_silent])
def test_whoever_takes_too_long_is_left_when_the_time_is_up(answer):
    attempt, _ = post_to_server(answer, limit_s=0.3)

    assert (attempt.status, attempt.reason) == (None, "No answer within 0.3 s")


async def send_without_end(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


def test_an_answer_without_an_end_counts_by_its_status_and_is_not_read():
    attempt, _ = post_to_server(send_without_end)

    assert attempt.status == 200


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, b"\x16\x03\x01\x00"],
)
def test_an_answer_that_is_none_is_a_failure_in_our_words(answer):
    attempt, _ = post_to_server(answer)

    assert attempt.status is None
    assert attempt.reason in ("The answer was not HTTP, or broke off", "The connection broke off")


async def never_final(writer):
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1_000)
        await writer.drain()


def test_an_answer_that_does_not_begin_is_read_up_to_a_bound():
    attempt, _ = post_to_server(never_final, limits=replace(DEFAULT, max_answer_bytes=16 * 1024), limit_s=60.0)

    assert (attempt.status, attempt.reason) == (None, "The answer was not HTTP, or broke off")


class Names:
    """A resolver whose names are answered when they are told to be."""

    def __init__(self):
        self.asked_hosts = []
        self.answers = {}
        self.waiting = asyncio.Queue()

    async def __call__(self, host, _port):
        self.asked_hosts.append(host)
        self.answers[host] = asyncio.get_running_loop().create_future()
        self.waiting.put_nowait(host)
        return await self.answers[host]

    def answer(self, host):
        self.answers.pop(host).set_result(["192.0.2.1"])


ONE, OTHER = uuid4(), uuid4()


def looked_up(scene, **limits):
    names = Names()

    async def run():
        lookups = Lookups(names, replace(DEFAULT, **limits))
        try:
            return await scene(lookups, names)
        finally:
            lookups.close()

    return asyncio.run(run())


def test_who_asks_for_one_name_at_the_same_time_shares_one_look_up_and_later_there_is_another():
    async def scene(lookups, names):
        asking = [asyncio.create_task(lookups.addresses("a.example", 80, one)) for one in (ONE, OTHER, ONE)]
        names.answer(await names.waiting.get())
        answers = await asyncio.gather(*asking)
        later = asyncio.create_task(lookups.addresses("A.example", 80, ONE))
        names.answer(await names.waiting.get())
        return answers, await later, names.asked_hosts

    answers, later, asked_hosts = looked_up(scene)
    assert answers == [["192.0.2.1"]] * 3
    assert (later, asked_hosts) == (["192.0.2.1"], ["a.example"] * 2)


def test_a_name_that_is_not_answered_is_asked_for_twice_and_then_fails_at_once():
    async def scene(lookups, names):
        for _ in range(2):
            with pytest.raises(Overdue):
                await lookups.addresses("a.example", 80, ONE)
        for _ in range(1_000):
            with pytest.raises(Overdue):
                await lookups.addresses("a.example", 80, OTHER)
        return names.asked_hosts

    assert looked_up(scene, lookup_limit_s=0.05) == ["a.example"] * 2


def test_a_company_whose_names_are_not_answered_keeps_its_own_waiting_only():
    async def scene(lookups, names):
        asking = [lookups.addresses(f"{number}.example", 80, ONE) for number in range(40)]
        failed = await asyncio.gather(*asking, return_exceptions=True)
        with pytest.raises(Overdue):
            await lookups.addresses("later.example", 80, ONE)
        other = asyncio.create_task(lookups.addresses("other.example", 80, OTHER))
        while await names.waiting.get() != "other.example":
            pass
        names.answer("other.example")
        return [type(one) for one in failed], len(names.asked_hosts), await other

    failed, asked_hosts, other = looked_up(scene, lookup_limit_s=0.05)
    assert (failed, asked_hosts, other) == ([Overdue] * 40, 9, ["192.0.2.1"])


def test_a_company_with_many_names_that_are_answered_is_answered_for_all_of_them():
    async def scene(lookups, names):
        asking = [asyncio.create_task(lookups.addresses(f"{number}.example", 80, ONE)) for number in range(40)]
        for _ in asking:
            host = await names.waiting.get()
            assert len(names.answers) <= 8
            names.answer(host)
        return await asyncio.gather(*asking)

    assert looked_up(scene) == [["192.0.2.1"]] * 40


def test_an_address_needs_no_look_up():
    async def scene(lookups, names):
        return (
            await lookups.addresses("192.0.2.7", 80, ONE),
            await lookups.addresses("2001:db8::1", 80, ONE),
            names.asked_hosts,
        )

    assert looked_up(scene) == (["192.0.2.7"], ["2001:db8::1"], [])


def test_the_systems_answer_is_that_of_its_hosts_file():
    assert "127.0.0.1" in asyncio.run(resolve("localhost", 80))


@pytest.mark.parametrize("companies", [1, 2, 3, 7])
def test_companies_that_take_all_they_can_leave_as_much_for_another(companies):
    shares, ids = Shares(128), [UUID(int=number) for number in range(companies)]
    while takers := [one for one in ids if shares.fits(one)]:
        for one in takers:
            if shares.fits(one):
                shares.take(one)

    assert 128 // (companies + 1) - companies <= 128 - shares._own.total()
    assert max(shares._own.values()) - min(shares._own.values()) <= 1


def test_what_is_larger_than_its_share_goes_alone():
    shares, one, other = Shares(100), UUID(int=1), UUID(int=2)

    assert shares.fits(one, 1_000)
    shares.take(one, 60)
    assert not shares.fits(one, 30)
    assert shares.fits(other, 40)
    assert not shares.fits(other, 41)
    shares.give_back(one, 60)
    assert shares.fits(one, 1_000)


def test_nobody_there_is_a_failure():
    async def run():
        async with serve(Server()) as port:
            pass
        async with client(allow_private=True) as sender:
            return await sender.post(f"http://127.0.0.1:{port}/", {}, b"")

    assert asyncio.run(run()).reason == "The host cannot be connected to"


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("120", timedelta(seconds=120)),
        ("0", timedelta()),
        ("Fri, 27 Nov 2026 12:05:00 GMT", timedelta(minutes=5)),
        ("Fri, 27 Nov 2026 11:00:00 GMT", timedelta()),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("Fri, 27 Nov 2026 12:05:00", None),
        (f"Fri, 27 Nov {10**20} 12:05:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_and_as_a_date(text, wish):
    attempt, _ = post_to_server(f"HTTP/1.1 503 Busy\r\nRetry-After: {text}\r\nContent-Length: 0\r\n\r\n".encode())

    assert (attempt.status, attempt.retry_after) == (503, wish)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of its own authority, for the name tls.example: its file, and its key in it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tls.example")])
    certificate_of_server = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2090, 1, 1, tzinfo=UTC))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("tls.example"), x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(secret + certificate_of_server.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(
    ("host", "trusted", "status", "reason"),
    [
        ("tls.example", True, 200, None),
        ("tls.example", False, None, "TLS failed: CERTIFICATE_VERIFY_FAILED"),
        ("other.example", True, None, "TLS failed: CERTIFICATE_VERIFY_FAILED"),
    ],
)
def test_a_certificate_must_be_of_somebody_trusted_and_for_the_name_that_was_asked_for(
    certificate, host, trusted, status, reason
):
    context = ssl.create_default_context(cafile=str(certificate) if trusted else None)
    of_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    of_server.load_cert_chain(certificate)

    async def here(_host, _port):
        return ["127.0.0.1"]

    async def run():
        async with (
            serve(Server(), of_server) as port,
            client(allow_private=True, context=context, resolve=here) as sender,
        ):
            return await sender.post(f"https://{host}:{port}/", {}, b"")

    answer = asyncio.run(run())
    assert (answer.status, answer.reason) == (status, reason)


def get_from_server(answer, reads_body=lambda _status: True, **options):
    """What a get of a local server gives, and the server."""

    async def run():
        server = Server(answer)
        async with serve(server) as port, client(allow_private=True, **options) as sender:
            return *await sender.get(f"http://127.0.0.1:{port}/in?q", {"X-A": "1"}, reads_body), server

    return asyncio.run(run())


def test_a_get_gives_the_status_and_the_body():
    answer, body, server = get_from_server(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue")

    [(head, sent)] = server.requests
    assert (200, None, b"true", b"") == (answer.status, answer.reason, body, sent)
    assert head.startswith(b"GET /in?q HTTP/1.1\r\n")
    assert b"content-length" not in head.lower()


def test_a_body_that_nobody_wants_is_not_read():
    answer, body, _ = get_from_server(send_without_end, lambda _status: False)

    assert (200, b"") == (answer.status, body)


def test_a_body_without_an_end_is_read_up_to_a_bound_and_the_status_is_kept():
    answer, body, _ = get_from_server(
        send_without_end, limits=replace(DEFAULT, max_answer_bytes=16 * 1024), limit_s=60.0
    )

    assert (200, "The answer is too long to be read", b"") == (answer.status, answer.reason, body)


async def dripping_body(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ntr", dripping_body])
def test_a_body_that_breaks_off_or_takes_too_long_is_no_answer(answer):
    answer, body, _ = get_from_server(answer, limit_s=0.3)

    assert (None, b"") == (answer.status, body)
    assert answer.reason
