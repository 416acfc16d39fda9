"""What the delivery process begins when it looks for what is due, one look after the other, on a clock that stands still."""

import asyncio
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from threading import Event
from zlib import crc32

import psycopg
import pytest
from msgspec.structs import replace

from application.event_store.postgres_errors import ClockDiffers
from application.event_store.unit_of_work import UnitOfWork
from application.execute import Executor
from application.request_bodies.board import AgentDraft, AgentPatch, CompanyDraft
from application.request_bodies.endpoints import EndpointPatch
from application.request_bodies.jetty import RunCreate
from application.use_cases import delivery_attempts, endpoints
from application.use_cases.board import agents, companies
from application.use_cases.jetty import trajectories
from domain.delivery.delivery import Answer
from domain.errors import Oversized
from domain.events import AgentHeartbeatStopped, DeliveryDead, EndpointDisabled
from domain.recorded import Unreadable
from processes.delivery import payloads, worker
from processes.delivery.outbound import Client
from processes.delivery.worker import DeliveryWorker
from projections.delivery import delivery_locks, receivers
from routines import bootstrap
from routines.settings import Settings
from tests.processes.delivery.conftest import TASK, DeliveryFixture
from tests.processes.delivery.test_attempts import pending_delivery_of
from tests.running import copied_database

HOOK = "https://example.com/hook"


@pytest.fixture(scope="module")
def shared_fixture(postgres, template, tmp_path_factory):
    """One database for all of these tests; each has a company of its own, and leaves nothing that is due."""
    key_file = str(tmp_path_factory.mktemp("keys") / "secret.keys")
    bootstrap.make_keys(key_file)
    with copied_database(postgres, template) as name:
        settings = Settings(database_url=postgres.url("routines_service", name), key_file=key_file)
        with bootstrap.system(settings) as system:
            yield DeliveryFixture(system)


class Receivers(Client):
    """A client that connects to nobody: answers at once, except the URLs that hang until they are told to go on."""

    def __init__(self):
        self.got = []
        self.statuses = {}  # of the answers of a URL, in order; after them, and for any other URL, 200
        self._hanging = {}

    def hang(self, *urls):
        self._hanging |= {url: asyncio.Event() for url in urls}

    def go_on(self):
        for event in self._hanging.values():
            event.set()

    async def post(self, url, headers, body, *, company_id=None):  # noqa: ARG002 as the client has it
        self.got.append(url)
        if url in self._hanging:
            await self._hanging[url].wait()
        return Answer(status=self.statuses[url].pop(0) if self.statuses.get(url) else 200)


class Looks:
    """A delivery worker that looks when it is told to."""

    def __init__(self, system, conn, locks, read=None):
        self.now = system.clock() + timedelta(hours=1)  # after all that a test does meanwhile
        self.conn, self.locks, self.receivers = conn, locks, Receivers()
        self.executor = Executor(system.store, lambda: self.now, system.vault)
        self.worker = DeliveryWorker(self.executor, read or system.store.after, self.receivers)

    async def look(self):
        """How many attempts are begun."""
        return await self.worker.send_due(self.conn, self.locks)

    async def sent(self, least=0):
        """What has been sent, once all attempts that do not hang have ended; there are `least` at least."""
        async with asyncio.timeout(30):
            while len(self.receivers.got) < least:
                await asyncio.wait(self.worker.tasks, return_when=asyncio.FIRST_COMPLETED, timeout=0.01)
        return self.receivers.got

    async def begin_hanging(self, url):
        """Begin the one attempt that is due, which hangs."""
        self.receivers.hang(url)
        assert 1 == await self.look()
        await self.sent(1)

    async def finish(self):
        """Wait until the attempts under way have ended."""
        self.receivers.go_on()
        if self.worker.tasks:
            await asyncio.wait(self.worker.tasks)

    def pause(self):
        return timedelta(seconds=self.worker.pause_s(self.conn))


