"""
The delivery process: sends what is to be told to the outside, until it has arrived or is given up.

Receivers are strangers, and companies share the process: how many attempts, bytes and look-ups one company, host or
receiver may have on their way is bounded (domain/bounds/limits.py), and companies take turns.

Any number may run: who sends a letter, or anything to an endpoint that wants its letters in order, holds a lock of
Postgres meanwhile, which ends with the process. A letter is sent at least once, and each attempt is on the record once.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Event as Stop
from uuid import UUID

import msgspec
import psycopg
import structlog
from eventsourcing.persistence import PersistenceError

from application.event_store.execute import Executor
from application.event_store.unit_of_work import Work
from application.use_cases import delivery_attempts
from application.use_cases.delivery_attempts import Address, GivenUp
from domain.delivery import outbound_url
from domain.delivery.delivery import Answer, Letter
from domain.errors import Oversized
from domain.recorded import Unreadable
from processes.delivery import payloads
from processes.delivery.outbound import Client
from processes.delivery.payloads import Composed
from processes.delivery.shares import Shares
from processes.follower import Follower
from processes.wakeup import Connection, Wakeup
from projections.delivery import deliveries
from projections.engine import positions
from projections.engine.positions import Read

DATABASE_THREADS = 10  # as many as there are connections
COMPOSED_AT_ONCE = 4  # bodies that are made before it is known whether they may go
SLICE_S = 0.5  # for which it follows the log before it sends what is due so far
LISTEN_S = 5.0  # should the log grow unheard
LOOK_S = 0.05  # how long a letter that has arrived waits for the next to follow it
TROUBLE_S = 1.0  # pause after the database could not be reached
KNOWN_HOSTS = 10_000  # of receivers, which are remembered
REST = timedelta(seconds=5)  # how long what cannot be sent for a reason of ours is left alone
TAKEN = timedelta(seconds=0.5)  # how long what another process sends is

Host = tuple[UUID, str]  # a company's: what one has on its way to it does not count for another

log = structlog.get_logger(process="delivery")


class Load(msgspec.Struct, frozen=True):
    """What sending a letter takes of what is shared, its place among those on their way apart."""

    host: Host
    size: int


class Courier:
    """Takes letters to their receivers."""

    def __init__(self, executor: Executor, read: Read, client: Client) -> None:
        self._executor = executor
        self._read = read
        self._follower = Follower([deliveries.deliveries], read)
        self.is_behind = False  # whether there is more of the log than the last round has followed
        self._client = client
        self._limits = executor.store.limits
        self._on_their_way: dict[UUID, tuple[Letter, asyncio.Task[None]]] = {}
        self._resting: dict[UUID, datetime] = {}
        self._postponed: dict[UUID, Load] = {}  # by lane: what did not fit beside what was on its way
        self._host_of: dict[UUID, Host] = {}  # of lanes, as their last letters went
        self._places = Shares(self._limits.max_deliveries_at_once)
        self._bytes = Shares(self._limits.max_delivery_bytes_at_once)
        self._hosts: Counter[Host] = Counter()  # attempts on their way
        self._composing = asyncio.Semaphore(COMPOSED_AT_ONCE)

    async def round(self, conn: Connection, locks: Connection) -> int:
        """
        Sends off what is due and may go; returns how many letters that were.

        Locks are held on a connection of their own: on the other one transactions go on meanwhile.
        """
        now = self._executor.clock()
        self._on_their_way = {id_: one for id_, one in self._on_their_way.items() if not one[1].done()}
        self._resting = {id_: until for id_, until in self._resting.items() if until > now}
        sent = [letter for letter, _ in self._on_their_way.values()]
        lanes, hosts = Counter(letter.lane for letter in sent), Counter(map(self._known_host, sent))
        without = [*self._on_their_way, *self._resting]
        many = 0
        for letter in await asyncio.to_thread(self._due, conn, now, without, self._full(lanes, hosts)):
            lane, host = letter.lane, self._known_host(letter)
            if self._is_full(lanes[lane], hosts[host]) or not self._places.fits(letter.company_id):
                continue
            lanes[lane] += 1
            hosts[host] += host is not None
            self._send_off(locks, letter)
            many += 1
        return many

    def pause_s(self, conn: Connection) -> float:
        """Seconds until something comes due, LISTEN_S at most."""
        if self.is_behind:
            return 0.0
        now = self._executor.clock()
        moments = [deliveries.next_due(conn, now), *list(self._resting.values())]
        known = [moment for moment in moments if moment is not None]
        return min([max((moment - now).total_seconds(), 0.0) for moment in known] + [LISTEN_S])

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The letters on their way. A database that is away has ended them with its error."""
        return [task for _, task in self._on_their_way.values()]

    def _due(self, conn: Connection, now: datetime, without: Sequence[UUID], full: Sequence[UUID]) -> list[Letter]:
        self._follow(conn)
        return deliveries.due(
            conn,
            now,
            of_lane=self._limits.max_receiver_deliveries_at_once,
            limit=self._limits.max_deliveries_at_once,
            without=without,
            without_lanes=full,
        )

    def _follow(self, conn: Connection) -> None:
        """Up to the head of the log, or for SLICE_S: nobody waits until all is told of what another does without end."""
        until = time.monotonic() + SLICE_S
        while is_more := bool(self._follower.try_step(conn)):
            if time.monotonic() >= until:
                break
        self.is_behind = is_more or self._follower.is_kept_waiting

    def _known_host(self, letter: Letter) -> Host | None:
        """Where the last letter of its lane went; None when that is not known."""
        return self._host_of.get(letter.lane)

    def _learn_host(self, letter: Letter, host: Host) -> None:
        """Several hosts of callbacks may share a lane: of these nothing is known beforehand."""
        if letter.kind == "callback":
            return
        if len(self._host_of) >= KNOWN_HOSTS:
            self._host_of.clear()
        self._host_of[letter.lane] = host

    def _is_full(self, of_lane: int, of_host: int) -> bool:
        limits = self._limits
        return of_lane >= limits.max_receiver_deliveries_at_once or of_host >= limits.max_host_deliveries_at_once

    def _full(self, lanes: Counter[UUID], hosts: Counter[Host | None]) -> list[UUID]:
        """The lanes of which nothing may go now, so that what waits in them does not hide what waits in others."""
        hosts[None] = 0
        self._postponed = {lane: load for lane, load in self._postponed.items() if not self._may_take(load)}
        full = [lane for lane, many in lanes.items() if self._is_full(many, 0)]
        if any(self._is_full(0, many) for many in hosts.values()):
            full += [lane for lane, host in self._host_of.items() if self._is_full(0, hosts[host])]
        return [*full, *self._postponed]

    def _may_take(self, load: Load) -> bool:
        free = self._hosts[load.host] < self._limits.max_host_deliveries_at_once
        return free and self._bytes.fits(load.host[0], load.size)

    def _send_off(self, locks: Connection, letter: Letter) -> None:
        task = asyncio.create_task(self._deliver(locks, letter))
        self._on_their_way[letter.id] = letter, task
        self._places.take(letter.company_id)
        task.add_done_callback(lambda _: self._places.give_back(letter.company_id))

    async def _deliver(self, locks: Connection, letter: Letter) -> None:
        key = f"delivery {letter.lane if letter.ordered else letter.id}"
        if not await asyncio.to_thread(deliveries.hold, locks, key):
            self._resting[letter.id] = self._executor.clock() + TAKEN
            return
        try:
            if await asyncio.to_thread(self._is_due, letter):
                await self._attempt(letter)
        except Exception as error:
            if positions.is_away(error):
                raise
            log.exception("cannot_deliver", delivery_id=str(letter.id))
            self._resting[letter.id] = self._executor.clock() + REST
        finally:
            await asyncio.to_thread(deliveries.let_go, locks, key)

    async def _attempt(self, letter: Letter) -> None:
        async with self._composing:
            try:
                to, of, headers = await asyncio.to_thread(self._ready, letter)
            except (GivenUp, Oversized) as given_up:
                reason = str(given_up)
                await asyncio.to_thread(self._note, lambda work: delivery_attempts.give_up(work, letter, reason))
                log.info("delivery_given_up", delivery_id=str(letter.id), kind=letter.kind, reason=reason)
                return
            load = Load(host=(letter.company_id, _host_of(to.url)), size=len(of.body))
            self._learn_host(letter, load.host)
            if not self._may_take(load):
                self._postponed[letter.lane] = load
                return
            self._hosts[load.host] += 1
            self._bytes.take(letter.company_id, load.size)
        try:
            answer = await self._client.post(to.url, headers, of.body, company_id=letter.company_id)
            await asyncio.to_thread(self._note, lambda work: delivery_attempts.record(work, letter, answer))
        finally:
            self._bytes.give_back(letter.company_id, load.size)
            self._hosts[load.host] -= 1
            self._hosts += Counter()  # those of which there are none are forgotten
        _say(letter, answer)

    def _is_due(self, letter: Letter) -> bool:
        return self._executor.ask(lambda work: delivery_attempts.is_due(work, letter))

    def _ready(self, letter: Letter) -> tuple[Address, Composed, dict[str, str]]:
        def made(work: Work) -> tuple[Address, Composed, dict[str, str]]:
            to = delivery_attempts.address(work, letter)
            told = self._read(letter.position - 1, 1)[0]
            if isinstance(told.event, Unreadable):
                raise GivenUp("The event cannot be read by this version of the service")
            of = payloads.composed(work, letter, told)
            return to, of, dict(payloads.headers(letter, of, to, work))

        return self._executor.ask(made)

    def _note(self, decide: Callable[[Work], bool]) -> None:
        self._executor.attempt(decide, actor="delivery")


