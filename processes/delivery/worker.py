"""
The delivery process: attempts each delivery until it has arrived or is given up, asks probes (prober.py) and witnesses of
the log (witnesses.py).

Receivers are not trusted, and companies share the process: how many attempts, bytes and look-ups one company, host or
receiver may have under way is bounded (domain/bounds/limits.py), and companies take turns.

Any number of processes may run. A process holds a lock of Postgres on the delivery that it attempts, or on the whole
partition where the endpoint wants its deliveries in order; the lock ends with the process. So a delivery is sent at
least once, and each attempt is recorded once. What was sent is not sent again because its outcome cannot be recorded, as
while the database is away: the process remembers it, unless it is stopped before or another process comes first.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event as Stop
from uuid import UUID

import msgspec
import psycopg
import structlog
from eventsourcing.persistence import PersistenceError

from application.event_store.unit_of_work import UnitOfWork
from application.execute import Executor
from application.outage import Outage
from application.quotas.rates import Rate
from application.use_cases import delivery_attempts
from application.use_cases.delivery_attempts import Address, GivenUp
from domain.delivery import outbound_url
from domain.delivery.delivery import Answer, PendingDelivery
from domain.errors import Oversized
from domain.proof.witnesses import Witness
from domain.recorded import Unreadable
from processes.delivery import background, payloads
from processes.delivery.outbound import Client
from processes.delivery.payloads import Payload
from processes.delivery.prober import Prober
from processes.delivery.shares import Shares
from processes.delivery.witnesses import Witnesses
from processes.follower import Follower
from processes.wakeup import Connection, Wakeup
from projections.delivery import delivery_locks, pending_deliveries
from projections.delivery.deliveries import deliveries
from projections.engine import isolation, positions
from projections.engine.positions import Read
from projections.firing.pending_probes import pending_probes

DATABASE_THREADS = 10  # as many as there are connections
COMPOSED_AT_ONCE = 4  # payloads in memory for which it is not yet known whether they fit beside the others
SLICE_S = 0.5  # longest time to follow the log before what is due so far is sent
BEGINNING = datetime.min.replace(tzinfo=UTC)
LISTEN_S = 5.0  # longest wait for a notification, in case one is not heard
TROUBLE_S = 1.0  # pause after the database could not be reached
KNOWN_HOSTS = 10_000  # how many partitions have the host of their last delivery remembered
MOST_UNRECORDED = 10_000  # how many outcomes are remembered that could not be recorded
REST = timedelta(seconds=5)  # how long a delivery that failed by an error of our own is left alone
SLOWEST = timedelta(hours=1)  # no partition waits for longer while its company has too many failed attempts
TAKEN = timedelta(seconds=0.5)  # how long a delivery that another process is sending is left alone

Host = tuple[UUID, str]  # a company and a host: attempts of one company do not count for another

log = structlog.get_logger(process="delivery")


class Load(msgspec.Struct, frozen=True):
    """What an attempt takes of the shared limits, beside its place in `_places`: a host and bytes."""

    host: Host
    size: int


class Sent(msgspec.Struct, frozen=True):
    """A delivery that was sent to this URL, and the answer, which could not be recorded yet."""

    pending: PendingDelivery
    url: str
    answer: Answer


class DeliveryWorker:
    """Sends the due deliveries of all companies, within the limits of each company, host and receiver."""

    def __init__(self, executor: Executor, read: Read, client: Client, witnesses: Sequence[Witness] = ()) -> None:
        self._executor = executor
        self._read = read
        self._follower = Follower([deliveries, pending_probes], read, acts=True)
        self._looked_until = BEGINNING  # up to when the last `send_due` looked for due deliveries
        self._prober = Prober(executor, client)
        self._witnesses = Witnesses(executor, client, witnesses)
        self.is_behind = False  # whether the last `send_due` has left events of the log unread
        self._client = client
        self._limits = executor.store.limits
        self._on_their_way: dict[UUID, tuple[PendingDelivery, asyncio.Task[None]]] = {}
        self._resting: dict[UUID, datetime] = {}
        self._unrecorded: dict[UUID, Sent] = {}  # by delivery: recorded instead of sending it again
        # Until when partitions wait that fail, in companies with many failures.
        self._slow_partitions: dict[UUID, datetime] = {}
        self._failures = Rate("failed attempts", self._limits.max_company_failed_attempts_per_minute)
        self._postponed_loads: dict[UUID, Load] = {}  # by partition: what did not fit beside the attempts under way
        self._host_of: dict[UUID, Host] = {}  # by partition: where its last delivery went
        self._places = Shares(self._limits.max_deliveries_at_once)
        self._bytes = Shares(self._limits.max_delivery_bytes_at_once)
        self._hosts: Counter[Host] = Counter()  # attempts under way
        self._composing = asyncio.Semaphore(COMPOSED_AT_ONCE)

    async def send_due(self, conn: Connection, locks: Connection) -> int:
        """
        Begin an attempt of each delivery that is due and fits the limits; return how many were begun.

        `locks` is a connection that holds locks and carries single statements, since transactions go on over `conn`
        meanwhile.
        """
        now = self._looked_until = await asyncio.to_thread(self._executor.clock)
        self._on_their_way = {id_: sending for id_, sending in self._on_their_way.items() if not sending[1].done()}
        self._resting = _still_waiting(self._resting, now, REST)
        self._slow_partitions = _still_waiting(self._slow_partitions, now, SLOWEST)
        pending_under_way = [pending for pending, _ in self._on_their_way.values()]
        partitions, hosts = (
            Counter(pending.partition_key for pending in pending_under_way),
            Counter(map(self._known_host, pending_under_way)),
        )
        busy_ids = [*self._on_their_way, *self._resting]
        # Where order counts, one attempt is all: what comes before it, being asked for again, waits for its end. The lock
        # says so to other processes, but not to this one, since a session may take the same lock twice.
        in_order = {pending.partition_key for pending in pending_under_way if pending.ordered}
        many = 0
        for pending in await asyncio.to_thread(
            self._find_due, conn, now, busy_ids, [*in_order, *self._full_partitions(partitions, hosts)]
        ):
            partition_key, host = pending.partition_key, self._known_host(pending)
            if self._is_full(partitions[partition_key], hosts[host]) or not self._places.fits(pending.company_id):
                continue
            partitions[partition_key] += 1
            hosts[host] += host is not None
            self._send_off(locks, pending)
            many += 1
        return many + await self._prober.ask_due(conn, locks, now) + await self._witnesses.ask_due(locks, now)

    def pause_s(self, conn: Connection) -> float:
        """Return the seconds until something comes due that was not due at the last look, LISTEN_S at most."""
        if self.is_behind:
            return 0.0
        now = self._executor.clock()
        moments = [
            pending_deliveries.next_due(conn, self._looked_until),
            *list(self._resting.values()),
            *list(self._slow_partitions.values()),
        ]
        moments += [*self._prober.wakes, *self._witnesses.wakes(conn, self._looked_until)]
        pauses_s = [max((moment - now).total_seconds(), 0.0) for moment in moments if moment is not None]
        return min([*pauses_s, LISTEN_S])

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The attempts and questions under way; one ends with an error only when the database is away."""
        return [task for _, task in self._on_their_way.values()] + self._prober.tasks + self._witnesses.tasks

    def _find_due(
        self, conn: Connection, now: datetime, left_out: Sequence[UUID], full: Sequence[UUID]
    ) -> list[PendingDelivery]:
        self._follow(conn)
        return pending_deliveries.due(
            conn,
            now,
            of_lane=self._limits.max_receiver_deliveries_at_once,
            limit=self._limits.max_deliveries_at_once,
            left_out=left_out,
            without_lanes=full,
        )

    def _follow(self, conn: Connection) -> None:
        """Follow the log to its head, or for SLICE_S: due deliveries do not wait while others write without end."""
        until = time.monotonic() + SLICE_S
        while is_more := bool(self._follower.try_step(conn)):
            if time.monotonic() >= until:
                break
        self.is_behind = is_more or self._follower.is_kept_waiting

    def _known_host(self, pending: PendingDelivery) -> Host | None:
        """Return where the last delivery of its partition went; None when that is not known."""
        return self._host_of.get(pending.partition_key)

    def _learn_host(self, pending: PendingDelivery, host: Host) -> None:
        """Remember the host of the partition, except for callbacks, whose partitions may have several hosts."""
        if pending.kind == "callback":
            return
        if len(self._host_of) >= KNOWN_HOSTS:
            self._host_of.clear()
        self._host_of[pending.partition_key] = host

    def _is_full(self, partition_attempts: int, host_attempts: int) -> bool:
        limits = self._limits
        is_partition_full = partition_attempts >= limits.max_receiver_deliveries_at_once
        return is_partition_full or host_attempts >= limits.max_host_deliveries_at_once

    def _full_partitions(self, partitions: Counter[UUID], hosts: Counter[Host | None]) -> list[UUID]:
        """Return the partitions that may send nothing now, so that their queues do not hide those of others."""
        hosts[None] = 0
        self._postponed_loads = {
            partition_key: load for partition_key, load in self._postponed_loads.items() if not self._may_take(load)
        }
        full = [partition_key for partition_key, many in partitions.items() if self._is_full(many, 0)]
        if any(self._is_full(0, many) for many in hosts.values()):
            full += [partition_key for partition_key, host in self._host_of.items() if self._is_full(0, hosts[host])]
        return [*full, *self._postponed_loads, *self._slow_partitions]

    def _may_take(self, load: Load) -> bool:
        free = self._hosts[load.host] < self._limits.max_host_deliveries_at_once
        return free and self._bytes.fits(load.host[0], load.size)

    def _send_off(self, locks: Connection, pending: PendingDelivery) -> None:
        task = background.start_task(self._deliver_if_due(locks, pending))
        self._on_their_way[pending.id] = pending, task
        self._places.take(pending.company_id)
        task.add_done_callback(lambda _: self._places.give_back(pending.company_id))

    async def _deliver_if_due(self, locks: Connection, pending: PendingDelivery) -> None:
        key = f"delivery {pending.partition_key if pending.ordered else pending.id}"
        if not await asyncio.to_thread(delivery_locks.hold, locks, key):
            self._rest(pending, TAKEN)
            return
        try:
            if (sent := self._unrecorded.get(pending.id)) is not None:
                await self._record_sent(sent)
            elif await asyncio.to_thread(self._is_due, pending):
                await self._attempt_delivery(pending)
            else:
                self._rest(pending, TAKEN)  # the read model will show in a moment what was recorded of it
        except Exception as error:
            if isolation.is_away(error):
                raise
            log.exception("cannot_deliver", delivery_id=str(pending.id))
            self._rest(pending, REST)
        finally:
            await asyncio.to_thread(delivery_locks.release, locks, key)

    def _rest(self, pending: PendingDelivery, pause: timedelta) -> None:
        """Leave a delivery alone, from the last look on: to ask for the time would hold up all attempts."""
        self._resting[pending.id] = self._looked_until + pause

    async def _attempt_delivery(self, pending: PendingDelivery) -> None:
        async with self._composing:
            try:
                address, payload, headers = await asyncio.to_thread(self._prepare_attempt, pending)
            except (GivenUp, Oversized) as given_up:
                reason = str(given_up)
                await asyncio.to_thread(
                    self._record_attempt, lambda work: delivery_attempts.give_up(work, pending, reason)
                )
                log.info("delivery_given_up", delivery_id=str(pending.id), kind=pending.kind, reason=reason)
                return
            load = Load(host=(pending.company_id, _host_of(address.url)), size=len(payload.body))
            self._learn_host(pending, load.host)
            if not self._may_take(load):
                self._postponed_loads[pending.partition_key] = load
                return
            self._hosts[load.host] += 1
            self._bytes.take(pending.company_id, load.size)
        try:
            answer = await self._client.post(address.url, headers, payload.body, company_id=pending.company_id)
            await self._record_sent(Sent(pending=pending, url=address.url, answer=answer))
        finally:
            self._bytes.give_back(pending.company_id, load.size)
            self._hosts[load.host] -= 1
            self._hosts += Counter()  # removes the entries whose count is 0

    async def _record_sent(self, sent: Sent) -> None:
        """Record the outcome of an attempt; one that cannot be recorded is remembered until the delivery is looked at again."""
        pending, answer = sent.pending, sent.answer
        while len(self._unrecorded) >= MOST_UNRECORDED:
            del self._unrecorded[next(iter(self._unrecorded))]
        self._unrecorded[pending.id] = sent
        await asyncio.to_thread(
            self._record_attempt, lambda work: delivery_attempts.record(work, pending, sent.url, answer)
        )
        self._unrecorded.pop(pending.id, None)
        if not answer.is_good:
            self._note_failure(pending)
        _log_attempt(pending, answer)

    def _note_failure(self, pending: PendingDelivery) -> None:
        """
        Count a failed attempt of the company; once it has too many in a minute, let the partition wait.

        Each failure is an event that every read model has to take.
        """
        now = time.monotonic()
        self._failures.spend(pending.company_id, 1, now)
        if wait_s := self._failures.wait_s(pending.company_id, now):
            self._slow_partitions[pending.partition_key] = self._looked_until + timedelta(seconds=wait_s)

    def _is_due(self, pending: PendingDelivery) -> bool:
        return self._executor.query(lambda work: delivery_attempts.is_due(work, pending))

    def _prepare_attempt(self, pending: PendingDelivery) -> tuple[Address, Payload, dict[str, str]]:
        def prepare(work: UnitOfWork) -> tuple[Address, Payload, dict[str, str]]:
            address = delivery_attempts.address(work, pending)
            recorded = self._read(pending.position - 1, 1)[0]
            if isinstance(recorded.event, Unreadable):
                raise GivenUp("The event cannot be read by this version of the service")
            payload = payloads.compose(work, pending, recorded)
            return address, payload, dict(payloads.headers(pending, payload, address, work))

        return self._executor.query(prepare)

    def _record_attempt(self, decide: Callable[[UnitOfWork], bool]) -> None:
        self._executor.attempt(decide, actor="delivery")