@pytest.fixture
def looking(shared_fixture):
    """Runs steps with a worker, a company and perhaps other limits, and has all that is due sent at the end."""
    system, limits = shared_fixture.system, shared_fixture.system.store.limits
    shared_fixture.company = shared_fixture.ask(companies.create, CompanyDraft(name="Acme"))

    @contextmanager
    def connections():
        with bootstrap.connect(system.settings) as conn, bootstrap.connect(system.settings) as locks:
            yield conn, locks

    def run(steps, read=None, **other_limits):
        async def go():
            with connections() as (conn, locks):
                looks = Looks(system, conn, locks, read)
                await steps(looks)
                await looks.finish()
                while await looks.look():
                    await looks.finish()

        system.store.limits = replace(limits, **other_limits)
        asyncio.run(go())

    yield run
    system.store.limits = limits


@pytest.mark.parametrize("ordered", [False, True])
def test_what_another_process_is_sending_is_left_alone_for_a_moment(shared_fixture, looking, ordered):
    endpoint, _ = shared_fixture.endpoint(HOOK, ordered=ordered)
    shared_fixture.issue()
    [pending] = shared_fixture.list_deliveries()
    key, unrelated = (endpoint, pending.id) if ordered else (pending.id, endpoint)

    async def steps(looks):
        with bootstrap.connect(shared_fixture.system.settings) as other:
            assert delivery_locks.hold(other, f"delivery {key}")
            assert delivery_locks.hold(other, f"delivery {unrelated}")
            await looks.look()
            await looks.finish()

            assert (0, worker.TAKEN) == (await looks.look(), looks.pause())
            delivery_locks.release(other, f"delivery {key}")
            looks.now += worker.TAKEN
            assert 1 == await looks.look()
            await looks.finish()
        assert [HOOK] == looks.receivers.got

    looking(steps)


def test_what_is_asked_for_again_in_order_waits_for_the_attempt_of_the_same_process(shared_fixture, looking):
    shared_fixture.endpoint(HOOK, ordered=True)
    shared_fixture.issue()
    [first] = shared_fixture.list_deliveries()

    async def steps(looks):
        assert 1 == await looks.look()
        await looks.finish()
        looks.receivers.hang(HOOK)
        shared_fixture.issue()
        assert 1 == await looks.look()
        await looks.sent(2)
        shared_fixture.ask(endpoints.redeliver, shared_fixture.company, pending_delivery_of(first))
        assert 0 == await looks.look()
        await looks.finish()
        assert 1 == await looks.look()

    looking(steps)


@pytest.fixture
def attempt_under_way(shared_fixture, looking):
    """
    Does something while the first attempt of a delivery is under way.

    Returns the delivery, and where it was sent, when nothing more is due at that moment.
    """

    def run(meanwhile, *statuses):
        endpoint, _ = shared_fixture.endpoint(HOOK)
        shared_fixture.issue()
        [pending] = shared_fixture.list_deliveries()

        async def steps(looks):
            looks.receivers.statuses[HOOK] = list(statuses)
            await looks.begin_hanging(HOOK)
            meanwhile(endpoint, pending)
            assert 0 == await looks.look()
            await looks.finish()
            while await looks.look():
                await looks.finish()
            [delivery] = shared_fixture.list_deliveries()
            result.append((delivery, [*looks.receivers.got]))
            looks.now += timedelta(minutes=1)  # whatever waits for its next attempt is sent after the steps

        result = []
        looking(steps)
        return result[0]

    return run


@pytest.mark.parametrize(
    ("requests", "statuses", "last_statuses"),
    [(1, [200], [200, 200]), (2, [200], [200, 200]), (1, [500], [500, 200]), (1, [200, 410], [200, 410])],
)
def test_what_is_asked_for_again_during_an_attempt_is_sent_once_more_and_both_outcomes_are_shown(
    shared_fixture, attempt_under_way, requests, statuses, last_statuses
):
    def ask_again(_endpoint, pending):
        for _ in range(requests):
            shared_fixture.ask(endpoints.redeliver, shared_fixture.company, pending_delivery_of(pending))

    delivery, received = attempt_under_way(ask_again, *statuses)

    assert [HOOK, HOOK] == received
    assert last_statuses == [attempt.status for attempt in delivery.attempts]
    assert ("dead" if last_statuses[-1] == 410 else "delivered") == delivery.status


