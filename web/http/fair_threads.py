"""
The threads that handle requests, shared fairly: tenants take turns, and none has all threads at once.

A request waits in the queue of its tenant, which `TENANT` names when it is submitted. A free thread takes the next
request of the tenant whose turn it is. A request that is given up before (web/http/departures.py) leaves the queue.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import ContextVar
from threading import Lock
from typing import Any, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

TENANT: ContextVar[str] = ContextVar("tenant", default="")  # of the request of this context


class Job(NamedTuple):
    """A request that waits for a thread."""

    tenant: str
    future: Future[Any]
    work: Callable[[], Any]


class FairThreads(Executor):
    """An executor with `threads` threads, of which one tenant has at most `most_of_tenant` at once."""

    def __init__(self, threads: int, most_of_tenant: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._most_of_tenant = most_of_tenant
        self._waiting: OrderedDict[str, dict[Future[Any], Job]] = OrderedDict()  # by tenant, in the order of turns
        self._running = Counter[str]()  # the number of threads at work, by tenant
        self._lock = Lock()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a job for the tenant of the context. The future may be cancelled while the job waits."""
        job = Job(TENANT.get(), Future(), lambda: fn(*args, **kwargs))
        with self._lock:
            self._waiting.setdefault(job.tenant, {})[job.future] = job
        job.future.add_done_callback(lambda future: self._leave_out(job.tenant, future))
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
            for tenant, jobs in self._waiting.items():
                if self._running[tenant] < self._most_of_tenant:
                    job = jobs.pop(next(iter(jobs)))
                    self._running[tenant] += 1
                    self._waiting.move_to_end(tenant)
                    if not jobs:
                        del self._waiting[tenant]
                    return job
        return None

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
    else:
        job.future.set_result(result)
