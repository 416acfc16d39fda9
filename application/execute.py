"""The executor of use cases: it loads, decides, appends, and tries again when another writer came first."""

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
from application.event_store.unit_of_work import UNCHANGED_SINCE, Spending, UnitOfWork
from application.quotas.quotas import Quotas
from application.secrets.vault import Vault
from domain.events import KeyIssued
from domain.recorded import Recorded

TRIES = 10
MOST_USERS = 100_000  # a process remembers the last company of at most so many users
PAUSE_S = 0.0005  # the longest pause after the first lost race; it doubles after each further one
P = ParamSpec("P")
R = TypeVar("R")


class Done(msgspec.Struct, Generic[R], frozen=True):
    """The result of a use case, the log position at which a reader sees its effect, and the events that it recorded."""

    result: R
    position: int
    recorded: Sequence[Recorded]


class Executor:
    """Carries out use cases; the web and the processes reach the write side only through it."""

    def __init__(  # noqa: PLR0913, PLR0917 the parts that a process has
        self,
        store: EventStore,
        clock: Callable[[], datetime],
        vault: Vault | None = None,
        cache: StreamCache | None = None,
        quotas: Quotas | None = None,
        spending: Spending | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.vault = vault
        self.quotas = quotas
        self._spending = spending
        self._cache = cache
        self._turns = Turns()
        self._tenants: dict[UUID, UUID] = {}  # by user: the company in which they last acted

    def execute(
        self,
        caller: Caller,
        use_case: Callable[Concatenate[UnitOfWork, Principal, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Done[R]:
        """
        Carry out one use case for a caller.

        The streams whose ids are among the arguments are fetched together with the caller's key. Raises a DomainError
        when the request is refused, and IntegrityError after TRIES lost races.
        """
        ids = [arg for arg in args if isinstance(arg, UUID)]

        def decide(work: UnitOfWork) -> R:
            principal = identify(work, caller, ids)
            with self._noting(work, principal):
                return use_case(work, principal, *args, **kwargs)

        return self.attempt(decide)

    def attempt(self, decide: Callable[[UnitOfWork], R], *, tries: int = TRIES, actor: str = "system") -> Done[R]:
        """
        Take a decision and commit it, and take it again on fresh state whenever another writer came first.

        The first try may rest on cached streams: the commit is refused when one of them has moved on. After a lost race
        on a stream the decision takes its turn there: other threads that want to write to that stream let it go first.
        """
        with tracing.span("unit of work") as span:
            outcome = self._attempt(decide, tries, actor)
            span.set_attributes({"routines.events": len(outcome.recorded), "routines.position": outcome.position})
            return outcome

    def _attempt(self, decide: Callable[[UnitOfWork], R], tries: int, actor: str) -> Done[R]:
        cache, turn, lost = self._cache, frozenset[UUID](), 0
        if UNCHANGED_SINCE.get() is not None:
            cache = None  # the streams in it do not all know their positions
        while True:
            with self._turns.take(turn):
                work = UnitOfWork(self.store, self.clock(), actor, self.vault, cache, self.quotas, self._spending)
                try:
                    result = decide(work)
                except OperationalError:
                    raise
                except Exception:
                    if cache is None:
                        raise
                    cache = None  # the error may come from old state: it is raised if it occurs again on fresh state
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
                        raise  # a clock that is wrong twice will be wrong again
                    turn |= self._moved(work)
            time.sleep(random.uniform(0, PAUSE_S * 2 ** (lost - 1)))  # noqa: S311 no secret: it spreads out writers

    def _moved(self, work: UnitOfWork) -> set[UUID]:
        """Return the streams on which another writer came first."""
        versions = work.versions
        return {id_ for id_, version in self.store.versions(versions).items() if version != versions[id_]}

    def read_ahead(self, read: Callable[[UnitOfWork], object]) -> bool:
        """
        Read the streams on which coming decisions will rest into the cache, so that those need not wait for them.

        Returns False when they cannot be read, or are too much to be read at once.
        """
        if self._cache is None:
            return True
        work = UnitOfWork(self.store, self.clock())
        try:
            read(work)
        except OperationalError:
            raise
        except Exception:  # noqa: BLE001 the decision will raise it if it still occurs
            return False
        self._cache.put(work.seen(committed=False))
        return True

    def _commit(self, work: UnitOfWork, result: R) -> Done[R]:
        """Commit the decision. Raises OverQuota or RuleViolation for a quota, before anything is recorded."""
        reservation = None if self.quotas is None or work.is_idle else self.quotas.take(work.charge())
        try:
            position = work.commit()
        except OutcomeUnknown:
            raise  # the events may be recorded, so the charge stays
        except BaseException:
            if self.quotas is not None and reservation is not None:
                self.quotas.give_back(reservation)
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
        """Answer a question for a caller, such as whether they may see something. Records nothing."""
        work = UnitOfWork(self.store, self.clock(), vault=self.vault, spending=self._spending)
        ids = [arg for arg in args if isinstance(arg, UUID)]
        principal = identify(work, caller, ids)
        if self._cache is not None and caller.key_id is not None and self._cache.get(caller.key_id) is None:
            self._cache.put((id_, stream) for id_, stream in work.seen(committed=False) if id_ == caller.key_id)
        with self._noting(work, principal):
            return question(work, principal, *args, **kwargs)

    def tenant_of(self, caller: Caller) -> UUID | None:
        """
        Return the company for which a caller acts, as far as this process knows; None when it does not know.

        For the key of an agent or a collection it is the company of the key, for a board user the company in which they
        last acted. An instance admin belongs to no company, so their user id is returned. Nothing is read and nothing
        is verified: the answer serves to share out resources, not to give access.
        """
        stream = self._cache.get(caller.key_id) if self._cache is not None and caller.key_id is not None else None
        first = stream.recorded[0] if stream is not None and stream.recorded else None
        match first:
            case Recorded(event=KeyIssued(user_id=user_id), company_id=company_id):
                return company_id if user_id is None else self._tenants.get(user_id)
            case _:
                return None

    @contextmanager
    def _noting(self, work: UnitOfWork, principal: Principal) -> Iterator[None]:
        """Remember for which tenant a board user acts, also when the use case fails."""
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
        """Answer a question of the service itself, without a caller. Records nothing."""
        return question(UnitOfWork(self.store, self.clock(), vault=self.vault, spending=self._spending))