def _host_of(url: str) -> str:
    try:
        return outbound_url.host_of(url)
    except outbound_url.BadTarget:  # the attempt will say so
        return ""


def _say(letter: Letter, answer: Answer) -> None:
    log.info(
        "delivery_attempted",
        delivery_id=str(letter.id),
        kind=letter.kind,
        attempt=letter.attempts + 1,
        status=answer.status,
        reason=answer.reason,
        took_ms=answer.took_ms,
    )


async def _serve(courier: Courier, connect: Callable[[], Connection], wakeup: Wakeup, stop: Stop) -> None:
    """Until stopped; what is on its way then comes to its end."""
    with connect() as conn, connect() as locks:
        listening: asyncio.Task[None] | None = None
        while not stop.is_set():
            await courier.round(conn, locks)
            if listening is None or listening.done():
                if listening is not None:
                    listening.result()
                pause_s = await asyncio.to_thread(courier.pause_s, conn)
                listening = asyncio.create_task(asyncio.to_thread(wakeup.wait, pause_s, stop))
            timeout_s = 0 if courier.is_behind else None
            done, _ = await asyncio.wait(
                [listening, *courier.tasks], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done - {listening}:
                task.result()
        if under_way := [*courier.tasks, *([] if listening is None else [listening])]:
            await asyncio.wait(under_way)


def run(courier: Courier, client: Client, connect: Callable[[], Connection], stop: Stop) -> None:
    """Until stopped; a database that is away is waited for."""

    async def kept() -> None:
        threads = ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="database")
        asyncio.get_running_loop().set_default_executor(threads)
        wakeup = Wakeup(connect)
        while not stop.is_set():
            try:
                await _serve(courier, connect, wakeup, stop)
            except (psycopg.Error, PersistenceError) as error:
                log.warning("database_unreachable", error=str(error))
                await asyncio.to_thread(stop.wait, TROUBLE_S)
        wakeup.close()
        await client.close()

    asyncio.run(kept())
