"""What leaves the system: at least once, in order where asked for, on the record; and one that is slow delays nobody."""

import hashlib
import hmac
import socket
import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from msgspec.structs import replace
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from application.access import Caller
from application.request_bodies.board import AgentDraft, CompanyDraft
from application.request_bodies.endpoints import EndpointDraft, EndpointPatch
from application.request_bodies.issues import IssueDraft
from application.request_bodies.jetty import (
    CadenceConfig,
    CollectionCreate,
    RoutineChange,
    RoutineCreate,
    RunCreate,
    TaskCreate,
)
from application.use_cases import endpoints
from application.use_cases.board import agents, companies, issues, keys
from application.use_cases.jetty import collections, task_routines, tasks, trajectories
from application.use_cases.names import RoutinePath, TaskPath
from domain.delivery import retry
from domain.delivery.delivery import PendingDelivery
from domain.events import DeliveryEvent, DeliveryFailed, EndpointDisabled, TrajectoryOpened, stored_name
from domain.values import Callback
from processes.delivery import worker
from processes.delivery.outbound import PRIVATE, Client
from processes.follower import Follower
from projections.delivery import delivery_history, pending_deliveries, receivers
from projections.delivery.deliveries import deliveries
from projections.engine import positions
from routines import bootstrap
from tests.processes.due import NOON
from tests.rebuilding import rebuild_outdated
from tests.waiting import wait_for
from verification.faults.receiver import Receiver, slow

ECHO = {
    "init_params": {"text": "hello"},
    "step_configs": {"say": {"activity": "text_echo", "text_path": "init_params.text"}},
    "steps": ["say"],
}
TASK = TaskPath(collection="my-org", task="say")


class DeliveryFixture:
    """A company and the things in it that tell others; each method is one use case of its owner."""

    def __init__(self, system):
        self.system = system
        self.caller = Caller(token=system.executor.attempt(keys.mint_first).result.token)
        self.company = self.ask(companies.create, CompanyDraft(name="Acme"))

    def ask(self, use_case, *args):
        return self.system.executor.execute(self.caller, use_case, *args).result

    def endpoint(self, url, events=("issue.opened",), company=None, **fields):
        """Its id and secret."""
        minted = self.ask(endpoints.create, company or self.company, EndpointDraft(url=url, events=events, **fields))
        return minted.endpoint_id, minted.secret

    def issue(self, title="Look", company=None, **fields):
        return self.ask(issues.create, company or self.company, IssueDraft(title=title, **fields))

    def limit(self, **fields):
        """Other limits than usual, for what is started from here on."""
        self.system.store.limits = replace(self.system.store.limits, **fields)

    def task(self, workflow=ECHO):
        """The task TASK, in a company of its own."""
        company = self.ask(collections.create, CollectionCreate(name="my-org"))
        self.ask(tasks.create, "my-org", TaskCreate(name="say", workflow=workflow))
        return company

    def events(self, kind):
        return [one.event for one in self.system.store.history() if isinstance(one.event, kind)]

    def outcomes(self):
        """The stored names of what became of deliveries, in order."""
        return [stored_name(event) for event in self.events(DeliveryEvent)]

    def shown(self, company=None, **filters):
        with self.system.pool.connection() as conn:
            while positions.advance(conn, [deliveries], self.system.store.after):
                pass
            return delivery_history.of_company(conn, company or self.company, 100, **filters)


@pytest.fixture
def world(settings, tmp_path):
    key_file = str(tmp_path / "secret.keys")
    bootstrap.make_keys(key_file)
    with bootstrap.system(replace(settings, key_file=key_file)) as system:
        yield DeliveryFixture(system)


@pytest.fixture
def sending(world, in_thread):
    """Starts a delivery process in a thread."""

    def start(*, allow_private=True, limit_s=10.0):
        limits = world.system.store.limits
        client = Client(world.system.clock, allow_private=allow_private, limit_s=limit_s, limits=limits)
        delivery_worker = worker.DeliveryWorker(world.system.executor, world.system.store.after, client)
        return in_thread(worker.run, delivery_worker, client, lambda: bootstrap.connect(world.system.settings))

    return start