def test_what_is_asked_for_several_times_before_its_attempt_begins_is_sent_once(shared_fixture, looking):
    pending = shared_fixture.pending(HOOK)

    async def steps(looks):
        for _ in range(2):
            shared_fixture.ask(endpoints.redeliver, shared_fixture.company, pending_delivery_of(pending))
        assert 1 == await looks.look()
        await looks.finish()
        assert 0 == await looks.look()
        assert [HOOK] == looks.receivers.got

    looking(steps)


def test_a_receiver_that_is_gone_is_sent_nothing_more_though_somebody_asked_during_the_attempt(
    shared_fixture, attempt_under_way
):
    def ask_again(_endpoint, pending):
        shared_fixture.ask(endpoints.redeliver, shared_fixture.company, pending_delivery_of(pending))

    delivery, received = attempt_under_way(ask_again, 410)

    assert ([HOOK], "dead") == (received, delivery.status)
    assert ["The receiver answered 410", "The endpoint is disabled"] == [
        attempt.reason for attempt in delivery.attempts
    ]


def test_an_address_that_is_gone_says_nothing_of_the_one_that_was_given_meanwhile(shared_fixture, attempt_under_way):
    def move(endpoint, _pending):
        patch = EndpointPatch(url="https://example.org/new")
        shared_fixture.ask(endpoints.update, shared_fixture.company, endpoint, patch)
        disabled_before.append(len(shared_fixture.events(EndpointDisabled)))

    disabled_before = []
    delivery, _ = attempt_under_way(move, 410)

    assert disabled_before == [len(shared_fixture.events(EndpointDisabled))]
    assert ("waiting", [410]) == (delivery.status, [attempt.status for attempt in delivery.attempts])
    assert ["delivered"] == [one.status for one in shared_fixture.list_deliveries()]


@pytest.mark.parametrize("change", ["disabled", "deleted", "rotated"])
@pytest.mark.parametrize(("status", "outcome"), [(200, "delivered"), (410, "dead"), (500, "waiting")])
def test_whatever_becomes_of_an_endpoint_the_outcome_of_the_attempt_under_way_is_shown_once(
    shared_fixture, attempt_under_way, change, status, outcome
):
    def change_endpoint(endpoint, _pending):
        company = shared_fixture.company
        match change:
            case "disabled":
                shared_fixture.ask(endpoints.update, company, endpoint, EndpointPatch(enabled=False))
            case "deleted":
                shared_fixture.ask(endpoints.delete, company, endpoint)
            case _:
                shared_fixture.ask(endpoints.rotate, company, endpoint, 0)

    delivery, received = attempt_under_way(change_endpoint, status)

    assert ([HOOK], outcome) == (received, delivery.status)
    assert [status] == [attempt.status for attempt in delivery.attempts]


def test_a_database_that_does_not_say_what_time_it_is_holds_up_no_attempt(shared_fixture, looking):
    pending = shared_fixture.pending(HOOK)
    attempt_ended, in_time = Event(), []

    async def steps(looks):
        await looks.begin_hanging(HOOK)
        tell_time = looks.executor.clock

        def take_long():
            looks.executor.clock = tell_time
            in_time.append(attempt_ended.wait(10))
            return tell_time()

        looks.executor.clock = take_long
        next_look = asyncio.create_task(looks.look())
        await asyncio.sleep(0)
        await looks.finish()
        attempt_ended.set()
        await next_look

    looking(steps)

    assert [True] == in_time
    assert ["delivered"] == [one.status for one in shared_fixture.list_deliveries() if one.id == pending.id]


