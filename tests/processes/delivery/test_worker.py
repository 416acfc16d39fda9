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
def delivery_fixture(settings, tmp_path):
    key_file = str(tmp_path / "secret.keys")
    bootstrap.make_keys(key_file)
    with bootstrap.system(replace(settings, key_file=key_file)) as system:
        yield DeliveryFixture(system)


@pytest.fixture
def start_delivery(delivery_fixture, in_thread):
    """Starts a delivery process in a thread."""

    def start(*, allow_private=True, limit_s=10.0):
        limits = delivery_fixture.system.store.limits
        client = Client(delivery_fixture.system.clock, allow_private=allow_private, limit_s=limit_s, limits=limits)
        delivery_worker = worker.DeliveryWorker(
            delivery_fixture.system.executor, delivery_fixture.system.store.after, client
        )
        return in_thread(
            worker.run, delivery_worker, client, lambda: bootstrap.connect(delivery_fixture.system.settings)
        )

    return start


@pytest.fixture
def short_pauses(monkeypatch):
    """Pauses between attempts are short."""
    monkeypatch.setattr(retry, "PAUSES_S", (0.02,) * 12)


def test_an_event_is_told_to_who_subscribes_to_it_signed_by_the_standard(delivery_fixture, start_delivery):
    with Receiver() as receiver:
        _, secret = delivery_fixture.endpoint(receiver.url)
        delivery_fixture.endpoint(receiver.url + "/other", events=("goal.*",))
        issue = delivery_fixture.issue()
        start_delivery()
        wait_for(lambda: delivery_fixture.outcomes() == ["delivery.delivered"])

    [got] = receiver.got
    assert Webhook(secret).verify(got.body, dict(got.headers))
    assert got.path == "/in"
    assert got.json["type"] == "issue.opened"
    assert got.json["data"]["streamId"] == str(issue)
    assert got.json["data"]["event"]["details"]["title"] == "Look"


def test_what_is_due_is_sent_though_the_log_grows_faster_than_it_is_followed(
    delivery_fixture, start_delivery, monkeypatch
):
    monkeypatch.setattr(worker, "SLICE_S", 0.05)
    follow = Follower.try_step
    monkeypatch.setattr(Follower, "try_step", lambda follower, conn: max(follow(follower, conn), 1))
    with Receiver() as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        start_delivery()
        wait_for(lambda: delivery_fixture.outcomes() == ["delivery.delivered"])


def test_nothing_is_sent_until_read_models_of_another_version_are_rebuilt(
    delivery_fixture, start_delivery, monkeypatch
):
    monkeypatch.setattr(worker, "TROUBLE_S", 0.01)
    with Receiver() as receiver, bootstrap.connect(delivery_fixture.system.settings) as conn, capture_logs() as lines:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        conn.execute("UPDATE positions SET shape = 'other.1' WHERE name = 'deliveries'")
        start_delivery()
        wait_for(lambda: [line for line in lines if line["event"] == "read_models_outdated"])
        assert delivery_fixture.outcomes() == []
        rebuild_outdated(conn, [deliveries], delivery_fixture.system.store.after)
        wait_for(lambda: delivery_fixture.outcomes() == ["delivery.delivered"])

    assert len(receiver.got) == 1


def test_it_is_tried_again_under_the_same_id_with_the_same_body_until_it_arrives(
    delivery_fixture, start_delivery, short_pauses
):
    with Receiver(lambda _got, before: (None, 500, 302)[before] if before < 3 else 200) as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        start_delivery()
        wait_for(lambda: "delivery.delivered" in delivery_fixture.outcomes())

    assert delivery_fixture.outcomes() == ["delivery.failed"] * 3 + ["delivery.delivered"]
    assert len({got.id for got in receiver.got}) == len({got.body for got in receiver.got}) == 1
    [shown] = delivery_fixture.shown()
    assert (shown.status, [one.status for one in shown.attempts]) == ("delivered", [None, 500, 302, 200])
    assert shown.message_id == receiver.got[0].id


def test_it_is_given_up_in_the_end_and_can_be_asked_for_again(delivery_fixture, start_delivery, short_pauses):
    with Receiver(lambda _got, before: 500 if before < retry.MOST_ATTEMPTS else 200) as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        start_delivery()
        wait_for(lambda: "delivery.dead" in delivery_fixture.outcomes())
        [dead] = delivery_fixture.shown(status="dead")
        delivery_fixture.ask(endpoints.redeliver, delivery_fixture.company, letter_of(dead))
        wait_for(lambda: "delivery.delivered" in delivery_fixture.outcomes())

    assert len(receiver.got) == retry.MOST_ATTEMPTS + 1
    assert len({got.id for got in receiver.got}) == 1
    assert delivery_fixture.shown(status="dead") == []


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