@pytest.fixture
def soon(monkeypatch):
    """Pauses between attempts are short."""
    monkeypatch.setattr(retry, "PAUSES_S", (0.02,) * 12)


def test_an_event_is_told_to_who_subscribes_to_it_signed_by_the_standard(world, sending):
    with Receiver() as receiver:
        _, secret = world.endpoint(receiver.url)
        world.endpoint(receiver.url + "/other", events=("goal.*",))
        issue = world.issue()
        sending()
        wait_for(lambda: world.outcomes() == ["delivery.delivered"])

    [got] = receiver.got
    assert Webhook(secret).verify(got.body, dict(got.headers))
    assert got.path == "/in"
    assert got.json["type"] == "issue.opened"
    assert got.json["data"]["streamId"] == str(issue)
    assert got.json["data"]["event"]["details"]["title"] == "Look"


def test_what_is_due_is_sent_though_the_log_grows_faster_than_it_is_followed(world, sending, monkeypatch):
    monkeypatch.setattr(worker, "SLICE_S", 0.05)
    follow = Follower.try_step
    monkeypatch.setattr(Follower, "try_step", lambda follower, conn: max(follow(follower, conn), 1))
    with Receiver() as receiver:
        world.endpoint(receiver.url)
        world.issue()
        sending()
        wait_for(lambda: world.outcomes() == ["delivery.delivered"])


def test_nothing_is_sent_until_read_models_of_another_version_are_rebuilt(world, sending, monkeypatch):
    monkeypatch.setattr(worker, "TROUBLE_S", 0.01)
    with Receiver() as receiver, bootstrap.connect(world.system.settings) as conn, capture_logs() as lines:
        world.endpoint(receiver.url)
        world.issue()
        conn.execute("UPDATE positions SET shape = 'other.1' WHERE name = 'deliveries'")
        sending()
        wait_for(lambda: [line for line in lines if line["event"] == "read_models_outdated"])
        assert world.outcomes() == []
        rebuild_outdated(conn, [deliveries], world.system.store.after)
        wait_for(lambda: world.outcomes() == ["delivery.delivered"])

    assert len(receiver.got) == 1


def test_it_is_tried_again_under_the_same_id_with_the_same_body_until_it_arrives(world, sending, soon):
    with Receiver(lambda _got, before: (None, 500, 302)[before] if before < 3 else 200) as receiver:
        world.endpoint(receiver.url)
        world.issue()
        sending()
        wait_for(lambda: "delivery.delivered" in world.outcomes())

    assert world.outcomes() == ["delivery.failed"] * 3 + ["delivery.delivered"]
    assert len({got.id for got in receiver.got}) == len({got.body for got in receiver.got}) == 1
    [shown] = world.shown()
    assert (shown.status, [one.status for one in shown.attempts]) == ("delivered", [None, 500, 302, 200])
    assert shown.message_id == receiver.got[0].id


def test_it_is_given_up_in_the_end_and_can_be_asked_for_again(world, sending, soon):
    with Receiver(lambda _got, before: 500 if before < retry.MOST_ATTEMPTS else 200) as receiver:
        world.endpoint(receiver.url)
        world.issue()
        sending()
        wait_for(lambda: "delivery.dead" in world.outcomes())
        [dead] = world.shown(status="dead")
        world.ask(endpoints.redeliver, world.company, letter_of(dead))
        wait_for(lambda: "delivery.delivered" in world.outcomes())

    assert len(receiver.got) == retry.MOST_ATTEMPTS + 1
    assert len({got.id for got in receiver.got}) == 1
    assert world.shown(status="dead") == []


def letter_of(shown):
    return PendingDelivery(
        id=shown.id,
        version=0,
        kind=shown.kind,
        target_id=shown.target_id,
        partition_key=shown.target_id,
        ordered=False,
        company_id=shown.company_id,
        position=shown.event_position,
        attempts=0,
    )


def test_retry_after_is_heeded(world, sending):
    with Receiver(lambda _got, _before: 503) as receiver:
        receiver.headers = {"Retry-After": "3600"}
        world.endpoint(receiver.url)
        world.issue()
        sending()
        [failed] = wait_for(lambda: world.events(DeliveryFailed))

    assert timedelta(minutes=59) < failed.next_at - world.system.clock() <= timedelta(hours=1)


