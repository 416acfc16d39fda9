"""An event that cannot be read, folded or written is passed over on the record, and stops nobody."""

from contextlib import suppress

import msgspec
import psycopg
import pytest

from application.event_store.store import EventStore
from processes.follower import Follower
from processes.scheduler.scheduler import Scheduler
from projections import catalogue
from projections.engine import isolation, positions
from projections.engine.read_model import ReadModel
from routines import bootstrap
from tests.processes.due import NOON
from tests.processes.follower.following import NAMES, SHAPE, append_bodies, body_of, deep_call_of_task, follow_to_head
from tests.rebuilding import rebuild_outdated


def test_an_installation_that_deep_events_had_stopped_goes_on(company_fixture, system, conn):
    company_fixture.routines(2, next_at=NOON)
    append_bodies(system.store, deep_call_of_task(company_fixture.company_id), name="run.fired")
    company_fixture.routines(3, next_at=NOON)

    follow_to_head(conn, catalogue.ALL, system.store)
    assert system.store.head() == positions.wait(conn, NAMES, 0)
    with bootstrap.connect(system.settings) as own:
        Scheduler(system.executor, system.store.after, 10).tick(own)

    assert (5,) == conn.execute("SELECT count(*) FROM routine").fetchone()
    assert {"run.fired"} == {event.name for event in isolation.isolated_events(conn, 100)}
    fired = [one for one in system.store.history() if one.name == "run.fired" and one.actor == "scheduler"]
    assert 5 == len(fired)


NO_EVENTS = [
    ("run.fired", b"\xff\xfe"),
    ("run.fired", b""),
    ("run.fired", body_of("{}")),
    ("run.fired", body_of("[" * 5_000)),
    ("issue.opened", b"[" * 100_000 + b"]" * 100_000),
    ("no.such_name", body_of('{"type":"no.such_name"}')),
    ("", b"null"),
]


def test_bytes_that_are_no_event_stop_nobody(company_fixture, system, conn):
    first = system.store.head() + 1
    for name, body in NO_EVENTS:
        append_bodies(system.store, body, name=name)
    company_fixture.routines(3, next_at=NOON)

    follow_to_head(conn, catalogue.ALL, system.store)

    assert system.store.head() == positions.wait(conn, NAMES, 0)
    assert (3,) == conn.execute("SELECT count(*) FROM routine").fetchone()
    isolated = isolation.isolated_events(conn, 1_000)
    assert {(place, name) for place, (name, _) in enumerate(NO_EVENTS, first)} == {
        (event.position, event.name) for event in isolated
    }


def test_text_that_postgres_cannot_keep_stops_nobody(company_fixture, system, conn):
    title = '"Nothing \\u0000 here"'
    opened = f'{{"type":"goal.created","details":{{"title":{title}}}}}'
    append_bodies(system.store, body_of(opened, company_fixture.company_id), name="goal.created")
    company_fixture.routines(3, next_at=NOON)

    follow_to_head(conn, catalogue.ALL, system.store)

    assert system.store.head() == positions.wait(conn, NAMES, 0)
    assert ["goal.created"] == [event.name for event in isolation.isolated_events(conn, 100)]


def test_what_a_newer_version_wrote_is_taken_in_once_this_version_can_read_it(
    company_fixture, system, conn, monkeypatch
):
    company_fixture.routines(3, next_at=NOON)
    monkeypatch.setattr("domain.recorded.STORED_NAMES", {})
    unreadable = EventStore(system.store.recorder)
    monkeypatch.setattr("application.event_store.codec._decode", msgspec.json.Decoder(int).decode)
    follow_to_head(conn, catalogue.ALL, unreadable)
    assert (0,) == conn.execute("SELECT count(*) FROM routine").fetchone()
    monkeypatch.undo()

    rebuilt = rebuild_outdated(conn, catalogue.ALL, system.store.after)

    assert {"routines", "triggers_due"} <= set(rebuilt)
    assert (3,) == conn.execute("SELECT count(*) FROM routine").fetchone()
    assert [] == isolation.isolated_events(conn, 10)
    assert [] == rebuild_outdated(conn, catalogue.ALL, system.store.after)


def sleeping_model(at_position, seconds):
    """A read model for which one event takes a long time in the database."""

    def fold(recorded, rows):
        if recorded.position == at_position:
            rows._conn.execute("SELECT pg_sleep(%s)", (seconds,))

    return ReadModel(name="sleeping", tables=(), schema="", fold=fold, keys_to_prefetch=lambda _: ())


@pytest.mark.parametrize("limit", ["statement_timeout", "transaction_timeout"])
def test_an_event_that_takes_longer_than_the_database_allows_is_passed_over(company_fixture, system, conn, limit):
    company_fixture.routines(3, next_at=NOON)
    head = system.store.head()
    conn.execute("INSERT INTO positions (name, shape) VALUES ('sleeping', %s)", (SHAPE,))
    follower = Follower([sleeping_model(7, 30)], system.store.after)

    for _ in range(30):
        with bootstrap.connect(system.settings) as own:
            own.execute(f"SET {limit} = '300ms'")
            try:
                while follower.step(own):
                    pass
                break
            except psycopg.OperationalError:
                continue

    (isolated,) = isolation.isolated_events(conn, 10)
    assert ("sleeping", 7) == (isolated.read_model, isolated.position)
    assert head == positions.wait(conn, ["sleeping"], 0)