def test_retry_after_is_heeded(delivery_fixture, start_delivery):
    with Receiver(lambda _got, _before: 503) as receiver:
        receiver.headers = {"Retry-After": "3600"}
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        start_delivery()
        [failed] = wait_for(lambda: delivery_fixture.events(DeliveryFailed))

    assert timedelta(minutes=59) < failed.next_at - delivery_fixture.system.clock() <= timedelta(hours=1)


def test_410_disables_the_endpoint_and_nothing_more_is_sent(delivery_fixture, start_delivery):
    with Receiver(lambda _got, _before: 410) as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        start_delivery()
        wait_for(lambda: delivery_fixture.events(EndpointDisabled))
        delivery_fixture.issue("More")
        assert [one.status for one in delivery_fixture.shown()] == ["dead"]

    assert len(receiver.got) == 1


def test_410_stops_the_heartbeats_of_an_agent(delivery_fixture, start_delivery):
    with Receiver(lambda _got, _before: 410) as receiver:
        agent = delivery_fixture.ask(
            agents.create, delivery_fixture.company, AgentDraft(name="Scout", heartbeat_url=receiver.url)
        ).agent_id
        delivery_fixture.issue(assignee_agent_id=agent)
        start_delivery()
        wait_for(lambda: delivery_fixture.outcomes() == ["delivery.dead"])
        delivery_fixture.issue(assignee_agent_id=agent)

        assert [one.kind for one in delivery_fixture.shown()] == ["heartbeat"]


def test_what_is_sent_in_order_waits_for_the_one_before(delivery_fixture, start_delivery, short_pauses):
    def stumbling(got, before):
        return 500 if got.json["data"]["event"]["details"]["title"] == "0" and before < 2 else 200

    with Receiver(stumbling) as receiver:
        delivery_fixture.endpoint(receiver.url, ordered=True)
        for number in range(12):
            delivery_fixture.issue(str(number))
        start_delivery()
        start_delivery()
        wait_for(lambda: len(receiver.good) == 12)

    titles = [got.json["data"]["event"]["details"]["title"] for got in receiver.got]
    assert titles == ["0", "0", *map(str, range(12))]


def test_without_an_order_one_that_fails_holds_up_no_other(delivery_fixture, start_delivery):
    with Receiver(lambda got, _before: 500 if b'"title":"0"' in got.body else 200) as receiver:
        delivery_fixture.endpoint(receiver.url)
        for number in range(12):
            delivery_fixture.issue(str(number))
        start_delivery()
        wait_for(lambda: len(receiver.good) == 11)


def test_two_processes_send_each_letter_once(delivery_fixture, start_delivery):
    with Receiver() as receiver:
        delivery_fixture.endpoint(receiver.url)
        for number in range(60):
            delivery_fixture.issue(str(number))
        start_delivery()
        start_delivery()
        wait_for(lambda: len(delivery_fixture.outcomes()) == 60)

    assert len(receiver.got) == len({got.id for got in receiver.got}) == 60


def test_a_receiver_that_is_slow_delays_nobody_else(delivery_fixture, start_delivery):
    done = threading.Event()
    with Receiver(lambda _got, _before: done.wait(20) and 200) as late, Receiver() as quick:
        delivery_fixture.endpoint(late.url)
        delivery_fixture.endpoint(quick.url)
        for number in range(40):
            delivery_fixture.issue(str(number))
        start_delivery()
        wait_for(lambda: len(quick.good) == 40)
        assert late.good == []
        done.set()
        wait_for(lambda: len(delivery_fixture.outcomes()) == 80)


def test_whoever_answers_too_late_is_tried_again(delivery_fixture, start_delivery):
    with Receiver(slow(1.0)) as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        start_delivery(limit_s=0.2)
        [failed] = wait_for(lambda: delivery_fixture.events(DeliveryFailed))

    assert (failed.status, failed.reason) == (None, "No answer within 0.2 s")


def test_a_private_address_is_not_connected_to_and_the_record_says_why(delivery_fixture, start_delivery):
    with Receiver() as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        start_delivery(allow_private=False)
        [failed] = wait_for(lambda: delivery_fixture.events(DeliveryFailed))

    assert (failed.status, failed.reason) == (None, PRIVATE)
    assert receiver.got == []