def test_410_disables_the_endpoint_and_nothing_more_is_sent(world, sending):
    with Receiver(lambda _got, _before: 410) as receiver:
        world.endpoint(receiver.url)
        world.issue()
        sending()
        wait_for(lambda: world.events(EndpointDisabled))
        world.issue("More")
        assert [one.status for one in world.shown()] == ["dead"]

    assert len(receiver.got) == 1


def test_410_stops_the_heartbeats_of_an_agent(world, sending):
    with Receiver(lambda _got, _before: 410) as receiver:
        agent = world.ask(agents.create, world.company, AgentDraft(name="Scout", heartbeat_url=receiver.url)).agent_id
        world.issue(assignee_agent_id=agent)
        sending()
        wait_for(lambda: world.outcomes() == ["delivery.dead"])
        world.issue(assignee_agent_id=agent)

        assert [one.kind for one in world.shown()] == ["heartbeat"]


def test_what_is_sent_in_order_waits_for_the_one_before(world, sending, soon):
    def stumbling(got, before):
        return 500 if got.json["data"]["event"]["details"]["title"] == "0" and before < 2 else 200

    with Receiver(stumbling) as receiver:
        world.endpoint(receiver.url, ordered=True)
        for number in range(12):
            world.issue(str(number))
        sending()
        sending()
        wait_for(lambda: len(receiver.good) == 12)

    titles = [got.json["data"]["event"]["details"]["title"] for got in receiver.got]
    assert titles == ["0", "0", *map(str, range(12))]


def test_without_an_order_one_that_fails_holds_up_no_other(world, sending):
    with Receiver(lambda got, _before: 500 if b'"title":"0"' in got.body else 200) as receiver:
        world.endpoint(receiver.url)
        for number in range(12):
            world.issue(str(number))
        sending()
        wait_for(lambda: len(receiver.good) == 11)


def test_two_processes_send_each_letter_once(world, sending):
    with Receiver() as receiver:
        world.endpoint(receiver.url)
        for number in range(60):
            world.issue(str(number))
        sending()
        sending()
        wait_for(lambda: len(world.outcomes()) == 60)

    assert len(receiver.got) == len({got.id for got in receiver.got}) == 60


def test_a_receiver_that_is_slow_delays_nobody_else(world, sending):
    done = threading.Event()
    with Receiver(lambda _got, _before: done.wait(20) and 200) as late, Receiver() as quick:
        world.endpoint(late.url)
        world.endpoint(quick.url)
        for number in range(40):
            world.issue(str(number))
        sending()
        wait_for(lambda: len(quick.good) == 40)
        assert late.good == []
        done.set()
        wait_for(lambda: len(world.outcomes()) == 80)


def test_whoever_answers_too_late_is_tried_again(world, sending):
    with Receiver(slow(1.0)) as receiver:
        world.endpoint(receiver.url)
        world.issue()
        sending(limit_s=0.2)
        [failed] = wait_for(lambda: world.events(DeliveryFailed))

    assert (failed.status, failed.reason) == (None, "No answer within 0.2 s")


def test_a_private_address_is_not_connected_to_and_the_record_says_why(world, sending):
    with Receiver() as receiver:
        world.endpoint(receiver.url)
        world.issue()
        sending(allow_private=False)
        [failed] = wait_for(lambda: world.events(DeliveryFailed))

    assert (failed.status, failed.reason) == (None, PRIVATE)
    assert receiver.got == []


def test_while_a_rotation_overlaps_either_secret_proves_who_sent_it(world, sending):
    with Receiver() as receiver:
        endpoint, old = world.endpoint(receiver.url)
        new = world.ask(endpoints.rotate, world.company, endpoint, 60).secret
        world.issue()
        sending()
        [got] = wait_for(lambda: receiver.good)

    for secret in (old, new):
        Webhook(secret).verify(got.body, dict(got.headers))


