"""Load, decide, append, try again: written once."""

import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from threading import Lock
from typing import Concatenate, Generic, ParamSpec, TypeVar

import msgspec
from eventsourcing.persistence import IntegrityError

from application.access import Caller, Principal, identify
from application.store import EventStore
from application.work import Work

TRIES = 10
PAUSE_S = 0.0005  # after a first lost race, at most; doubled after each
P = ParamSpec("P")
R = TypeVar("R")


class Done(msgspec.Struct, Generic[R], frozen=True):
    """What a use case gave, and the log position that a reader must reach to see it."""

    result: R
    position: int


class Executor:
    """Carries out use cases; the only thing the outside needs of the write side."""

    def __init__(self, store: EventStore, clock: Callable[[], datetime]) -> None:
        self.store = store
        self.clock = clock
        self._turn = Lock()

    def execute(
        self, caller: Caller, use_case: Callable[Concatenate[Work, Principal, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> Done[R]:
        """One use case for a caller. Raises the domain's refusals; IntegrityError after TRIES lost races."""
        return self.attempt(lambda work: use_case(work, identify(work, caller), *args, **kwargs))

    def attempt(self, decide: Callable[[Work], R], *, tries: int = TRIES, actor: str = "system") -> Done[R]:
        """Decides on fresh state, again whenever another writer came first; then one at a time in this process."""
        for attempt in range(tries):
            with self._turn if attempt else nullcontext():
                work = Work(self.store, self.clock(), actor)
                result = decide(work)
                try:
                    return Done(result, work.commit())
                except IntegrityError:
                    if attempt == tries - 1:
                        raise
            time.sleep(random.uniform(0, PAUSE_S * 2**attempt))  # noqa: S311 rivals in other processes
        raise AssertionError

    def look(
        self, caller: Caller, question: Callable[Concatenate[Work, Principal, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """A question that records nothing: who is this, may they see that."""
        work = Work(self.store, self.clock())
        return question(work, identify(work, caller), *args, **kwargs)