def test_while_a_rotation_overlaps_either_secret_proves_who_sent_it(delivery_fixture, start_delivery):
    with Receiver() as receiver:
        endpoint, old = delivery_fixture.endpoint(receiver.url)
        new = delivery_fixture.ask(endpoints.rotate, delivery_fixture.company, endpoint, 60).secret
        delivery_fixture.issue()
        start_delivery()
        [got] = wait_for(lambda: receiver.good)

    for secret in (old, new):
        Webhook(secret).verify(got.body, dict(got.headers))


def test_without_an_overlap_the_old_secret_signs_nothing(delivery_fixture, start_delivery):
    with Receiver() as receiver:
        endpoint, old = delivery_fixture.endpoint(receiver.url)
        delivery_fixture.ask(endpoints.rotate, delivery_fixture.company, endpoint, 0)
        delivery_fixture.issue()
        start_delivery()
        [got] = wait_for(lambda: receiver.good)

    with pytest.raises(Exception, match="No matching signature"):
        Webhook(old).verify(got.body, dict(got.headers))


def test_a_test_message_goes_to_its_endpoint_whatever_that_subscribes_to(delivery_fixture, start_delivery):
    with Receiver() as receiver, Receiver() as other:
        endpoint, _ = delivery_fixture.endpoint(receiver.url, events=("goal.*",))
        delivery_fixture.endpoint(other.url, events=("goal.*",))
        delivery_fixture.ask(endpoints.test, delivery_fixture.company, endpoint)
        start_delivery()
        [got] = wait_for(lambda: receiver.good)

    assert got.json["type"] == "endpoint.tested"
    assert other.got == []


def test_what_is_on_its_way_to_a_deleted_or_disabled_endpoint_is_given_up(delivery_fixture, start_delivery):
    with Receiver() as receiver:
        deleted, disabled = (delivery_fixture.endpoint(receiver.url)[0] for _ in range(2))
        delivery_fixture.issue()
        delivery_fixture.shown()
        delivery_fixture.ask(endpoints.delete, delivery_fixture.company, deleted)
        delivery_fixture.ask(endpoints.update, delivery_fixture.company, disabled, EndpointPatch(enabled=False))
        start_delivery()
        wait_for(lambda: delivery_fixture.outcomes() == ["delivery.dead"] * 2)

    assert receiver.got == []
    reasons = {one.attempts[0].reason for one in delivery_fixture.shown()}
    assert reasons == {"There is no receiver any more", "The endpoint is disabled"}


def test_an_agent_hears_of_an_issue_that_is_opened_for_it(delivery_fixture, start_delivery):
    with Receiver() as receiver:
        agent = delivery_fixture.ask(
            agents.create, delivery_fixture.company, AgentDraft(name="Scout", heartbeat_url=receiver.url)
        )
        issue = delivery_fixture.issue(assignee_agent_id=agent.agent_id)
        delivery_fixture.issue("for nobody")
        start_delivery()
        [got] = wait_for(lambda: receiver.good)
        wait_for(lambda: delivery_fixture.outcomes() == ["delivery.delivered"])

    assert Webhook(agent.heartbeat_secret).verify(got.body, dict(got.headers))
    assert got.json["type"] == "issue.opened"
    assert (got.json["data"]["issueId"], got.json["data"]["agentId"]) == (str(issue), str(agent.agent_id))


def test_the_end_of_a_trajectory_is_told_with_the_headers_of_the_contract(delivery_fixture, start_delivery):
    delivery_fixture.task()
    with Receiver() as receiver:
        request = RunCreate(init_params={"text": "hi"}, webhook_url=receiver.url, webhook_secret="shh")
        delivery_fixture.ask(trajectories.run, TASK, request)
        start_delivery()
        [got] = wait_for(lambda: receiver.good)

    sent = got.headers["x-mise-timestamp"]
    text = f"{sent}.".encode() + got.body
    assert got.headers["x-mise-signature"] == hmac.new(b"shh", text, hashlib.sha256).hexdigest()
    number = next(
        one.position for one in delivery_fixture.system.store.history() if isinstance(one.event, TrajectoryOpened)
    )
    assert got.headers["x-mise-trajectory-id"] == str(number)
    assert (got.json["trajectory_id"], got.json["workflow_id"]) == (number, f"flow-my-org-say--{number}")
    assert got.headers["content-type"] == "application/json"
    assert (got.json["status"], got.json["name"]) == ("completed", "my-org/say")
    assert got.json["steps"]["say"]["outputs"] == {"text": "hi"}
    assert (got.json["total_steps"], got.json["completed_steps"]) == (["say"], ["say"])
    assert got.json["init_params"] == {"text": "hi"}


