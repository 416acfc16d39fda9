"""The next batch is read while one is folded, and given only to whoever is at that place of that log."""

import threading

from processes.last_batch import LastBatch
from routines import bootstrap
from tests.processes.due import NOON
from tests.waiting import wait_for


def test_after_a_full_batch_the_next_one_is_read_while_that_is_folded(company_fixture, system):
    company_fixture.routines(2, next_at=NOON)
    reads = []

    def read(position, limit):
        reads.append(position)
        return system.store.after(position, limit)

    batch = LastBatch(read)

    first = batch(0, 2)
    wait_for(lambda: reads == [0, 2])
    batch.forget()
    assert [2, 2] == [len(first), len(batch(2, 2))]
    assert first[-1].position + 1 == batch(2, 2)[0].position
    wait_for(lambda: reads == [0, 2, 4])
    assert [] == list(batch(system.store.head(), 2))  # another place than the one that was read ahead
    assert [0, 2, 4, system.store.head()] == reads


def ask_in_steps(batch, *steps):
    """What followers at these positions ask for, step by step; where a step begins, `batch` is told."""
    for places in steps:
        batch.forget()
        for position in places:
            batch(position, 2)


def test_what_is_read_ahead_for_one_follower_is_kept_while_others_are_at_other_places(company_fixture, system):
    company_fixture.routines(3, next_at=NOON)
    head, reads = system.store.head(), []

    def read(position, limit):
        reads.append(position)
        return system.store.after(position, limit)

    batch = LastBatch(read)
    ask_in_steps(batch, [0, head, head, 0], [2, head, head, 2], [4, head, 4])
    wait_for(lambda: 6 in reads)

    assert [0, 2, 4, 6] == sorted(position for position in reads if position != head)
    assert 3 == reads.count(head)


def test_what_is_read_ahead_for_nobody_gives_way_after_a_step(company_fixture, system):
    company_fixture.routines(4, next_at=NOON)
    reads = []

    def read(position, limit):
        reads.append(position)
        return system.store.after(position, limit)

    ask_in_steps(LastBatch(read), [0], [1], [3], [5])  # another process has moved on the models after the first step
    wait_for(lambda: 7 in reads)

    assert [0, 1, 2, 3, 5, 7] == sorted(reads)


def test_what_could_not_be_read_ahead_is_read_when_it_is_wanted(company_fixture, system):
    company_fixture.routines(2, next_at=NOON)
    failures = iter([False, True])

    def read(position, limit):
        if next(failures, False):
            raise ConnectionError
        return system.store.after(position, limit)

    batch = LastBatch(read)
    ask_in_steps(batch, [0])
    batch.forget()

    assert [3, 4] == [recorded.position for recorded in batch(2, 2)]


def test_what_was_read_ahead_is_not_of_the_log_of_another_connection(company_fixture, system):
    company_fixture.routines(2, next_at=NOON)
    log = [*system.store.after(0, 4)]
    batch = LastBatch(lambda position, limit: log[position : position + limit])
    batch(0, 2)
    batch._ahead[1].result()

    del log[2:]  # the database that has taken over had not received these
    batch.forget_all()

    assert [] == list(batch(2, 2))


def test_a_projector_that_connects_anew_reads_the_log_over_new_connections_too(system):
    def backends():
        with system.pool.connection() as conn:
            return conn.info.backend_pid

    before = {backends() for _ in range(9)}

    with bootstrap.connect_projector(system):
        assert not before & {backends() for _ in range(9)}


def test_a_projector_that_ends_leaves_no_thread_that_reads_ahead(company_fixture, system):
    company_fixture.routines(2, next_at=NOON)
    batch = LastBatch(system.store.after)
    batch(0, 2)
    (reader,) = [thread for thread in threading.enumerate() if thread in batch._reader._threads]

    batch.close()

    assert not reader.is_alive()