def test_a_delivery_of_which_the_read_model_knows_less_than_the_log_is_left_alone_for_a_moment(shared_fixture, looking):
    pending = shared_fixture.pending(HOOK)

    async def steps(looks):
        change = "UPDATE letter SET version = version + %s WHERE id = %s"
        looks.conn.execute(change, (1, pending.id))
        assert 1 == await looks.look()
        await looks.finish()

        assert (0, worker.TAKEN) == (await looks.look(), looks.pause())
        looks.conn.execute(change, (-1, pending.id))
        looks.now += worker.TAKEN
        assert 1 == await looks.look()
        await looks.finish()
        assert [HOOK] == looks.receivers.got

    looking(steps)


@pytest.mark.parametrize("error", [psycopg.OperationalError, ClockDiffers])
def test_an_outcome_that_could_not_be_recorded_is_recorded_later_and_nothing_is_sent_again(
    shared_fixture, looking, monkeypatch, error
):
    pending = shared_fixture.pending(HOOK)
    record = delivery_attempts.record

    async def steps(looks):
        monkeypatch.setattr(delivery_attempts, "record", lambda *_: (_ for _ in ()).throw(error("no")))
        for _ in range(3):
            assert 1 == await looks.look()
            await looks.finish()
            looks.now += worker.REST
        monkeypatch.setattr(delivery_attempts, "record", record)
        assert 1 == await looks.look()
        await looks.finish()
        assert [HOOK] == looks.receivers.got

    looking(steps)

    assert ["delivered"] == [one.status for one in shared_fixture.list_deliveries() if one.id == pending.id]


def test_what_a_process_had_sent_when_it_ended_is_sent_by_another_and_has_one_outcome(shared_fixture, looking):
    pending = shared_fixture.pending(HOOK)

    async def steps(looks):
        await looks.begin_hanging(HOOK)
        [task] = looks.worker.tasks
        task.cancel()
        await asyncio.wait([task])
        other = Looks(shared_fixture.system, looks.conn, looks.locks)
        assert 1 == await other.look()
        await other.finish()
        assert [HOOK] == other.receivers.got

    looking(steps)

    [shown] = shared_fixture.list_deliveries()
    assert (pending.id, "delivered", 1) == (shown.id, shown.status, len(shown.attempts))


def test_an_attempt_that_outlasts_an_outage_is_recorded_and_is_no_outage_itself(shared_fixture, looking):
    pending = shared_fixture.pending(HOOK)

    async def steps(looks):
        await looks.begin_hanging(HOOK)
        looks.locks.close()
        await looks.finish()
        assert [None] == [task.exception() for task in looks.worker.tasks]

    looking(steps)

    assert ["delivered"] == [one.status for one in shared_fixture.list_deliveries() if one.id == pending.id]


def test_a_delivery_that_fails_by_an_error_of_our_own_is_left_alone_for_a_while_and_holds_up_no_other(
    shared_fixture, looking, monkeypatch
):
    shared_fixture.endpoint(HOOK)
    shared_fixture.issue("broken")
    compose = payloads.compose
    monkeypatch.setattr(payloads, "compose", lambda *_: 1 / 0)

    async def steps(looks):
        assert 1 == await looks.look()
        await looks.finish()
        monkeypatch.setattr(payloads, "compose", compose)
        shared_fixture.issue("sound")

        assert 1 == await looks.look()
        await looks.finish()
        looks.now += worker.REST - timedelta(seconds=1)
        assert (0, timedelta(seconds=1)) == (await looks.look(), looks.pause())
        looks.now += timedelta(seconds=1)
        assert 1 == await looks.look()
        await looks.finish()
        assert [HOOK, HOOK] == looks.receivers.got

    looking(steps)


