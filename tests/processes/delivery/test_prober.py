"""Probes are asked over HTTP by the delivery process, and the scheduler settles by what they have found, once."""

import threading
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from msgspec.structs import replace

from application.outage import Outage
from application.use_cases import probes
from domain.bounds.limits import Limits
from domain.events import ProbeAnswered, ProbeRequested, RunFired
from domain.routines.probe import ANSWER_LIMIT
from domain.values import JsonCondition, Opened, Probe, Skipped
from processes.delivery import prober, worker
from processes.delivery.outbound import PRIVATE, Client
from projections.delivery import delivery_locks
from routines import bootstrap
from tests.processes.delivery.conftest import trusted_authorities
from tests.processes.due import NOON
from tests.waiting import wait_for

SECRET = "what nobody is to read"


class Queue:
    """A server that answers each GET with a status and a body; it keeps what it was asked."""

    def __init__(self):
        self.status, self.body, self.requests = 200, b"{}", []
        self.answers = threading.Event()
        self.answers.set()
        queue = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                queue.requests.append((self.path, dict(self.headers)))
                queue.answers.wait(10)
                self.send_response(queue.status)
                self.send_header("Location", "http://127.0.0.1:9/")
                self.send_header("Content-Length", str(len(queue.body)))
                self.end_headers()
                self.wfile.write(queue.body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/queue?token={SECRET.replace(' ', '-')}"


@pytest.fixture
def queue():
    queue = Queue()
    queue.thread.start()
    yield queue
    queue.answers.set()
    queue.server.shutdown()
    queue.server.server_close()
    queue.thread.join()


@pytest.fixture
def start_prober(executor, system, clock, in_thread):
    """Starts a delivery process in a thread."""

    def start(*, allow_private=True, limit_s=10.0):
        limits = Limits(allow_private_targets=allow_private)
        client = Client(clock, limits=limits, limit_s=limit_s, context=trusted_authorities())
        delivery_worker = worker.DeliveryWorker(executor, system.store.after, client)
        return in_thread(
            partial(worker.run, outage=Outage()), delivery_worker, client, lambda: bootstrap.connect(system.settings)
        )

    return start


@pytest.fixture
def make_due(company_fixture, queue):
    """Makes routines with this probe, of which an occurrence is due."""

    def make(many=1, **fields):
        return company_fixture.routines(many, next_at=NOON, probe=Probe(**{"url": queue.url} | fields))

    return make


def findings(events_of):
    return [recorded.event.finding for recorded in events_of(ProbeAnswered)]


def outcomes(events_of):
    return [recorded.event.outcome for recorded in events_of(RunFired)]


def test_an_occurrence_fires_once_its_probe_has_passed(make_due, queue, start_prober, scheduler, conn, events_of):  # noqa: PLR0917
    make_due(json=JsonCondition(path="queue.waiting", equals=True))
    queue.body = b'{"queue": {"waiting": true}, "secret": "%s"}' % SECRET.encode()
    assert 0 == scheduler.tick(conn)
    start_prober()
    wait_for(lambda: findings(events_of))

    assert [1, 0] == [scheduler.tick(conn) for _ in range(2)]

    [(path, headers)] = queue.requests
    assert path.startswith("/queue?token=")
    assert "Routines" == headers["User-Agent"]
    [outcome] = outcomes(events_of)
    assert isinstance(outcome, Opened)
    [finding] = findings(events_of)
    assert ("passed", 200, "true") == (finding.verdict, finding.status, finding.found)
    assert SECRET not in str([recorded.event for recorded in events_of((ProbeRequested, ProbeAnswered, RunFired))])


UNWANTED = [
    (503, b"{}", "The status is 503, and should be 2xx"),
    (302, b"{}", "The status is 302, and should be 2xx"),
    (200, b'{"waiting": 0}', "waiting is 0, and should be 3"),
    (200, b"<html>", "The answer is not JSON"),
    (200, b" " * 100_000, "The answer is too long to be read"),
]


def test_an_answer_that_is_not_as_wanted_skips_the_occurrence(  # noqa: PLR0917
    make_due, queue, start_prober, scheduler, conn, events_of
):
    start_prober()
    for many, (status, body, _) in enumerate(UNWANTED, 1):
        queue.status, queue.body = status, body
        make_due(json=JsonCondition(path="waiting", equals=3))
        scheduler.tick(conn)
        wait_for(lambda many=many: len(findings(events_of)) == many)

        assert 1 == scheduler.tick(conn)

    assert [reason for *_, reason in UNWANTED] == [found.reason for found in findings(events_of)]
    assert [Skipped(reason="probe_failed")] * len(UNWANTED) == outcomes(events_of)


@pytest.mark.parametrize(("if_unanswered", "kind"), [("skip", Skipped), ("fire", Opened)])
def test_a_probe_that_nobody_answers_is_over_when_its_time_is_up(  # noqa: PLR0917
    make_due, queue, start_prober, scheduler, conn, events_of, if_unanswered, kind
):
    make_due(if_unanswered=if_unanswered)
    queue.answers.clear()
    scheduler.tick(conn)
    start_prober(limit_s=0.2)
    wait_for(lambda: findings(events_of))

    scheduler.tick(conn)

    [outcome] = outcomes(events_of)
    assert isinstance(outcome, kind)
    assert ["No answer within 0.2 s"] == [found.reason for found in findings(events_of)]


def test_a_private_address_is_not_asked(make_due, queue, start_prober, scheduler, conn, events_of):  # noqa: PLR0917
    make_due()
    scheduler.tick(conn)
    start_prober(allow_private=False)
    wait_for(lambda: findings(events_of))

    assert ([], [("unanswered", PRIVATE)]) == (
        queue.requests,
        [(found.verdict, found.reason) for found in findings(events_of)],
    )


def test_schedulers_go_on_while_a_probe_waits_and_without_anybody_who_asks_it_counts_as_unanswered(  # noqa: PLR0917
    make_due, company_fixture, scheduler, conn, events_of, clock
):
    make_due()
    [other] = company_fixture.routines(next_at=NOON)

    assert 1 == scheduler.tick(conn)
    assert [other.trigger_id] == [recorded.event.trigger_id for recorded in events_of(RunFired)]
    assert 0 == scheduler.tick(conn)
    assert 0 < scheduler.pause_s(conn) <= ANSWER_LIMIT.total_seconds()
    clock.now += ANSWER_LIMIT
    scheduler.tick(conn)

    assert [Skipped(reason="probe_unanswered")] == [
        outcome for outcome in outcomes(events_of) if isinstance(outcome, Skipped)
    ]


def test_two_processes_ask_each_probe_once(make_due, queue, start_prober, scheduler, conn, events_of, monkeypatch):  # noqa: PLR0917
    monkeypatch.setattr(prober, "REST", timedelta(0))
    make_due(20)
    scheduler.tick(conn)
    start_prober()
    start_prober()
    wait_for(lambda: len(findings(events_of)) == 20)

    assert 20 == scheduler.tick(conn)
    assert (20, 20) == (len(queue.requests), len(outcomes(events_of)))


def test_what_a_process_that_died_was_asking_is_asked_by_another(  # noqa: PLR0917
    make_due, queue, start_prober, scheduler, conn, events_of, system, clock, monkeypatch
):
    monkeypatch.setattr(prober, "REST", timedelta(0))
    make_due()
    scheduler.tick(conn)
    [requested] = events_of(ProbeRequested)
    dead = bootstrap.connect(system.settings)
    assert delivery_locks.hold(dead, f"probe {requested.stream_id}")
    start_prober()
    dead.close()
    wait_for(lambda: findings(events_of))

    assert 1 == scheduler.tick(conn)
    assert 1 == len(queue.requests)


def test_an_answer_that_could_not_be_recorded_is_asked_for_again(  # noqa: PLR0917
    make_due, queue, start_prober, scheduler, conn, events_of, monkeypatch
):
    monkeypatch.setattr(prober, "REST", timedelta(0))
    record, broken = probes.record, [ZeroDivisionError]

    def break_once(*args):
        if broken:
            raise broken.pop()
        return record(*args)

    monkeypatch.setattr(probes, "record", break_once)
    make_due()
    scheduler.tick(conn)
    start_prober()
    wait_for(lambda: findings(events_of))

    assert 1 == scheduler.tick(conn)
    assert (2, 1) == (len(queue.requests), len(outcomes(events_of)))


def test_a_host_is_asked_by_a_company_so_often_at_a_time_as_the_limits_say(  # noqa: PLR0917
    make_due, queue, start_prober, scheduler, conn, events_of, system, monkeypatch
):
    monkeypatch.setattr(prober, "REST", timedelta(0))
    monkeypatch.setattr(system.store, "limits", replace(system.store.limits, max_host_deliveries_at_once=2))
    make_due(5)
    scheduler.tick(conn)
    queue.answers.clear()
    start_prober()
    wait_for(lambda: len(queue.requests) == 2)
    queue.answers.set()
    wait_for(lambda: len(findings(events_of)) == 5)

    assert 5 == len(queue.requests)
