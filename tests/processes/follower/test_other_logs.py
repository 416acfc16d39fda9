"""Events that the log of the database does not have are not folded, by whomever they were read."""

import msgspec
import pytest

from processes.follower import Follower
from projections import catalogue
from projections.engine import isolation, positions, rebuilds
from projections.engine.same_log import OtherLog
from projections.routines import routines
from tests.processes.due import NOON
from tests.processes.follower.following import NAMES


def with_another_hash(recorded):
    """The same event as a database has it that has lost the last events, and recorded others since."""
    return msgspec.structs.replace(recorded, hash=bytes(32))


def test_events_that_the_log_of_the_database_does_not_have_are_not_folded(company_fixture, system, conn):
    company_fixture.routines(3, next_at=NOON)
    with_others = [True]

    def read(position, limit):
        batch = [*system.store.after(position, limit)]
        return [*batch[:-1], with_another_hash(batch[-1])] if batch and with_others[0] else batch

    follower = Follower(catalogue.ALL, read)
    with pytest.raises(OtherLog):
        follower.step(conn)
    assert 0 == positions.reached(conn, catalogue.ALL)
    assert (0,) == conn.execute("SELECT count(*) FROM routine").fetchone()

    with_others[0] = False
    while follower.step(conn):
        pass

    assert system.store.head() == positions.wait(conn, NAMES, 0)
    assert [] == isolation.isolated_events(conn, 10)


def test_no_model_passes_over_an_event_that_the_log_does_not_have(company_fixture, system, conn):
    company_fixture.routines(1, next_at=NOON)
    model = catalogue.ALL[0]

    with pytest.raises(OtherLog):
        positions.isolate(conn, model, lambda *_: [with_another_hash(system.store.after(0, 1)[0])], 0, "ValueError")

    assert 0 == positions.reached(conn, [model])
    assert [] == isolation.isolated_events(conn, 10)


def test_a_rebuild_takes_in_no_events_that_the_log_does_not_have(company_fixture, system, conn):
    company_fixture.routines(3, next_at=NOON)

    def read(*place, **which):
        return [with_another_hash(recorded) for recorded in system.store.after(*place, **which)]

    with pytest.raises(OtherLog):
        rebuilds.rebuild(conn, routines.routines, read)

    rebuilds.rebuild(conn, routines.routines, system.store.after)
    assert (3,) == conn.execute("SELECT count(*) FROM routine").fetchone()


def test_a_rebuild_does_not_take_a_log_that_ends_too_soon_for_one_without_its_events(company_fixture, system, conn):
    company_fixture.routines(3, next_at=NOON)

    def read(position, limit, *, until=None, without=()):  # as the server of a log that has no events yet
        return []

    with pytest.raises(OtherLog):
        rebuilds.rebuild(conn, routines.routines, read)

    rebuilds.rebuild(conn, routines.routines, system.store.after)
    assert (3,) == conn.execute("SELECT count(*) FROM routine").fetchone()