def test_without_an_overlap_the_old_secret_signs_nothing(world, sending):
    with Receiver() as receiver:
        endpoint, old = world.endpoint(receiver.url)
        world.ask(endpoints.rotate, world.company, endpoint, 0)
        world.issue()
        sending()
        [got] = wait_for(lambda: receiver.good)

    with pytest.raises(Exception, match="No matching signature"):
        Webhook(old).verify(got.body, dict(got.headers))


def test_a_test_message_goes_to_its_endpoint_whatever_that_subscribes_to(world, sending):
    with Receiver() as receiver, Receiver() as other:
        endpoint, _ = world.endpoint(receiver.url, events=("goal.*",))
        world.endpoint(other.url, events=("goal.*",))
        world.ask(endpoints.test, world.company, endpoint)
        sending()
        [got] = wait_for(lambda: receiver.good)

    assert got.json["type"] == "endpoint.tested"
    assert other.got == []


def test_what_is_on_its_way_to_a_deleted_or_disabled_endpoint_is_given_up(world, sending):
    with Receiver() as receiver:
        deleted, disabled = (world.endpoint(receiver.url)[0] for _ in range(2))
        world.issue()
        world.shown()
        world.ask(endpoints.delete, world.company, deleted)
        world.ask(endpoints.update, world.company, disabled, EndpointPatch(enabled=False))
        sending()
        wait_for(lambda: world.outcomes() == ["delivery.dead"] * 2)

    assert receiver.got == []
    reasons = {one.attempts[0].reason for one in world.shown()}
    assert reasons == {"There is no receiver any more", "The endpoint is disabled"}


def test_an_agent_hears_of_an_issue_that_is_opened_for_it(world, sending):
    with Receiver() as receiver:
        agent = world.ask(agents.create, world.company, AgentDraft(name="Scout", heartbeat_url=receiver.url))
        issue = world.issue(assignee_agent_id=agent.agent_id)
        world.issue("for nobody")
        sending()
        [got] = wait_for(lambda: receiver.good)
        wait_for(lambda: world.outcomes() == ["delivery.delivered"])

    assert Webhook(agent.heartbeat_secret).verify(got.body, dict(got.headers))
    assert got.json["type"] == "issue.opened"
    assert (got.json["data"]["issueId"], got.json["data"]["agentId"]) == (str(issue), str(agent.agent_id))


def test_the_end_of_a_trajectory_is_told_with_the_headers_of_the_contract(world, sending):
    world.task()
    with Receiver() as receiver:
        request = RunCreate(init_params={"text": "hi"}, webhook_url=receiver.url, webhook_secret="shh")
        world.ask(trajectories.run, TASK, request)
        sending()
        [got] = wait_for(lambda: receiver.good)

    sent = got.headers["x-mise-timestamp"]
    text = f"{sent}.".encode() + got.body
    assert got.headers["x-mise-signature"] == hmac.new(b"shh", text, hashlib.sha256).hexdigest()
    number = next(one.position for one in world.system.store.history() if isinstance(one.event, TrajectoryOpened))
    assert got.headers["x-mise-trajectory-id"] == str(number)
    assert (got.json["trajectory_id"], got.json["workflow_id"]) == (number, f"flow-my-org-say--{number}")
    assert got.headers["content-type"] == "application/json"
    assert (got.json["status"], got.json["name"]) == ("completed", "my-org/say")
    assert got.json["steps"]["say"]["outputs"] == {"text": "hi"}
    assert (got.json["total_steps"], got.json["completed_steps"]) == (["say"], ["say"])
    assert got.json["init_params"] == {"text": "hi"}


def test_without_a_secret_a_callback_has_no_signature(world, sending):
    world.task()
    with Receiver() as receiver:
        world.ask(trajectories.run, TASK, RunCreate(webhook_url=receiver.url))
        sending()
        [got] = wait_for(lambda: receiver.good)

    assert "x-mise-signature" not in got.headers
    assert "x-mise-timestamp" in got.headers


def test_cancelled_and_archived_trajectories_are_told_to_nobody(world):
    company = world.task({"steps": []})
    request = RunCreate(webhook_url="https://example.com/")
    ends = ("cancelled", "archived", "completed", "failed")
    opened = [world.ask(trajectories.run, TASK, request) for _ in ends]
    world.ask(trajectories.set_statuses, TASK, dict(zip(opened, ends, strict=True)))

    assert {one.target_id for one in world.shown(company)} == set(opened[2:])


