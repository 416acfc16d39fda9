"""Waiting in the event loop until read models show a position: one task looks for all who wait."""

import asyncio
from collections.abc import Mapping
from itertools import chain, repeat
from typing import NamedTuple

from application.event_store.at_hand import NeedsThread
from web.http.reading import Read, Reader

PAUSES_S = (0.001, 0.002)  # between two looks; the last one repeats


class _Waiting(NamedTuple):
    models: tuple[str, ...]
    target: int
    outcome: "asyncio.Future[bool]"


class ModelWatch:
    """Looks where read models are for as long as somebody waits for them."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._waiting = set[_Waiting]()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_active(self) -> bool:
        """Whether somebody waits, so that the models are likely to be behind for whoever comes now as well."""
        return bool(self._waiting)

    async def reach(self, models: tuple[str, ...], target: int, timeout_s: float) -> bool:
        """
        Return whether the models show everything up to the target within so many seconds.

        Returns False as well once the rows of one are not this version's, or nothing can be asked.
        """
        waiting = _Waiting(models, target, asyncio.get_running_loop().create_future())
        self._waiting.add(waiting)
        if self._task is None:
            self._task = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(timeout_s):
                return await waiting.outcome
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(waiting)

    async def _look(self) -> None:
        """Look again and again until nobody waits."""
        pauses_s = chain(PAUSES_S, repeat(PAUSES_S[-1]))
        try:
            while self._waiting:
                await asyncio.sleep(next(pauses_s))
                groups = list({waiting.models for waiting in self._waiting})
                answers = await asyncio.gather(*(self._reader.find(Read({}, models, None)) for models in groups))
                self._answer_waiting({models: answer.reached for models, answer in zip(groups, answers, strict=True)})
        except NeedsThread:
            self._answer_waiting({waiting.models: None for waiting in self._waiting})
        finally:
            self._task = None

    def _answer_waiting(self, reached: Mapping[tuple[str, ...], int | None]) -> None:
        """Answer those whose models have come far enough, or are not to be waited for (None)."""
        for waiting in self._waiting:
            position = reached.get(waiting.models, 0)  # those who have come during the look are not in it
            if not waiting.outcome.done() and (position is None or position >= waiting.target):
                waiting.outcome.set_result(position is not None)
