"""
The delivery process: sends what is to be told to the outside, until it has arrived or is given up.

Any number may run: who sends a letter, or anything to an endpoint that wants its letters in order, holds a lock of
Postgres meanwhile, which ends with the process. A letter is sent at least once, and each attempt is on the record once.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Event as Stop
from typing import TypeVar
from uuid import UUID

import psycopg
import structlog
from eventsourcing.persistence import PersistenceError

from application.execute import Executor
from application.use_cases import letters
from application.use_cases.letters import Address, GivenUp
from application.work import Work
from domain.delivery import Answer, Letter
from domain.recorded import Unreadable
from processes import composing
from processes.composing import Composed
from processes.follower import Follower
from processes.outbound import Client
from processes.wakeup import Connection, Wakeup
from projections import deliveries
from projections.positions import Read

AT_ONCE = 128  # letters on their way
OF_LANE = 8  # of them to one receiver: one that is slow keeps only its own waiting
LISTEN_S = 5.0  # should the log grow unheard
LOOK_S = 0.05  # how long a letter that has arrived waits for the next to follow it
TROUBLE_S = 1.0  # pause after the database could not be reached
REST = timedelta(seconds=5)  # how long what cannot be sent for a reason of ours is left alone

T = TypeVar("T")

log = structlog.get_logger(process="delivery")


class Courier:
    """Takes letters to their receivers."""

    def __init__(self, executor: Executor, read: Read, client: Client) -> None:
        self._executor = executor
        self._read = read
        self._follower = Follower([deliveries.deliveries], read)
        self._client = client
        self._on_their_way: dict[UUID, tuple[Letter, asyncio.Task[None]]] = {}
        self._resting: dict[UUID, datetime] = {}

    async def round(self, conn: Connection, locks: Connection) -> int:
        """
        Sends off what is due and may go; returns how many letters that were.

        Locks are held on a connection of their own: on the other one transactions go on meanwhile.
        """
        self._on_their_way = {id_: one for id_, one in self._on_their_way.items() if not one[1].done()}
        many = 0
        for letter in await asyncio.to_thread(self._due, conn):
            busy = Counter(sent.lane for sent, _ in self._on_their_way.values())
            if letter.id in self._on_their_way or busy[letter.lane] >= OF_LANE or len(self._on_their_way) >= AT_ONCE:
                continue
            task = asyncio.create_task(self._deliver(locks, letter))
            self._on_their_way[letter.id] = letter, task
            many += 1
        return many

    def pause_s(self, conn: Connection) -> float:
        """Seconds until something comes due, LISTEN_S at most."""
        now = self._executor.clock()
        moments = [deliveries.next_due(conn, now), *self._resting.values()]
        known = [moment for moment in moments if moment is not None]
        return min([max((moment - now).total_seconds(), 0.0) for moment in known] + [LISTEN_S])

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The letters on their way. A database that is away has ended them with its error."""
        return [task for _, task in self._on_their_way.values()]

    def _due(self, conn: Connection) -> list[Letter]:
        while self._follower.step(conn):
            pass
        now = self._executor.clock()
        self._resting = {id_: until for id_, until in self._resting.items() if until > now}
        found = deliveries.due(conn, now, of_lane=OF_LANE + 1, limit=AT_ONCE)
        return [letter for letter in found if letter.id not in self._resting]

    async def _deliver(self, locks: Connection, letter: Letter) -> None:
        key = f"delivery {letter.lane if letter.ordered else letter.id}"
        if not await asyncio.to_thread(deliveries.hold, locks, key):
            return
        try:
            if await asyncio.to_thread(self._is_due, letter):
                await self._attempt(letter)
        except (psycopg.Error, PersistenceError):
            raise
        except Exception:
            log.exception("cannot_deliver", delivery_id=str(letter.id))
            self._resting[letter.id] = self._executor.clock() + REST
        finally:
            await asyncio.to_thread(deliveries.let_go, locks, key)

    async def _attempt(self, letter: Letter) -> None:
        try:
            to, of, headers = await asyncio.to_thread(self._ready, letter)
        except GivenUp as given_up:
            reason = str(given_up)
            await asyncio.to_thread(self._note, lambda work: letters.give_up(work, letter, reason))
            log.info("delivery_given_up", delivery_id=str(letter.id), kind=letter.kind, reason=reason)
            return
        answer = await self._client.post(to.url, headers, of.body)
        await asyncio.to_thread(self._note, lambda work: letters.record(work, letter, answer))
        _say(letter, answer)

    def _is_due(self, letter: Letter) -> bool:
        return self._executor.ask(lambda work: letters.is_due(work, letter))

    def _ready(self, letter: Letter) -> tuple[Address, Composed, dict[str, str]]:
        def made(work: Work) -> tuple[Address, Composed, dict[str, str]]:
            to = letters.address(work, letter)
            told = self._read(letter.position - 1, 1)[0]
            if isinstance(told.event, Unreadable):
                raise GivenUp("The event cannot be read by this version of the service")
            of = composing.composed(work, letter, told)
            return to, of, dict(composing.headers(letter, of, to, work))

        return self._executor.ask(made)

    def _note(self, decide: Callable[[Work], bool]) -> None:
        self._executor.attempt(decide, actor="delivery")


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
            done, _ = await asyncio.wait([listening, *courier.tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {listening}:
                task.result()
        if courier.tasks:
            await asyncio.wait(courier.tasks)


def run(courier: Courier, client: Client, connect: Callable[[], Connection], stop: Stop) -> None:
    """Until stopped; a database that is away is waited for."""

    async def kept() -> None:
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