def test_a_routines_callback_is_signed_with_the_secret_that_it_has_now(world, sending):
    world.task()
    with Receiver() as receiver:
        draft = RoutineCreate(
            name="r",
            cadence=CadenceConfig(type="manual"),
            webhook_url=receiver.url,
            webhook_secret="old",
        )
        world.ask(task_routines.create, TASK, draft)
        path = RoutinePath(collection="my-org", task="say", name="r")
        world.ask(task_routines.run_now, path)
        world.ask(task_routines.update, path, RoutineChange(webhook_secret="new"))
        sending()
        [got] = wait_for(lambda: receiver.good)

    text = f"{got.headers['x-mise-timestamp']}.".encode() + got.body
    assert got.headers["x-mise-signature"] == hmac.new(b"new", text, hashlib.sha256).hexdigest()


def test_a_process_that_is_told_to_stop_finishes_what_is_on_its_way(world, sending):
    with Receiver(slow(0.5)) as receiver:
        world.endpoint(receiver.url)
        world.issue()
        thread, stop = sending()
        wait_for(lambda: receiver.got)
        stop.set()
        thread.join()

    assert world.outcomes() == ["delivery.delivered"]


@pytest.fixture
def hanging(monkeypatch):
    """Names of hang.example are not answered until the end of the test; any other leads here."""
    over, asked = threading.Event(), []

    def getaddrinfo(host, port, **_):
        if host.endswith("hang.example"):
            asked.append(host)
            over.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    over.set()


def test_names_that_are_not_answered_delay_no_other_company(world, sending, hanging):
    neighbour = world.ask(companies.create, CompanyDraft(name="Neighbour"))
    with Receiver() as receiver:
        for number in range(12):
            world.endpoint(f"https://a{number}.hang.example/")
        world.endpoint(receiver.url.replace("127.0.0.1", "quick.example"), company=neighbour)
        for number in range(20):
            world.issue(str(number))
        sending()
        wait_for(lambda: len(hanging) == 8)
        for number in range(20):
            world.issue(str(number), company=neighbour)
        wait_for(lambda: len(receiver.good) == 20)

        assert len(hanging) == 8  # none of them has been answered
        [failed, *_] = wait_for(lambda: world.events(DeliveryFailed))
    assert failed.reason == "The name of the host cannot be resolved in time"


def test_a_process_ends_although_names_are_not_answered(world, sending, hanging):
    world.limit(lookup_limit_s=0.2)
    world.endpoint("https://a.hang.example/")
    world.issue()
    thread, stop = sending()
    wait_for(lambda: hanging)

    stop.set()
    thread.join(30)

    assert not thread.is_alive()


def test_receivers_that_hang_leave_places_for_other_companies(world, sending):
    world.limit(max_deliveries_at_once=16, max_host_deliveries_at_once=100)
    neighbour = world.ask(companies.create, CompanyDraft(name="Neighbour"))
    done = threading.Event()
    with Receiver(lambda _got, _before: done.wait(30) and 200) as late, Receiver() as quick:
        for number in range(6):
            world.endpoint(f"{late.url}/{number}")
        world.endpoint(quick.url, company=neighbour)
        for number in range(8):
            world.issue(str(number))
        sending()
        wait_for(lambda: len(late.got) == 8)
        for number in range(30):
            world.issue(str(number), company=neighbour)
        wait_for(lambda: len(quick.good) == 30)

        assert len(late.got) == 8  # half of the places
        done.set()
        wait_for(lambda: len(late.good) == 48)


def test_whose_receivers_fail_too_often_is_slowed_down_and_those_that_answer_are_not(world, sending):
    world.limit(max_company_failed_attempts_per_minute=10)
    with Receiver(lambda _got, _before: 500) as failing, Receiver() as answering:
        world.endpoint(failing.url)
        world.endpoint(answering.url)
        for number in range(60):
            world.issue(str(number))
        sending()
        wait_for(lambda: 60 == len(answering.got))

        assert len(failing.got) < 10 + 2 * world.system.store.limits.max_receiver_deliveries_at_once