HANGING = """
    CREATE TABLE disk (hangs boolean);
    INSERT INTO disk VALUES (true);
    CREATE FUNCTION write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT hangs FROM disk) THEN PERFORM pg_sleep(60); END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER writing BEFORE UPDATE ON positions EXECUTE FUNCTION write()"""


@pytest.mark.parametrize("limit", ["statement_timeout", "transaction_timeout"])
def test_a_disk_that_hangs_is_no_fault_of_an_event(company_fixture, system, conn, limit):
    """However often it ends what a follower does: it hangs for whatever is written, not for one event."""
    company_fixture.routines(3, next_at=NOON)
    follower = Follower([sleeping_model(0, 0)], system.store.after)
    conn.execute("INSERT INTO positions (name, shape) VALUES ('sleeping', %s)", (SHAPE,))
    conn.execute(HANGING)

    for _ in range(20):
        with bootstrap.connect(system.settings) as own, suppress(psycopg.Error):
            own.execute(f"SET {limit} = '50ms'")
            follower.step(own)
    conn.execute("UPDATE disk SET hangs = false")
    while follower.step(conn):
        pass

    assert [] == isolation.isolated_events(conn, 10)
    assert system.store.head() == positions.wait(conn, ["sleeping"], 0)


def test_what_is_written_to_try_the_disk_waits_for_no_replica(conn):
    """A batch does not wait for one either, so none is to blame that it took long."""
    conn.execute("INSERT INTO positions (name, shape) VALUES ('sleeping', %s)", (SHAPE,))
    conn.execute("""
        CREATE TABLE commits (waits_for text);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO commits VALUES (current_setting('synchronous_commit'));
            RETURN NULL;
        END $$;
        CREATE TRIGGER noting AFTER UPDATE ON positions EXECUTE FUNCTION note()""")

    positions.write_durably(conn, "sleeping")

    assert [("local",)] == conn.execute("SELECT waits_for FROM commits").fetchall()


def test_of_many_events_the_one_that_breaks_connections_is_found_with_few_of_them(company_fixture, system, conn):
    company_fixture.routines(80, next_at=NOON)
    head = system.store.head()
    conn.execute("INSERT INTO positions (name, shape) VALUES ('breaking', %s)", (SHAPE,))
    limits = []

    def fold(recorded, rows):
        if recorded.position == 150:
            rows._conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    def read(position, limit):
        limits.append(limit)
        return system.store.after(position, limit)

    model = ReadModel(name="breaking", tables=(), schema="", fold=fold, keys_to_prefetch=lambda _: ())
    follower, broken = Follower([model], read), 0
    while True:
        with bootstrap.connect(system.settings) as own:
            try:
                while follower.step(own):
                    pass
                break
            except psycopg.OperationalError:
                broken += 1
        assert broken < 10

    assert broken <= 4
    assert ["breaking"] == [one.read_model for one in isolation.isolated_events(conn, 10)]
    assert head == positions.wait(conn, ["breaking"], 0)
    assert max(limits[-3:]) > 8


def test_a_database_that_goes_away_between_batches_is_no_reason_to_take_events_one_by_one(
    company_fixture, system, conn
):
    company_fixture.routines(20, next_at=NOON)
    limits = []

    def read(position, limit):
        limits.append(limit)
        return system.store.after(position, limit)

    follower = Follower(catalogue.ALL, read)
    own = bootstrap.connect(system.settings)
    own.close()
    with pytest.raises(psycopg.OperationalError):
        follower.step(own)
    while follower.step(conn):
        pass

    assert 1 not in limits


def test_a_database_that_is_away_is_no_fault_of_an_event(company_fixture, system, conn):
    company_fixture.routines(3, next_at=NOON)
    follower = Follower(catalogue.ALL, system.store.after)

    for _ in range(20):
        own = bootstrap.connect(system.settings)
        own.close()
        with pytest.raises(psycopg.OperationalError):
            follower.step(own)
    while follower.step(conn):
        pass

    assert [] == isolation.isolated_events(conn, 10)
    assert system.store.head() == positions.wait(conn, NAMES, 0)


def test_a_batch_that_fails_leaves_no_transaction_open(company_fixture, system, conn):
    company_fixture.routines(1, next_at=NOON)

    def fold(recorded, rows):
        if recorded.position == 2:
            rows._conn.execute("SELECT 1/0")  # Postgres says so only after COMMIT has been sent

    model = ReadModel(name="failing", tables=(), schema="", fold=fold, keys_to_prefetch=lambda _: ())
    conn.execute("INSERT INTO positions (name, shape) VALUES ('failing', %s)", (SHAPE,))

    with pytest.raises(psycopg.errors.DivisionByZero):
        positions.move(conn, [model], 0, system.store.after(0, 2))

    assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert 0 == positions.reached(conn, [model])


def test_two_processes_that_meet_the_same_event_pass_over_it_once(company_fixture, system, conn):
    company_fixture.routines(3, next_at=NOON)
    model = next(model for model in catalogue.ALL if model.name == "routines")

    assert 1 == positions.isolate(conn, model, system.store.after, 0, "ValueError").position
    assert positions.isolate(conn, model, system.store.after, 0, "ValueError") is None

    assert [1] == [event.position for event in isolation.isolated_events(conn, 10)]
