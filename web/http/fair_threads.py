"""
The threads that handle requests, shared fairly: tenants take turns, and none has all threads at once.

A tenant that is not alone has fewer of them still. Threads of Python take turns at one processor, so each thread that
one tenant keeps busy makes the requests of all others slower, even where a thread is free for them.

A request waits in the queue of its tenant, which `TENANT` names when it is submitted. A free thread takes the next
request of the tenant whose turn it is. A request that is given up before (web/http/departures.py) leaves the queue.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from threading import Lock
from typing import Any, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
PRESENT_S = 2.0  # a tenant counts as present for so long after a request

TENANT: ContextVar[str] = ContextVar("tenant", default="")  # of the request of this context


class Job(NamedTuple):
    """A request that waits for a thread."""

    tenant: str
    future: Future[Any]
    work: Callable[[], Any]


class FairThreads(Executor):
    """
    An executor with `threads` threads.

    One tenant has at most `most_of_tenant` of them at once, and while others are present `most_beside_others`, which is
    the same unless given.
    """

    def __init__(
        self,
        threads: int,
        most_of_tenant: int,
        most_beside_others: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._most_of_tenant = most_of_tenant
        self._most_beside_others = most_of_tenant if most_beside_others is None else most_beside_others
        self._clock = clock
        self._present: OrderedDict[str, float] = OrderedDict()  # when each tenant last asked, longest ago first
        self._waiting: OrderedDict[str, dict[Future[Any], Job]] = OrderedDict()  # by tenant, in the order of turns
        self._running = Counter[str]()  # the number of threads at work, by tenant
        self._lock = Lock()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a job for the tenant of the context. The future may be cancelled while the job waits."""
        job = Job(TENANT.get(), Future(), lambda: fn(*args, **kwargs))
        with self._lock:
            self._present[job.tenant] = self._clock()
            self._present.move_to_end(job.tenant)
            self._waiting.setdefault(job.tenant, {})[job.future] = job
        job.future.add_done_callback(partial(self._leave_out, job.tenant))
        self._threads.submit(self._work)
        return job.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more jobs. With `wait`, return once the threads have ended."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)

    def _work(self) -> None:
        """Carry out jobs until none may be taken now. A job that is left waits for a thread that ends another one."""
        while (job := self._take()) is not None:
            try:
                if job.future.set_running_or_notify_cancel():
                    _carry_out(job)
            finally:
                with self._lock:
                    self._running[job.tenant] -= 1
                    if not self._running[job.tenant]:
                        del self._running[job.tenant]

    def _take(self) -> Job | None:
        with self._lock:
            most = self._most()
            for tenant, jobs in self._waiting.items():
                if self._running[tenant] < most:
                    job = jobs.pop(next(iter(jobs)))
                    self._running[tenant] += 1
                    self._waiting.move_to_end(tenant)
                    if not jobs:
                        del self._waiting[tenant]
                    return job
        return None

    def _most(self) -> int:
        """Return how many threads one tenant may have now. The caller must hold the lock."""
        before = self._clock() - PRESENT_S
        while self._present and next(iter(self._present.values())) < before:
            self._present.popitem(last=False)
        return self._most_of_tenant if len(self._present) <= 1 else self._most_beside_others

    def _leave_out(self, tenant: str, future: Future[Any]) -> None:
        if not future.cancelled():
            return
        with self._lock:
            jobs = self._waiting.get(tenant, {})
            if jobs.pop(future, None) is not None and not jobs:
                del self._waiting[tenant]


def _carry_out(job: Job) -> None:
    try:
        result = job.work()
    except BaseException as error:  # noqa: BLE001 the error is raised where the job is awaited
        job.future.set_exception(error)
        del job  # the error knows this frame: with the job in it, all that the request held would be kept in a cycle
    else:
        job.future.set_result(result)
