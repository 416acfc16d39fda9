"""Whoever follows the log goes on, whatever it holds; and what the domain can record, every reader can read."""

import threading
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import psycopg
import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from application.event_store.store import EventStore, to_stored
from domain.bounds.limits import Limits
from domain.errors import Oversized
from domain.events import TaskCreated
from domain.recorded import Recorded
from domain.values import TaskDetails
from processes import follower as followers
from processes.follower import Follower, LastBatch
from processes.scheduler.scheduler import Scheduler
from projections import catalogue
from projections.engine import isolation, positions, rebuilds
from projections.engine.read_model import ReadModel, Row, Table
from projections.engine.same_log import OtherLog
from projections.routines import routines
from routines import bootstrap
from tests.events import ANY_EVENT, nested
from tests.processes.due import NOON, CompanyFixture
from tests.rebuilding import rebuild_outdated
from tests.waiting import wait_for

NAMES = [model.name for model in catalogue.ALL]
MANY_LEVELS = 490  # of steps within steps: twice as many of JSON


class ToComeRow(Row, frozen=True):
    """A row of a model that is new."""


SHAPE = ReadModel(name="any", tables=(), schema="", fold=lambda *_: None, keys_to_prefetch=lambda _: ()).schema_hash


@pytest.fixture
def company_fixture(system):
    return CompanyFixture(system.executor)


def follow(conn, models, store, most=2_000):
    """Until the models are at the head."""
    follower = Follower(models, store.after)
    for _ in range(most):
        if not follower.step(conn):
            return
    pytest.fail("The read models do not come to the head")


def append_raw(store, *bodies, name="trajectory.step_reported"):
    """Events as an older version could record them, whatever they hold."""
    store.recorder.insert_events([StoredEvent(uuid4(), 1, name, body) for body in bodies])


def body_of(event, company_id=None):
    company = "" if company_id is None else f',"company_id":"{company_id}"'
    return f'{{"at":"2026-11-22T12:00:00Z","actor":"system","event":{event}{company}}}'.encode()


def deep_call(company_id):
    """A call of a task with steps within steps, as one was recorded before there was a bound."""
    deep = "[" * (2 * MANY_LEVELS) + "]" * (2 * MANY_LEVELS)
    return body_of(
        f'{{"type":"run.fired","routine_id":"{uuid4()}","revision":1,"source":"manual",'
        f'"outcome":{{"type":"trajectory_started","trajectory_id":"{uuid4()}"}},"payload":{{"deep":{deep}}}}}',
        company_id,
    )


def test_an_installation_that_deep_events_had_stopped_goes_on(company_fixture, system, conn):
    company_fixture.routines(2, next_at=NOON)
    append_raw(system.store, deep_call(company_fixture.company_id), name="run.fired")
    company_fixture.routines(3, next_at=NOON)

    follow(conn, catalogue.ALL, system.store)
    assert system.store.head() == positions.wait(conn, NAMES, 0)
    with bootstrap.connect(system.settings) as own:
        Scheduler(system.executor, system.store.after, 10).tick(own)

    assert (5,) == conn.execute("SELECT count(*) FROM routine").fetchone()
    assert {"run.fired"} == {event.name for event in isolation.isolated_events(conn, 100)}
    fired = [one for one in system.store.history() if one.name == "run.fired" and one.actor == "scheduler"]
    assert 5 == len(fired)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("run.fired", b"\xff\xfe"),
        ("run.fired", b""),
        ("run.fired", body_of("{}")),
        ("run.fired", body_of("[" * 5_000)),
        ("issue.opened", b"[" * 100_000 + b"]" * 100_000),
        ("no.such_name", body_of('{"type":"no.such_name"}')),
        ("", b"null"),
    ],
)
def test_bytes_that_are_no_event_stop_nobody(company_fixture, system, conn, name, body):
    append_raw(system.store, body, name=name)
    company_fixture.routines(3, next_at=NOON)

    follow(conn, catalogue.ALL, system.store)

    assert system.store.head() == positions.wait(conn, NAMES, 0)
    assert (3,) == conn.execute("SELECT count(*) FROM routine").fetchone()
    assert {name} == {event.name for event in isolation.isolated_events(conn, 100)}


