"""
The threads that handle requests, shared fairly: tenants take turns, and none has all threads at once.

A tenant that is not alone has fewer of them still. Threads of Python take turns at one processor, so each thread that
one tenant keeps busy makes the requests of all others slower, even where a thread is free for them.

A request waits in the queue of its tenant, which `TENANT` names when it is submitted. A free thread takes the next
request of the tenant whose turn it is. A request that is given up before (web/http/departures.py) leaves the queue.
"""

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, ParamSpec, TypeVar

from web.http.fair_queue import TENANT, FairQueue

P = ParamSpec("P")
T = TypeVar("T")


class FairThreads(Executor):
    """An executor with `threads` threads, of which one tenant has no more than FairQueue gives it."""

    def __init__(
        self,
        threads: int,
        most_of_tenant: int,
        most_beside_others: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._queue = FairQueue[Future[Any]](most_of_tenant, most_beside_others, clock)
        self._work: dict[Future[Any], Callable[[], Any]] = {}  # of the requests that wait
        self._lock = Lock()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a job for the tenant of the context. The future may be cancelled while the job waits."""
        tenant, future = TENANT.get(), Future[T]()
        with self._lock:
            self._work[future] = partial(fn, *args, **kwargs)
            self._queue.put(tenant, future)
        future.add_done_callback(partial(self._leave_out, tenant))
        self._threads.submit(self._carry_out_jobs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more jobs. With `wait`, return once the threads have ended."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)

    def _carry_out_jobs(self) -> None:
        """Carry out jobs until none may be taken now. A job that is left waits for a thread that ends another one."""
        while True:
            with self._lock:
                if (job := self._queue.take()) is None:
                    return
                tenant, future = job
                work = self._work.pop(future)
            try:
                if future.set_running_or_notify_cancel():
                    _carry_out(future, work)
            finally:
                del job, future, work  # an idle thread must not keep what a request held
                with self._lock:
                    self._queue.end(tenant)

    def _leave_out(self, tenant: str, future: Future[Any]) -> None:
        if future.cancelled():
            with self._lock:
                self._queue.leave_out(tenant, future)
                self._work.pop(future, None)


def _carry_out(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 the error is raised where the job is awaited
        future.set_exception(error)
        # The error knows this frame: with the job in it, all that the request held would be kept in a cycle.
        del future, work
    else:
        future.set_result(result)
