"""Tenants take turns for the threads of a web process, and none has all of them."""

from contextlib import contextmanager
from threading import Event

import pytest

from tests.waiting import wait_for
from web.http.backend import Backend
from web.http.fair_queue import PRESENT_S, TENANT
from web.http.fair_threads import FairThreads


@pytest.fixture
def job_gate():
    """What a job waits for."""
    opened = Event()
    yield opened
    opened.set()


@contextmanager
def tenant(name):
    token = TENANT.set(name)
    try:
        yield
    finally:
        TENANT.reset(token)


def submit(threads, name, work):
    with tenant(name):
        return threads.submit(work)


def test_a_job_gives_its_result_or_its_error_to_whoever_waits():
    threads = FairThreads(2, 2)

    assert 3 == threads.submit(lambda one, other: one + other, 1, other=2).result(5)
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 / 0).result(5)


def test_a_tenant_that_keeps_its_threads_busy_leaves_some_to_others(job_gate):
    threads = FairThreads(4, 3)
    busy = [submit(threads, "hostile", lambda: job_gate.wait(10)) for _ in range(50)]

    assert "done" == submit(threads, "neighbour", lambda: "done").result(5)
    assert 3 == sum(job.running() for job in busy)

    job_gate.set()
    assert all(job.result(5) for job in busy)


def test_a_tenant_has_fewer_threads_while_others_are_present(job_gate):
    now_s = 0.0
    threads = FairThreads(4, 3, 1, clock=lambda: now_s)
    submit(threads, "neighbour", lambda: None).result(5)
    busy = [submit(threads, "busy", lambda: job_gate.wait(10)) for _ in range(5)]
    wait_for(busy[0].running)
    assert [True, False, False, False, False] == [job.running() for job in busy]

    now_s = PRESENT_S + 0.1
    busy.append(submit(threads, "busy", lambda: job_gate.wait(10)))

    wait_for(busy[1].running)


def test_tenants_take_turns_however_much_one_of_them_has_waiting(job_gate):
    threads = FairThreads(1, 1)
    order = []
    first = submit(threads, "first", lambda: job_gate.wait(10))
    jobs = [submit(threads, name, lambda name=name: order.append(name)) for name in ["a"] * 5 + ["b"] * 2 + ["c"]]

    job_gate.set()
    for job in [first, *jobs]:
        job.result(5)

    assert ["a", "b", "c", "a", "b", "a", "a", "a"] == order


def test_a_job_that_is_cancelled_while_it_waits_is_not_carried_out(job_gate):
    threads, done = FairThreads(1, 1), []
    busy = submit(threads, "a", lambda: job_gate.wait(10))
    left = submit(threads, "a", lambda: done.append("left"))
    stays = submit(threads, "a", lambda: done.append("stays"))

    assert left.cancel()
    job_gate.set()
    stays.result(5)

    assert ["stays"] == done
    assert busy.result(5)


def test_nothing_is_remembered_of_tenants_that_have_nothing_to_do():
    threads = FairThreads(2, 1)
    for number in range(1_000):
        submit(threads, str(number), lambda: None).result(5)

    wait_for(lambda: not threads._queue._waiting and not threads._queue._running, limit_s=5)


def test_a_tenant_that_waits_for_read_models_leaves_room_for_others_to_wait():
    backend = Backend(executor=None, pool=None, patience_s=5.0)

    assert [True, True, True, False] == [backend._begin_long_wait("hostile") for _ in range(4)]
    assert [True, True, True, False] == [backend._begin_long_wait("neighbour") for _ in range(4)]

    backend._end_long_wait("hostile")
    assert backend._begin_long_wait("neighbour") is False
    assert backend._begin_long_wait("another")