def test_what_can_never_be_sent_is_given_up_with_the_reason(shared_fixture, looking, monkeypatch):
    shared_fixture.endpoint(HOOK)
    after, before = shared_fixture.system.store.after, len(shared_fixture.events(DeliveryDead))

    def read(position, most):
        events = after(position, most)
        return (
            [replace(events[0], event=Unreadable(name="issue.opened", reason="ValidationError"))]
            if most == 1
            else events
        )

    async def steps(looks):
        await looks.look()
        await looks.finish()
        assert [] == looks.receivers.got

    shared_fixture.issue()
    looking(steps, read)
    monkeypatch.setattr(payloads, "compose", lambda *_: (_ for _ in ()).throw(Oversized("It is too large")))
    shared_fixture.issue()
    looking(steps)

    reasons = [event.reason for event in shared_fixture.events(DeliveryDead)[before:]]
    assert ["The event cannot be read by this version of the service", "It is too large"] == reasons


def test_a_receiver_gets_so_many_at_once_those_under_way_included(shared_fixture, looking):
    shared_fixture.endpoint(HOOK)
    shared_fixture.issue()

    async def steps(looks):
        await looks.begin_hanging(HOOK)
        shared_fixture.issues(3)
        assert 1 == await looks.look()
        await looks.sent(2)
        assert 0 == await looks.look()
        await looks.finish()
        assert 2 == await looks.look()

    looking(steps, max_receiver_deliveries_at_once=2)


def test_a_host_that_hangs_does_not_hold_up_callbacks_to_another_of_the_same_partition(shared_fixture, looking):
    shared_fixture.task()
    hosts = [f"h{number}.example" for number in range(200)]
    hanging, *others = sorted(hosts, key=lambda host: crc32(host.encode()) % receivers.CALLBACK_PARTITIONS)
    other = next(
        host for host in others if (crc32(host.encode()) - crc32(hanging.encode())) % receivers.CALLBACK_PARTITIONS == 0
    )

    def call(host):
        shared_fixture.ask(trajectories.run, TASK, RunCreate(webhook_url=f"https://{host}/"))

    async def steps(looks):
        looks.receivers.hang(f"https://{hanging}/")
        call(hanging)
        assert 1 == await looks.look()
        await looks.sent(1)
        call(other)
        assert 1 == await looks.look()
        assert f"https://{other}/" in await looks.sent(2)

    looking(steps, max_host_deliveries_at_once=1)


@pytest.mark.usefixtures("looking")
def test_whoever_is_gone_disabled_or_wants_to_hear_nothing_any_more_is_told_nothing(shared_fixture):
    deleted, disabled, gone = (shared_fixture.endpoint(HOOK)[0] for _ in range(3))
    draft = AgentDraft(name="Scout", heartbeat_url=HOOK)
    silent, stopped = (shared_fixture.ask(agents.create, shared_fixture.company, draft).agent_id for _ in range(2))
    shared_fixture.ask(endpoints.delete, shared_fixture.company, deleted)
    shared_fixture.ask(endpoints.update, shared_fixture.company, disabled, EndpointPatch(enabled=False))
    shared_fixture.ask(agents.update, silent, AgentPatch(heartbeat_url=None))
    for stream_id, event in ((gone, EndpointDisabled(reason="gone")), (stopped, AgentHeartbeatStopped(reason="gone"))):
        shared_fixture.system.executor.attempt(partial(UnitOfWork.record, stream_id=stream_id, events=[event]))

    for agent in (silent, stopped):
        shared_fixture.issue(assignee_agent_id=agent)

    assert [] == shared_fixture.list_deliveries()


def test_a_worker_that_has_not_read_the_whole_log_looks_again_at_once(shared_fixture, looking, monkeypatch):
    monkeypatch.setattr(worker, "SLICE_S", 0.0)
    shared_fixture.issue()

    async def steps(looks):
        await looks.look()
        assert timedelta() == looks.pause()
        for _ in range(5):  # what the attempts record is read, too
            await looks.finish()
            await looks.look()
        assert timedelta() < looks.pause()

    looking(steps)