def test_a_host_that_hangs_leaves_places_for_others_of_its_company(world, sending):
    world.limit(max_deliveries_at_once=24, max_host_deliveries_at_once=3)
    done = threading.Event()
    with Receiver(lambda _got, _before: done.wait(30) and 200) as late, Receiver() as quick:
        for number in range(4):
            world.endpoint(f"{late.url}/{number}")
        world.endpoint(quick.url.replace("127.0.0.1", "localhost"))
        for number in range(10):
            world.issue(str(number))
        sending()
        wait_for(lambda: len(quick.good) == 10)

        assert len(late.got) == 3
        done.set()
        wait_for(lambda: len(late.good) == 40)


def test_bodies_on_their_way_are_bounded_by_their_bytes(world, sending):
    world.limit(max_delivery_bytes_at_once=8 * 1024)
    lock, now, most = threading.Lock(), [0], [0]

    def answer(got, _before):
        with lock:
            now[0] += len(got.body)
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.02)
        with lock:
            now[0] -= len(got.body)
        return 200

    with Receiver(answer) as receiver:
        for number in range(4):
            world.endpoint(f"{receiver.url}/{number}")
        for _ in range(6):
            world.issue("x" * 200, description="y" * 1_000)
        sending()
        wait_for(lambda: len(receiver.good) == 24)
        wait_for(lambda: len(world.outcomes()) == 24)

    assert 1_200 < most[0] <= 8 * 1024
    assert world.outcomes() == ["delivery.delivered"] * 24


def test_what_waits_for_one_company_does_not_hide_what_waits_for_another(world):
    neighbour = world.ask(companies.create, CompanyDraft(name="Neighbour"))
    for number in range(3):
        world.endpoint(f"https://example.com/{number}")
    world.endpoint("https://example.org/", company=neighbour)
    for number in range(8):
        world.issue(str(number))
    world.issue(company=neighbour)
    world.shown()

    with world.system.pool.connection() as conn:
        now = world.system.clock()
        due = pending_deliveries.due(conn, now, of_lane=8, limit=4)
        rest = pending_deliveries.due(
            conn,
            now,
            of_lane=8,
            limit=100,
            without=[due[0].id],
            without_lanes=[due[1].partition_key, due[2].partition_key],
        )

    assert [pending.company_id == neighbour for pending in due].count(True) == 1
    assert due[0].id not in {pending.id for pending in rest}
    assert {due[1].partition_key, due[2].partition_key}.isdisjoint({pending.partition_key for pending in rest})


def test_callbacks_of_two_companies_to_one_address_do_not_wait_for_each_other(world):
    world.task()
    other = world.ask(collections.create, CollectionCreate(name="other"))
    world.ask(tasks.create, "other", TaskCreate(name="say", workflow=ECHO))
    for path in (TASK, TASK, TaskPath(collection="other", task="say")):
        world.ask(trajectories.run, path, RunCreate(webhook_url="https://example.com/"))
    world.shown()

    with world.system.pool.connection() as conn:
        due = pending_deliveries.due(conn, world.system.clock(), of_lane=8, limit=100)

    assert len({pending.partition_key for pending in due if pending.company_id != other}) == 1
    assert len({pending.partition_key for pending in due}) == 2


def test_callbacks_to_however_many_hosts_have_a_bounded_number_of_partitions():
    company, other = uuid4(), uuid4()
    urls = [f"https://h{number}.example/{number}" for number in range(1_000)]
    partitions = {receivers.callback_partition(company, Callback(url=url)) for url in urls}

    assert 32 < len(partitions) <= receivers.CALLBACK_PARTITIONS
    assert partitions.isdisjoint({receivers.callback_partition(other, Callback(url=url)) for url in urls})
    assert (
        len({receivers.callback_partition(company, Callback(url=f"https://h.example/{number}")) for number in range(9)})
        == 1
    )


def test_no_wait_is_prolonged_when_the_clock_is_set_back():
    waits = {uuid4(): NOON + timedelta(seconds=3), uuid4(): NOON + timedelta(hours=3), uuid4(): NOON}

    assert list(waits)[:1] == list(worker._still(waits, NOON, worker.REST))
