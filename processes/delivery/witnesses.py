"""
Asks the witnesses of the log to cosign its newest checkpoint (C2SP tlog-witness).

All are asked for the same checkpoint at once; who does not answer, or refuses, is asked again later, and the others wait
for none. Requests go where deliveries may go, and one process at a time asks, by a lock of Postgres.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from uuid import UUID

import structlog

from application.execute import Executor
from application.proof.cosigning import find_cosignature
from domain.delivery import retry
from domain.delivery.delivery import Answer
from domain.proof.witnesses import Witness, address_of, known_size, request_of
from processes.delivery import background
from processes.delivery.outbound import Client
from processes.wakeup import Connection
from projections.delivery import delivery_locks
from projections.engine import isolation
from projections.proof import log_tree, witnessing
from projections.proof.log_tree import WHOLE_LOG
from projections.proof.witnessing import Due

LOCK = "witnesses of the log"
HEADERS = {"User-Agent": "Routines", "Content-Type": "text/plain; charset=utf-8", "Accept-Encoding": "identity"}
READ = {HTTPStatus.OK, HTTPStatus.CONFLICT}  # statuses whose bodies are read
# In retry.PAUSES_S: ten minutes, whatever a witness asks for. Attempts never end, since the next checkpoint needs one as well.
LONGEST_PAUSE = 4
LONGEST = timedelta(seconds=retry.PAUSES_S[LONGEST_PAUSE - 1])
TAKEN = timedelta(seconds=1)  # how long the witnesses are left alone that another process is asking
REFUSALS = {
    HTTPStatus.FORBIDDEN: "It does not know the key of the log: register the verifier key there",
    HTTPStatus.NOT_FOUND: "It does not know the log: register its name and verifier key there",
    HTTPStatus.UNPROCESSABLE_ENTITY: "It says that the log does not go on from the checkpoint that it has cosigned last",
}

log = structlog.get_logger(process="delivery")


class Witnesses:
    """The witnesses of the log, and who of them is being asked."""

    def __init__(self, executor: Executor, client: Client, witnesses: Sequence[Witness]) -> None:
        self._clock = executor.clock
        self._client = client
        self._witnesses = {witness.verifier_key: witness for witness in witnesses}
        self._are_named = False
        self._round: asyncio.Task[None] | None = None
        self._rests_until: datetime | None = None

    async def ask_due(self, conn: Connection, now: datetime) -> int:
        """Begin to ask the witnesses that have not cosigned the newest checkpoint; return how many there are."""
        if self._round is not None and not self._round.done():
            return 0
        self._round = None
        if not self._are_named:
            await asyncio.to_thread(witnessing.name_witnesses, conn, list(self._witnesses))
            self._are_named = True
        # A rest that is longer than TAKEN began before the clock was set back.
        if not self._witnesses or (self._rests_until is not None and now < self._rests_until <= now + TAKEN):
            return 0
        self._rests_until = None
        due = await asyncio.to_thread(self._find_due, conn)
        if due:
            self._round = background.start_task(self._ask_witnesses(conn))
        return len(due)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The requests under way; one ends with an error only when the database is away."""
        return [] if self._round is None else [self._round]

    def wakes(self, conn: Connection, now: datetime) -> list[datetime]:
        """Return when a witness is asked again."""
        if not self._witnesses:
            return []
        rests_until = self._rests_until if self._rests_until is not None and self._rests_until > now else None
        return [moment for moment in (rests_until, witnessing.next_attempt(conn, now)) if moment is not None]

    def _find_due(self, conn: Connection) -> list[Due]:
        return [one for one in witnessing.due(conn, self._clock()) if one.verifier_key in self._witnesses]

    async def _ask_witnesses(self, conn: Connection) -> None:
        if not await asyncio.to_thread(delivery_locks.hold, conn, LOCK):
            self._rests_until = await asyncio.to_thread(self._clock) + TAKEN
            return
        try:
            # Read again under the lock: another process may have asked meanwhile.
            due = await asyncio.to_thread(self._find_due, conn)
            await asyncio.gather(*(self._settle(conn, one) for one in due))
        finally:
            await asyncio.to_thread(delivery_locks.release, conn, LOCK)

    async def _settle(self, conn: Connection, due: Due) -> None:
        witness = self._witnesses[due.verifier_key]
        try:
            line, answer = await self._request_cosignature(conn, witness, due)
        except Exception as error:
            if isolation.is_away(error):
                raise
            log.exception("cannot_ask_witness", witness=witness.key.name)
            line, answer = None, Answer(status=None, reason="The service could not ask: its log says why")
        if line is not None:
            await asyncio.to_thread(witnessing.note_cosigned, conn, due, line)
            log.info("checkpoint_cosigned", witness=witness.key.name, size=due.size, took_ms=answer.took_ms)
            return
        now = await asyncio.to_thread(self._clock)
        asked_for = None if answer.retry_after is None else min(answer.retry_after, LONGEST)
        again_at = retry.next_at(_id_of_witness(due.verifier_key), min(due.attempts + 1, LONGEST_PAUSE), now, asked_for)
        await asyncio.to_thread(witnessing.note_failed, conn, due.verifier_key, answer.words, now, again_at or now)
        log.warning("checkpoint_not_cosigned", witness=witness.key.name, size=due.size, reason=answer.words)

    async def _request_cosignature(self, conn: Connection, witness: Witness, due: Due) -> tuple[str | None, Answer]:
        """Return the line by which the witness has cosigned the checkpoint, or None and an answer that says why not."""
        older = due.known_size if due.known_size <= due.size else 0
        answer, body = await self._send(conn, witness, due, older)
        if answer.status == HTTPStatus.CONFLICT and (size := known_size(body)) not in {None, older}:
            if size is None or size > due.size:
                return None, _failed_answer(
                    answer, f"It has cosigned {size} events of this log, of which {due.size} are there"
                )
            answer, body = await self._send(conn, witness, due, size)
        if answer.reason is not None:
            return None, answer
        if answer.status == HTTPStatus.OK:
            cosignature = find_cosignature(body, witness.key, due.checkpoint)
            if cosignature is not None:
                return cosignature.line, answer
            return None, _failed_answer(answer, "Its answer has no valid cosignature by its key")
        if answer.status == HTTPStatus.CONFLICT:
            return None, _failed_answer(
                answer, "It has cosigned another checkpoint of this size, or contradicts itself"
            )
        if answer.status in REFUSALS:
            return None, _failed_answer(answer, REFUSALS[HTTPStatus(answer.status)])
        return None, answer

    async def _send(self, conn: Connection, witness: Witness, due: Due, older: int) -> tuple[Answer, bytes]:
        proof = await asyncio.to_thread(log_tree.tree(conn, WHOLE_LOG).prove_consistency, older, due.size)
        content = request_of(older, proof, due.checkpoint)
        return await self._client.exchange("POST", address_of(witness), HEADERS, content, READ.__contains__)


def _failed_answer(answer: Answer, reason: str) -> Answer:
    return Answer(status=answer.status, reason=reason, retry_after=answer.retry_after, took_ms=answer.took_ms)


def _id_of_witness(verifier_key: str) -> UUID:
    """Return what the pauses of a witness are drawn from, as those of a delivery are from its id."""
    return UUID(bytes=sha256(verifier_key.encode()).digest()[:16])
