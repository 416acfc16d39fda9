"""Load, decide, append, try again: written once."""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from datetime import datetime
from threading import Lock
from typing import Concatenate, Generic, ParamSpec, TypeVar
from uuid import UUID

import msgspec
from eventsourcing.persistence import IntegrityError, OperationalError

from application import tracing
from application.access import Caller, Principal, identify
from application.memory import Memory
from application.quota import Quotas
from application.store import EventStore
from application.vault import Vault
from application.work import Work
from domain.recorded import Recorded

TRIES = 10
PAUSE_S = 0.0005  # after a first lost race, at most; doubled after each
P = ParamSpec("P")
R = TypeVar("R")


class Done(msgspec.Struct, Generic[R], frozen=True):
    """What a use case gave, the log position that a reader must reach to see it, and the events that it added up to there."""

    result: R
    position: int
    recorded: Sequence[Recorded]


class Executor:
    """Carries out use cases; the only thing the outside needs of the write side."""

    def __init__(
        self,
        store: EventStore,
        clock: Callable[[], datetime],
        vault: Vault | None = None,
        memory: Memory | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.vault = vault
        self.quotas = quotas
        self._memory = memory
        self._turn = Lock()

    def execute(
        self, caller: Caller, use_case: Callable[Concatenate[Work, Principal, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> Done[R]:
        """
        One use case for a caller. Raises the domain's refusals; IntegrityError after TRIES lost races.

        The streams whose ids are among the arguments are fetched together with the caller's key.
        """
        ids = [arg for arg in args if isinstance(arg, UUID)]
        return self.attempt(lambda work: use_case(work, identify(work, caller, ids), *args, **kwargs))

    def attempt(self, decide: Callable[[Work], R], *, tries: int = TRIES, actor: str = "system") -> Done[R]:
        """
        Decides on fresh state, again whenever another writer came first; then one at a time in this process.

        The first time it decides on what it remembers, which the commit proves or refuses.
        """
        with tracing.span("unit of work") as span:
            done = self._attempt(decide, tries, actor)
            span.set_attributes({"routines.events": len(done.recorded), "routines.position": done.position})
            return done

    def _attempt(self, decide: Callable[[Work], R], tries: int, actor: str) -> Done[R]:
        with self._turn if self._turn.locked() else nullcontext():  # nobody overtakes who has lost a race
            if self._memory is not None and (done := self._by_memory(decide, actor)) is not None:
                return done
        for attempt in range(tries):
            with self._turn if attempt else nullcontext():
                work = Work(self.store, self.clock(), actor, self.vault, quotas=self.quotas)
                result = decide(work)
                try:
                    return self._commit(work, result)
                except IntegrityError:
                    if attempt == tries - 1:
                        raise
            time.sleep(random.uniform(0, PAUSE_S * 2**attempt))  # noqa: S311 rivals in other processes
        raise AssertionError

    def _by_memory(self, decide: Callable[[Work], R], actor: str) -> Done[R] | None:
        """None when what we remember is not enough to answer: a refusal may rest on what is no longer so."""
        work = Work(self.store, self.clock(), actor, self.vault, self._memory, self.quotas)
        try:
            result = decide(work)
        except OperationalError:
            raise
        except Exception:  # noqa: BLE001 whatever it is, it is said again on fresh state if it is still so
            return None
        with suppress(IntegrityError):
            return None if work.is_idle else self._commit(work, result)
        return None

    def read_ahead(self, read: Callable[[Work], object]) -> None:
        """Remembers what decisions that are soon to come rest on, so that they need not wait for it."""
        if self._memory is None:
            return
        work = Work(self.store, self.clock())
        try:
            read(work)
        except OperationalError:
            raise
        except Exception:  # noqa: BLE001 whatever it is, the decision will say it if it is still so
            return
        self._memory.learn(work.seen(committed=False))

    def _commit(self, work: Work, result: R) -> Done[R]:
        """Raises OverQuota, or Unacceptable for another quota, before anything is recorded."""
        charge = None if self.quotas is None or work.is_idle else work.charge()
        if self.quotas is not None and charge is not None:
            self.quotas.take(charge)
        try:
            position = work.commit()
        except IntegrityError:
            if self.quotas is not None and charge is not None:
                self.quotas.give_back(charge)
            raise
        if self._memory is not None:
            self._memory.learn(work.seen(committed=True))
        return Done(result, position, work.batch)

    def look(
        self, caller: Caller, question: Callable[Concatenate[Work, Principal, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """A question that records nothing: who is this, may they see that."""
        work = Work(self.store, self.clock(), vault=self.vault)
        ids = [arg for arg in args if isinstance(arg, UUID)]
        return question(work, identify(work, caller, ids), *args, **kwargs)

    def ask(self, question: Callable[[Work], R]) -> R:
        """A question of our own, which records nothing."""
        return question(Work(self.store, self.clock(), vault=self.vault))