def test_without_a_secret_a_callback_has_no_signature(delivery_fixture, start_delivery):
    delivery_fixture.task()
    with Receiver() as receiver:
        delivery_fixture.ask(trajectories.run, TASK, RunCreate(webhook_url=receiver.url))
        start_delivery()
        [got] = wait_for(lambda: receiver.good)

    assert "x-mise-signature" not in got.headers
    assert "x-mise-timestamp" in got.headers


def test_cancelled_and_archived_trajectories_are_told_to_nobody(delivery_fixture):
    company = delivery_fixture.task({"steps": []})
    request = RunCreate(webhook_url="https://example.com/")
    ends = ("cancelled", "archived", "completed", "failed")
    opened = [delivery_fixture.ask(trajectories.run, TASK, request) for _ in ends]
    delivery_fixture.ask(trajectories.set_statuses, TASK, dict(zip(opened, ends, strict=True)))

    assert {one.target_id for one in delivery_fixture.shown(company)} == set(opened[2:])


def test_a_routines_callback_is_signed_with_the_secret_that_it_has_now(delivery_fixture, start_delivery):
    delivery_fixture.task()
    with Receiver() as receiver:
        draft = RoutineCreate(
            name="r",
            cadence=CadenceConfig(type="manual"),
            webhook_url=receiver.url,
            webhook_secret="old",
        )
        delivery_fixture.ask(task_routines.create, TASK, draft)
        path = RoutinePath(collection="my-org", task="say", name="r")
        delivery_fixture.ask(task_routines.run_now, path)
        delivery_fixture.ask(task_routines.update, path, RoutineChange(webhook_secret="new"))
        start_delivery()
        [got] = wait_for(lambda: receiver.good)

    text = f"{got.headers['x-mise-timestamp']}.".encode() + got.body
    assert got.headers["x-mise-signature"] == hmac.new(b"new", text, hashlib.sha256).hexdigest()


def test_a_process_that_is_told_to_stop_finishes_what_is_on_its_way(delivery_fixture, start_delivery):
    with Receiver(slow(0.5)) as receiver:
        delivery_fixture.endpoint(receiver.url)
        delivery_fixture.issue()
        thread, stop = start_delivery()
        wait_for(lambda: receiver.got)
        stop.set()
        thread.join()

    assert delivery_fixture.outcomes() == ["delivery.delivered"]


@pytest.fixture
def hanging_lookups(monkeypatch):
    """Names of hang.example are not answered until the end of the test; any other leads here."""
    is_over, urls = threading.Event(), []

    def getaddrinfo(host, port, **_):
        if host.endswith("hang.example"):
            urls.append(host)
            is_over.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield urls
    is_over.set()


def test_names_that_are_not_answered_delay_no_other_company(delivery_fixture, start_delivery, hanging_lookups):
    neighbour = delivery_fixture.ask(companies.create, CompanyDraft(name="Neighbour"))
    with Receiver() as receiver:
        for number in range(12):
            delivery_fixture.endpoint(f"https://a{number}.hang.example/")
        delivery_fixture.endpoint(receiver.url.replace("127.0.0.1", "quick.example"), company=neighbour)
        for number in range(20):
            delivery_fixture.issue(str(number))
        start_delivery()
        wait_for(lambda: len(hanging_lookups) == 8)
        for number in range(20):
            delivery_fixture.issue(str(number), company=neighbour)
        wait_for(lambda: len(receiver.good) == 20)

        assert len(hanging_lookups) == 8  # none of them has been answered
        [failed, *_] = wait_for(lambda: delivery_fixture.events(DeliveryFailed))
    assert failed.reason == "The name of the host cannot be resolved in time"


def test_a_process_ends_although_names_are_not_answered(delivery_fixture, start_delivery, hanging_lookups):
    delivery_fixture.limit(lookup_limit_s=0.2)
    delivery_fixture.endpoint("https://a.hang.example/")
    delivery_fixture.issue()
    thread, stop = start_delivery()
    wait_for(lambda: hanging_lookups)

    stop.set()
    thread.join(30)

    assert not thread.is_alive()


