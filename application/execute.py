"""Load, decide, append, try again: written once."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Concatenate, Generic, ParamSpec, TypeVar
from uuid import UUID

import msgspec
from eventsourcing.persistence import IntegrityError, OperationalError

from application import tracing
from application.access import BoardUser, Caller, Principal, identify
from application.event_store.recorder import ClockDiffers, OutcomeUnknown
from application.event_store.store import EventStore
from application.event_store.stream_cache import StreamCache
from application.event_store.turns import Turns
from application.event_store.unit_of_work import UnitOfWork
from application.quotas import Quotas
from application.secrets.vault import Vault
from domain.events import KeyIssued
from domain.recorded import Recorded

TRIES = 10
MOST_USERS = 100_000  # whose companies a process remembers
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
        cache: StreamCache | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.vault = vault
        self.quotas = quotas
        self._cache = cache
        self._turns = Turns()
        self._tenants: dict[UUID, UUID] = {}  # by user: the company in which they last did anything

    def execute(
        self,
        caller: Caller,
        use_case: Callable[Concatenate[UnitOfWork, Principal, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Done[R]:
        """
        One use case for a caller. Raises the domain's refusals; IntegrityError after TRIES lost races.

        The streams whose ids are among the arguments are fetched together with the caller's key.
        """
        ids = [arg for arg in args if isinstance(arg, UUID)]

        def decide(work: UnitOfWork) -> R:
            principal = identify(work, caller, ids)
            with self._noting(work, principal):
                return use_case(work, principal, *args, **kwargs)

        return self.attempt(decide)

    def attempt(self, decide: Callable[[UnitOfWork], R], *, tries: int = TRIES, actor: str = "system") -> Done[R]:
        """
        Decides on fresh state, again whenever another writer came first.

        The first time it decides on what is cached, which the commit proves or refuses. Whoever has lost a race on a
        stream decides again in its turn there; whoever wants to write to that stream meanwhile lets it go first.
        """
        with tracing.span("unit of work") as span:
            done = self._attempt(decide, tries, actor)
            span.set_attributes({"routines.events": len(done.recorded), "routines.position": done.position})
            return done

    def _attempt(self, decide: Callable[[UnitOfWork], R], tries: int, actor: str) -> Done[R]:
        cache, turn, lost = self._cache, frozenset[UUID](), 0
        while True:
            with self._turns.take(turn):
                work = UnitOfWork(self.store, self.clock(), actor, self.vault, cache, self.quotas)
                try:
                    result = decide(work)
                except OperationalError:
                    raise
                except Exception:
                    if cache is None:
                        raise
                    cache = None  # whatever it is, it is said again on fresh state if it is still so
                    continue
                if cache is not None and work.is_idle:
                    cache = None
                    continue
                if not turn and (turn := self._turns.taken(work.written)):
                    continue
                try:
                    return self._commit(work, result)
                except IntegrityError as error:
                    if cache is not None:
                        cache = None
                        continue
                    lost += 1
                    if lost == tries or (lost > 1 and isinstance(error, ClockDiffers)):
                        raise  # a clock that is wrong again stays wrong
                    turn |= self._moved(work)
            time.sleep(random.uniform(0, PAUSE_S * 2 ** (lost - 1)))  # noqa: S311 rivals in other processes

    def _moved(self, work: UnitOfWork) -> set[UUID]:
        """The streams on which another writer came first."""
        versions = work.versions
        return {id_ for id_, version in self.store.versions(versions).items() if version != versions[id_]}

    def read_ahead(self, read: Callable[[UnitOfWork], object]) -> bool:
        """
        Caches what decisions that are soon to come rest on, so that they need not wait for it.

        False when that cannot be read, or is too much to be read at once.
        """
        if self._cache is None:
            return True
        work = UnitOfWork(self.store, self.clock())
        try:
            read(work)
        except OperationalError:
            raise
        except Exception:  # noqa: BLE001 whatever it is, the decision will say it if it is still so
            return False
        self._cache.put(work.seen(committed=False))
        return True

    def _commit(self, work: UnitOfWork, result: R) -> Done[R]:
        """Raises OverQuota, or Unacceptable for another quota, before anything is recorded."""
        charge = None if self.quotas is None or work.is_idle else work.charge()
        if self.quotas is not None and charge is not None:
            self.quotas.take(charge)
        try:
            position = work.commit()
        except OutcomeUnknown:
            raise  # it may be recorded
        except BaseException:
            if self.quotas is not None and charge is not None:
                self.quotas.give_back(charge)
            raise
        if self._cache is not None:
            self._cache.put(work.seen(committed=True))
        return Done(result, position, work.batch)

    def query_as(
        self,
        caller: Caller,
        question: Callable[Concatenate[UnitOfWork, Principal, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """A question that records nothing: who is this, may they see that."""
        work = UnitOfWork(self.store, self.clock(), vault=self.vault)
        ids = [arg for arg in args if isinstance(arg, UUID)]
        principal = identify(work, caller, ids)
        if self._cache is not None and caller.key_id is not None and self._cache.get(caller.key_id) is None:
            self._cache.put((id_, stream) for id_, stream in work.seen(committed=False) if id_ == caller.key_id)
        with self._noting(work, principal):
            return question(work, principal, *args, **kwargs)

    def tenant_of(self, caller: Caller) -> UUID | None:
        """
        Whose a caller's key is: a company's; of a board user, the company in which they last did anything. An instance
        admin, who is at home in all of them, is a tenant apart.

        Only what is known here is asked, so None says nothing; it is to share things out, and proves nothing.
        """
        stream = self._cache.get(caller.key_id) if self._cache is not None and caller.key_id is not None else None
        issued = stream.recorded[0] if stream is not None and stream.recorded else None
        match issued:
            case Recorded(event=KeyIssued(user_id=user_id), company_id=company_id):
                return company_id if user_id is None else self._tenants.get(user_id)
            case _:
                return None

    @contextmanager
    def _noting(self, work: UnitOfWork, principal: Principal) -> Iterator[None]:
        """For which tenant a board user acts, whatever comes of it."""
        try:
            yield
        finally:
            if isinstance(principal, BoardUser):
                tenant = principal.user_id if principal.instance_admin else work.tenant
                if len(self._tenants) >= MOST_USERS:
                    self._tenants.clear()
                if tenant is not None:
                    self._tenants[principal.user_id] = tenant

    def query(self, question: Callable[[UnitOfWork], R]) -> R:
        """A question of our own, which records nothing."""
        return question(UnitOfWork(self.store, self.clock(), vault=self.vault))