def _still_waiting(waits: dict[UUID, datetime], now: datetime, longest: timedelta) -> dict[UUID, datetime]:
    """Return those that still wait. A wait that is longer than any began before the clock was set back."""
    return {id_: until for id_, until in waits.items() if now < until <= now + longest}


def _host_of(url: str) -> str:
    try:
        return outbound_url.host_of(url)
    except outbound_url.BadTarget:  # the attempt fails with that reason
        return ""


def _log_attempt(pending: PendingDelivery, answer: Answer) -> None:
    log.info(
        "delivery_attempted",
        delivery_id=str(pending.id),
        kind=pending.kind,
        attempt=pending.attempts + 1,
        status=answer.status,
        reason=answer.reason,
        took_ms=answer.took_ms,
    )


async def _serve(  # noqa: PLR0913 what outlives an outage comes from outside
    delivery_worker: DeliveryWorker,
    connect: Callable[[], Connection],
    locks: Connection,
    wakeup: Wakeup,
    *,
    stop: Stop,
    outage: Outage,
) -> None:
    """Send deliveries until stopped, or until the database is away."""
    with await asyncio.to_thread(connect) as conn:
        listening: asyncio.Task[None] | None = None
        while not stop.is_set():
            await delivery_worker.send_due(conn, locks)
            outage.note_success("delivery")
            if listening is None or listening.done():
                if listening is not None:
                    listening.result()
                pause_s = await asyncio.to_thread(delivery_worker.pause_s, conn)
                listening = background.start_task(asyncio.to_thread(wakeup.wait, pause_s, stop))
            timeout_s = 0 if delivery_worker.is_behind else None
            done, _ = await asyncio.wait(
                [listening, *delivery_worker.tasks], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done - {listening}:
                task.result()
        if listening is not None:
            await asyncio.wait([listening])


def run(
    delivery_worker: DeliveryWorker,
    client: Client,
    connect: Callable[[], Connection],
    stop: Stop,
    outage: Outage,
) -> None:
    """Send deliveries until stopped. Waits for a database that is away and for read models that are being rebuilt."""

    async def keep_sending() -> None:
        threads = ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="database")
        asyncio.get_running_loop().set_default_executor(threads)
        wakeup = Wakeup(connect)
        locks: Connection | None = None
        while not stop.is_set():
            try:
                # Attempts go on when something else fails, and their locks end with this connection.
                if locks is not None and all(task.done() for task in delivery_worker.tasks):
                    locks.close()
                if locks is None or locks.closed:
                    locks = await asyncio.to_thread(connect)
                await _serve(delivery_worker, connect, locks, wakeup, stop=stop, outage=outage)
            except positions.Outdated as error:
                log.warning("read_models_outdated", read_models=str(error))
                await asyncio.to_thread(stop.wait, TROUBLE_S)
            except (psycopg.Error, PersistenceError) as error:
                outage.note_failure("delivery", error)
                await asyncio.to_thread(stop.wait, TROUBLE_S)
        if delivery_worker.tasks:
            await asyncio.wait(delivery_worker.tasks)
        if locks is not None:
            locks.close()
        wakeup.close()
        await client.close()

    asyncio.run(keep_sending())