def test_text_that_postgres_cannot_keep_stops_nobody(company_fixture, system, conn):
    title = '"Nothing \\u0000 here"'
    opened = f'{{"type":"goal.created","details":{{"title":{title}}}}}'
    append_raw(system.store, body_of(opened, company_fixture.company_id), name="goal.created")
    company_fixture.routines(3, next_at=NOON)

    follow(conn, catalogue.ALL, system.store)

    assert system.store.head() == positions.wait(conn, NAMES, 0)
    assert ["goal.created"] == [event.name for event in isolation.isolated_events(conn, 100)]


def test_what_a_newer_version_wrote_is_taken_in_once_this_version_can_read_it(
    company_fixture, system, conn, monkeypatch
):
    company_fixture.routines(3, next_at=NOON)
    monkeypatch.setattr("domain.recorded.STORED_NAMES", {})
    unreadable = EventStore(system.store.recorder)
    monkeypatch.setattr("application.event_store.store._decode", msgspec.json.Decoder(int).decode)
    follow(conn, catalogue.ALL, unreadable)
    assert (0,) == conn.execute("SELECT count(*) FROM routine").fetchone()
    monkeypatch.undo()

    rebuilt = rebuild_outdated(conn, catalogue.ALL, system.store.after)

    assert {"routines", "triggers_due"} <= set(rebuilt)
    assert (3,) == conn.execute("SELECT count(*) FROM routine").fetchone()
    assert [] == isolation.isolated_events(conn, 10)
    assert [] == rebuild_outdated(conn, catalogue.ALL, system.store.after)


def sleeping(at_position, seconds):
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
    follower = Follower([sleeping(7, 30)], system.store.after)

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
    follower = Follower([sleeping(0, 0)], system.store.after)
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


def test_a_batch_ends_after_so_many_bytes(system):
    append_raw(system.store, *[body_of('"' + "x" * 3_000_000 + '"')] * 5)
    append_raw(system.store, *[body_of('"x"')] * 5)

    sizes, position = [], 0
    while batch := system.store.after(position, 1_000):
        sizes.append(len(batch))
        position = batch[-1].position

    assert [2, 2, 6] == sizes


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


def in_steps(batch, *steps):
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
    in_steps(batch, [0, head, head, 0], [2, head, head, 2], [4, head, 4])
    wait_for(lambda: 6 in reads)

    assert [0, 2, 4, 6] == sorted(position for position in reads if position != head)
    assert 3 == reads.count(head)


def test_what_is_read_ahead_for_nobody_gives_way_after_a_step(company_fixture, system):
    company_fixture.routines(4, next_at=NOON)
    reads = []

    def read(position, limit):
        reads.append(position)
        return system.store.after(position, limit)

    in_steps(LastBatch(read), [0], [1], [3], [5])  # another process has moved on the models after the first step
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
    in_steps(batch, [0])
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


def of_another_log(recorded):
    """The same event as a database has it that has lost the last events, and recorded others since."""
    return msgspec.structs.replace(recorded, hash=bytes(32))


def test_events_that_the_log_of_the_database_does_not_have_are_not_folded(company_fixture, system, conn):
    company_fixture.routines(3, next_at=NOON)
    with_others = [True]

    def read(position, limit):
        batch = [*system.store.after(position, limit)]
        return [*batch[:-1], of_another_log(batch[-1])] if batch and with_others[0] else batch

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
        positions.isolate(conn, model, lambda *_: [of_another_log(system.store.after(0, 1)[0])], 0, "ValueError")

    assert 0 == positions.reached(conn, [model])
    assert [] == isolation.isolated_events(conn, 10)


def test_a_rebuild_takes_in_no_events_that_the_log_does_not_have(company_fixture, system, conn):
    company_fixture.routines(3, next_at=NOON)

    def read(*place, **which):
        return [of_another_log(recorded) for recorded in system.store.after(*place, **which)]

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


