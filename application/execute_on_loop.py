"""
The executor of use cases in an event loop: the attempt is that of `execute.py`, and nothing in it holds a thread.

A decision is taken in the loop, on what is at hand (event_store/at_hand.py); what it misses is loaded, and it is taken
again. Commits of several tasks go together (event_store/loop_recorder.py). What cannot be had that way, or would hold up
the loop, is done by a thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, ParamSpec, Protocol, TypeVar, cast
from uuid import UUID

from psycopg_pool import PoolTimeout

from application.event_store.at_hand import (
    KeysAtHand,
    LightStreams,
    Missing,
    MissingKeys,
    NeedsThread,
    OpenedSecrets,
    QuotasElsewhere,
    StreamsAtHand,
    spent_elsewhere,
)
from application.event_store.data_keys import DataKeys
from application.event_store.loop_recorder import LoopRecorder
from application.event_store.loop_turns import LoopTurns
from application.event_store.recorder import Batch, GroupFailed, PostgresRecorder
from application.event_store.stream_cache import CachedStream, StreamCache, size_of
from application.event_store.stream_kinds import CACHED_ON_LOOP_PREFIXES
from application.event_store.unit_of_work import UnitOfWork
from application.execute import TRIES, CommitResult, Executor
from application.quotas.charge import Charge
from application.quotas.quotas import Quotas, Reservation
from domain.recorded import Recorded

# Loads for one decision. One that needs more, or other streams each time it is taken, is left to a thread.
MOST_LOADS = 20
P = ParamSpec("P")
R = TypeVar("R")


class InThread(Protocol):
    """Calls a function in a thread, and waits for it without holding up the event loop."""

    def __call__(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        """Return what the function returns."""


class LoopExecutor:
    """Carries out use cases for the tasks of an event loop, as `executor` does for threads."""

    def __init__(self, executor: Executor, recorder: LoopRecorder, in_thread: InThread) -> None:
        self._executor = executor
        self._in_thread = in_thread
        self._steps = _Awaiting(executor, recorder, in_thread)

    async def attempt(self, decide: Callable[[UnitOfWork], R], *, tries: int = TRIES) -> CommitResult[R]:
        """Take a decision and commit it, as Executor.attempt does."""
        try:
            return await self._executor.attempt_by(self._steps, decide, tries, "system")
        except NeedsThread:
            return await self._in_thread(self._executor.attempt, decide, tries=tries)

    async def answer(
        self, question: Callable[[UnitOfWork], R], *, is_fresh: bool = False
    ) -> tuple[R, Mapping[UUID, int]]:
        """
        Answer a question, and return the versions of the streams that the answer rests on. Raises NeedsThread.

        Unless it `is_fresh` the answer may rest on cached streams, so the caller must look whether they are unchanged.
        What is refused is refused on fresh state.
        """
        cache = None if is_fresh else self._executor.cache
        try:
            work, result = await self._steps.decide(question, "system", cache)
        except Exception as error:
            if cache is None or isinstance(error, PoolTimeout):
                raise
            work, result = await self._steps.decide(question, "system", None)
        return result, work.versions


class _Awaiting:
    """The steps in an event loop, which goes on meanwhile."""

    def __init__(self, executor: Executor, recorder: LoopRecorder, in_thread: InThread) -> None:
        self._executor = executor
        self._recorder = recorder
        self._in_thread = in_thread
        self._vault = None if executor.vault is None else cast("Any", OpenedSecrets(executor.vault))
        self._quotas = None if executor.quotas is None else cast("Any", QuotasElsewhere())
        self._spending = None if executor.spending is None else spent_elsewhere
        self._turns = LoopTurns()
        self._reading: asyncio.Task[datetime] | None = None  # the read of the clock that is under way

    def hold_turns(self, stream_ids: Collection[UUID]) -> AbstractAsyncContextManager[None]:
        return self._turns.take(stream_ids)

    def find_busy(self, stream_ids: Iterable[UUID]) -> frozenset[UUID]:
        return self._turns.find_busy(stream_ids)

    async def decide(
        self, decide: Callable[[UnitOfWork], R], actor: str, cache: StreamCache | None
    ) -> tuple[UnitOfWork, R]:
        now, store = await self._read_clock(), self._executor.store
        keys = None if store.keys is None else KeysAtHand(cast("DataKeys", store.keys))
        at_hand = StreamsAtHand(store.limits, keys)
        light = None if cache is None else cast("Any", LightStreams(cache))
        has_missed = False
        for _ in range(MOST_LOADS):
            work = UnitOfWork(cast("Any", at_hand), now, actor, self._vault, light, self._quotas, self._spending)
            try:
                result = decide(work)
            except Missing as missing:
                missing_streams = missing
            except MissingKeys as missing:
                await self._fetch(missing)
                continue
            else:
                if has_missed:  # the streams come with their states, which need not be folded again
                    self._put(work.cacheable_streams(committed=False))
                return work, result
            has_missed = True
            try:
                streams = await self._recorder.load(missing_streams.stream_ids, missing_streams.read_from, keys)
            except MissingKeys as missing:
                await self._fetch(missing)
                continue  # the streams are loaded again, which is seldom necessary
            at_hand.put(streams, missing_streams.read_from)
            self._put((id_, _unfolded_stream(recorded)) for id_, recorded in streams.items() if _is_cached(recorded))
        raise NeedsThread

    def _put(self, streams: Iterable[tuple[UUID, CachedStream]]) -> None:
        """Cache streams: the next decision mostly rests on the same ones."""
        if self._executor.cache is not None:
            self._executor.cache.put(streams)

    async def _fetch(self, missing: MissingKeys) -> None:
        """Fetch data keys. It has a thread of its own, as the clock has. Raises NeedsThread when one is lost."""
        keys = cast("DataKeys", self._executor.store.keys)
        if missing.to_seal is not None:
            await asyncio.to_thread(keys.to_seal, missing.to_seal)
        elif not await asyncio.to_thread(keys.fetch, missing.subject_ids):
            raise NeedsThread

    async def _read_clock(self) -> datetime:
        clock = self._executor.clock
        if not getattr(clock, "is_outdated", False):
            return clock()
        if self._reading is None or self._reading.done():
            # All wait for one answer, or one failure. It has a thread of its own, so that it waits behind no tenant.
            self._reading = asyncio.create_task(asyncio.to_thread(clock))
        return await asyncio.shield(self._reading)

    async def take(self, quotas: Quotas, charge: Charge) -> Reservation:
        reservation = quotas.take_if_known(charge)
        return await self._in_thread(quotas.take, charge) if reservation is None else reservation

    async def commit(self, work: UnitOfWork) -> int:
        if work.is_idle:
            return await self._recorder.head()
        if work.has_secrets:
            raise NeedsThread
        stored, guards = work.to_append
        self._executor.store.check(stored)
        batch = Batch.of(stored, guards)
        if not batch.is_small:
            raise NeedsThread
        writing = self._turns.begin(work.streams_written)
        try:
            outcome = await self._recorder.append(batch)
            if isinstance(outcome, GroupFailed):
                recorder = cast("PostgresRecorder", self._executor.store.recorder)
                return await self._in_thread(recorder.append, batch, was_sent=outcome.was_sent)
        finally:
            self._turns.end(writing)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def versions(self, stream_ids: Iterable[UUID]) -> Mapping[UUID, int]:
        return await self._recorder.versions(list(stream_ids))

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _is_cached(recorded: Sequence[Recorded]) -> bool:
    return bool(recorded) and recorded[0].name.startswith(CACHED_ON_LOOP_PREFIXES)


def _unfolded_stream(recorded: Sequence[Recorded]) -> CachedStream:
    return CachedStream(recorded, state=None, folded=0, size=size_of(recorded))