def test_receivers_that_hang_leave_places_for_other_companies(delivery_fixture, start_delivery):
    delivery_fixture.limit(max_deliveries_at_once=16, max_host_deliveries_at_once=100)
    neighbour = delivery_fixture.ask(companies.create, CompanyDraft(name="Neighbour"))
    done = threading.Event()
    with Receiver(lambda _got, _before: done.wait(30) and 200) as late, Receiver() as quick:
        for number in range(6):
            delivery_fixture.endpoint(f"{late.url}/{number}")
        delivery_fixture.endpoint(quick.url, company=neighbour)
        for number in range(8):
            delivery_fixture.issue(str(number))
        start_delivery()
        wait_for(lambda: len(late.got) == 8)
        for number in range(30):
            delivery_fixture.issue(str(number), company=neighbour)
        wait_for(lambda: len(quick.good) == 30)

        assert len(late.got) == 8  # half of the places
        done.set()
        wait_for(lambda: len(late.good) == 48)


def test_whose_receivers_fail_too_often_is_slowed_down_and_those_that_answer_are_not(delivery_fixture, start_delivery):
    delivery_fixture.limit(max_company_failed_attempts_per_minute=10)
    with Receiver(lambda _got, _before: 500) as failing, Receiver() as answering:
        delivery_fixture.endpoint(failing.url)
        delivery_fixture.endpoint(answering.url)
        for number in range(60):
            delivery_fixture.issue(str(number))
        start_delivery()
        wait_for(lambda: 60 == len(answering.got))

        assert len(failing.got) < 10 + 2 * delivery_fixture.system.store.limits.max_receiver_deliveries_at_once


def test_a_host_that_hangs_leaves_places_for_others_of_its_company(delivery_fixture, start_delivery):
    delivery_fixture.limit(max_deliveries_at_once=24, max_host_deliveries_at_once=3)
    done = threading.Event()
    with Receiver(lambda _got, _before: done.wait(30) and 200) as late, Receiver() as quick:
        for number in range(4):
            delivery_fixture.endpoint(f"{late.url}/{number}")
        delivery_fixture.endpoint(quick.url.replace("127.0.0.1", "localhost"))
        for number in range(10):
            delivery_fixture.issue(str(number))
        start_delivery()
        wait_for(lambda: len(quick.good) == 10)

        assert len(late.got) == 3
        done.set()
        wait_for(lambda: len(late.good) == 40)


def test_bodies_on_their_way_are_bounded_by_their_bytes(delivery_fixture, start_delivery):
    delivery_fixture.limit(max_delivery_bytes_at_once=8 * 1024)
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
            delivery_fixture.endpoint(f"{receiver.url}/{number}")
        for _ in range(6):
            delivery_fixture.issue("x" * 200, description="y" * 1_000)
        start_delivery()
        wait_for(lambda: len(receiver.good) == 24)
        wait_for(lambda: len(delivery_fixture.outcomes()) == 24)

    assert 1_200 < most[0] <= 8 * 1024
    assert delivery_fixture.outcomes() == ["delivery.delivered"] * 24


def test_what_waits_for_one_company_does_not_hide_what_waits_for_another(delivery_fixture):
    neighbour = delivery_fixture.ask(companies.create, CompanyDraft(name="Neighbour"))
    for number in range(3):
        delivery_fixture.endpoint(f"https://example.com/{number}")
    delivery_fixture.endpoint("https://example.org/", company=neighbour)
    for number in range(8):
        delivery_fixture.issue(str(number))
    delivery_fixture.issue(company=neighbour)
    delivery_fixture.shown()

    with delivery_fixture.system.pool.connection() as conn:
        now = delivery_fixture.system.clock()
        due = pending_deliveries.due(conn, now, of_lane=8, limit=4)
        rest = pending_deliveries.due(
            conn,
            now,
            of_lane=8,
            limit=100,
            left_out=[due[0].id],
            without_lanes=[due[1].partition_key, due[2].partition_key],
        )

    assert [pending.company_id == neighbour for pending in due].count(True) == 1
    assert due[0].id not in {pending.id for pending in rest}
    assert {due[1].partition_key, due[2].partition_key}.isdisjoint({pending.partition_key for pending in rest})


def test_callbacks_of_two_companies_to_one_address_do_not_wait_for_each_other(delivery_fixture):
    delivery_fixture.task()
    other = delivery_fixture.ask(collections.create, CollectionCreate(name="other"))
    delivery_fixture.ask(tasks.create, "other", TaskCreate(name="say", workflow=ECHO))
    for path in (TASK, TASK, TaskPath(collection="other", task="say")):
        delivery_fixture.ask(trajectories.run, path, RunCreate(webhook_url="https://example.com/"))
    delivery_fixture.shown()

    with delivery_fixture.system.pool.connection() as conn:
        due = pending_deliveries.due(conn, delivery_fixture.system.clock(), of_lane=8, limit=100)

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

    assert list(waits)[:1] == list(worker._still_waiting(waits, NOON, worker.REST))