def test_models_that_wait_for_their_first_tables_keep_no_others_waiting(company_fixture, system, conn):
    to_come = Table("to_come", ToComeRow)
    model = ReadModel(
        name="to_come",
        tables=(to_come,),
        schema="",
        fold=lambda *_: None,
        keys_to_prefetch=lambda one: [(to_come, one.stream_id)],
    )
    conn.execute("INSERT INTO positions (name, shape, wanted) VALUES ('to_come', '', %s)", (model.schema_hash,))
    follower = Follower([*catalogue.ALL, model], system.store.after)
    company_fixture.routines(3, next_at=NOON)

    with capture_logs() as logs:
        for _ in range(2):
            company_fixture.routines(1, next_at=NOON)
            before = positions.reached(conn, catalogue.ALL)
            assert system.store.head() - before == follower.step(conn)

    assert [] == logs


def test_rows_of_many_bytes_are_written_a_part_at_a_time(company_fixture, system, conn, monkeypatch):
    monkeypatch.setattr("projections.engine.read_model.STATEMENT_BYTES", 2_000)
    company_fixture.routines(40, next_at=NOON)

    follow(conn, catalogue.ALL, system.store)

    assert (40,) == conn.execute("SELECT count(*) FROM routine").fetchone()


def test_after_a_failure_batches_grow_again(company_fixture, system, conn, monkeypatch):
    company_fixture.routines(50, next_at=NOON)
    conn.execute("INSERT INTO positions (name, shape) VALUES ('failing', %s)", (SHAPE,))
    limits = []

    def fold(recorded, _rows):
        if recorded.position == 10:
            raise RecursionError

    def read(position, limit):
        limits.append(limit)
        return system.store.after(position, limit)

    model = ReadModel(name="failing", tables=(), schema="", fold=fold, keys_to_prefetch=lambda _: ())
    follower = Follower([model], read)
    while follower.step(conn):
        pass

    assert 1 in limits
    assert max(limits[-3:]) > 8
    assert [10] == [event.position for event in isolation.isolated_events(conn, 10)]


def trace_step(follower, conn, path):
    """The messages between a step of the follower and Postgres, as libpq writes them."""
    with path.open("w+") as messages:
        conn.pgconn.trace(messages.fileno())
        assert follower.step(conn)
        conn.pgconn.untrace()
        messages.seek(0)
        return messages.read()


def test_a_batch_waits_for_postgres_once_for_the_rows_and_once_for_all_else(company_fixture, system, conn, tmp_path):
    """On a busy machine each answer that is waited for is a turn of the processor, and whoever reads waits for all."""
    follower = Follower(catalogue.ALL, system.store.after)
    company_fixture.routines(3, next_at=NOON)
    while follower.step(conn):
        pass
    company_fixture.routines(3, next_at=NOON)

    answers = trace_step(follower, conn, tmp_path / "messages").count("ReadyForQuery")

    assert 1 == answers  # BEGIN, the lock, the rows, the position and COMMIT
    assert system.store.head() == positions.wait(conn, NAMES, 0)


def test_a_small_batch_is_five_statements_whatever_it_writes(company_fixture, system, conn, tmp_path):
    follower = Follower(catalogue.ALL, system.store.after)
    company_fixture.routines(3, next_at=NOON)
    while follower.step(conn):
        pass
    company_fixture.routines(3, next_at=NOON)

    statements = trace_step(follower, conn, tmp_path / "messages").count("\tBind\t")

    assert 5 == statements  # BEGIN, the lock, what finds the rows, what writes them, COMMIT
    assert (6,) == conn.execute("SELECT count(*) FROM routine_trigger").fetchone()


def test_the_statements_of_the_projector_are_planned_once(system):
    with bootstrap.connect_projector(system) as conn:
        assert ("force_generic_plan",) == conn.execute("SHOW plan_cache_mode").fetchone()
        assert ("off",) == conn.execute("SHOW synchronous_commit").fetchone()


def test_what_a_follower_writes_is_compressed_in_the_fastest_way_that_the_server_has(system):
    with bootstrap.connect_follower(system) as conn:
        (used, known) = conn.execute(
            "SELECT setting, enumvals FROM pg_settings WHERE name = 'default_toast_compression'"
        ).fetchone()
        assert used == ("lz4" if "lz4" in known else "pglz")


def test_a_follower_whose_models_another_has_moved_looks_where_they_are(company_fixture, system, conn):
    ours, theirs = (Follower(catalogue.ALL, system.store.after) for _ in range(2))
    for follower in (ours, theirs, ours, theirs, theirs):
        company_fixture.routines(2, next_at=NOON)
        while follower.step(conn):
            pass
        assert system.store.head() == positions.wait(conn, NAMES, 0)

    assert (10,) == conn.execute("SELECT count(*) FROM routine").fetchone()


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.mark.parametrize("meanwhile", ["position = 3", "cold_to = 2", "stopped = 'x'"])
def test_a_model_whose_row_another_process_has_written_moves_if_it_is_still_there(system, conn, in_thread, meanwhile):
    CompanyFixture(system.executor).routines(3, next_at=NOON)
    models = [model for model in catalogue.ALL if model.name in {"activity", "issues"}]
    batch = system.store.after(0, 5)

    def move(_stop):
        with bootstrap.connect(system.settings) as own:
            positions.move(own, models, 0, batch)

    with conn.transaction():
        conn.execute(f"UPDATE positions SET {meanwhile} WHERE name = 'issues'")
        in_thread(move)
        with bootstrap.connect(system.settings) as other:
            wait_for(lambda: other.execute(WAITING).fetchone() == (1,))

    wait_for(lambda: positions.reached(conn, models[:1]) == 5)
    assert (3 if meanwhile == "position = 3" else 5) == positions.reached(conn, models[1:])


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


def test_a_model_whose_tables_are_gone_is_left_alone_for_a_while(company_fixture, system, conn, monkeypatch):
    monkeypatch.setattr(followers, "RETRY_S", 1_000.0)
    company_fixture.routines(3, next_at=NOON)
    conn.execute("ALTER TABLE company RENAME TO lost")

    follow(conn, catalogue.ALL, system.store)

    stopped = {one.name: one.stopped for one in positions.status(conn) if one.stopped}
    assert {"directory": "UndefinedTable"} == stopped


# What may be recorded


def task(workflow):
    return TaskCreated(details=TaskDetails(name="x", workflow=workflow))


def recorded(event):
    now = datetime(2026, 11, 22, tzinfo=UTC)
    return Recorded(stream_id=uuid4(), version=1, at=now, actor="system", company_id=uuid4(), event=event)


@settings(
    max_examples=25,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(events=st.lists(ANY_EVENT, min_size=1, max_size=20))
def test_whatever_may_be_recorded_every_reader_can_read(system, owner, conn, events):
    appended = []
    for event in events:
        try:
            owner.store.append([recorded(event)])
        except Oversized:
            continue
        appended.append(event)

    follow(conn, catalogue.ALL, system.store)

    head = system.store.head()
    assert appended == [one.event for one in system.store.after(head - len(appended), len(appended) + 1)]
    out_of_order = "ImpossibleHistory"  # these events follow from no decision
    assert {out_of_order} >= {one.reason for one in isolation.isolated_events(conn, 1_000)}


@pytest.mark.parametrize("depth", [0, 10, 96])
def test_what_is_nested_no_deeper_than_the_bound_is_recorded(depth):
    to_stored(recorded(task(nested(depth))), Limits(max_event_depth=100))


@pytest.mark.parametrize("depth", [97, 100, MANY_LEVELS, 2 * MANY_LEVELS, 100_000])
def test_what_is_nested_too_deeply_is_refused_before_it_is_recorded(depth):
    with pytest.raises(Oversized, match=r"task\.created would be nested deeper than 100 levels"):
        to_stored(recorded(task(nested(depth))), Limits(max_event_depth=100))


def test_what_is_too_large_is_refused_before_it_is_recorded(store):
    tight = EventStore(store.recorder, Limits(max_event_bytes=2_000, max_transaction_bytes=5_000))
    small, large = task({"text": "x" * 1_000}), task({"text": "x" * 2_000})
    tight.append([recorded(small) for _ in range(3)])

    with pytest.raises(
        Oversized, match=r"task\.created would have 2,\d\d\d bytes, and an event may have at most 2,000"
    ):
        tight.append([recorded(large)])
    with pytest.raises(Oversized, match=r"at once, and at most 5,000"):
        tight.append([recorded(small) for _ in range(5)])

    assert 3 == len(list(tight.history()))
