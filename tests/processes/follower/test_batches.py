"""How many events a follower takes at a time, what a batch asks of Postgres, and whom it waits for."""

import os
import socket

import pytest
from structlog.testing import capture_logs

from processes import follower as followers
from processes.follower import Follower
from projections import catalogue
from projections.engine import isolation, positions
from projections.engine.read_model import ReadModel
from projections.engine.table import Row, Table
from routines import bootstrap
from tests.processes.due import NOON, CompanyFixture
from tests.processes.follower.following import NAMES, SHAPE, append_bodies, body_of, follow_to_head
from tests.waiting import wait_for


class ToComeRow(Row, frozen=True):
    """A row of a model that is new."""


def test_a_batch_ends_after_so_many_bytes(system):
    append_bodies(system.store, *[body_of('"' + "x" * 3_000_000 + '"')] * 5)
    append_bodies(system.store, *[body_of('"x"')] * 5)

    sizes, position = [], 0
    while batch := system.store.after(position, 1_000):
        sizes.append(len(batch))
        position = batch[-1].position

    assert [2, 2, 6] == sizes


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
    for module in ("folding", "table"):
        monkeypatch.setattr(f"projections.engine.{module}.STATEMENT_BYTES", 2_000)
    company_fixture.routines(40, next_at=NOON)

    follow_to_head(conn, catalogue.ALL, system.store)

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


def test_the_socket_of_a_projector_takes_more_before_postgres_reads_it(system):
    with bootstrap.connect_projector(system) as conn, bootstrap.connect_follower(system) as other:
        assert send_buffer_bytes(conn) > send_buffer_bytes(other)


def send_buffer_bytes(conn):
    with socket.socket(fileno=os.dup(conn.fileno())) as connected_socket:
        return connected_socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


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


def test_a_model_whose_tables_are_gone_is_left_alone_for_a_while(company_fixture, system, conn, monkeypatch):
    monkeypatch.setattr(followers, "RETRY_S", 1_000.0)
    company_fixture.routines(3, next_at=NOON)
    conn.execute("ALTER TABLE company RENAME TO lost")

    follow_to_head(conn, catalogue.ALL, system.store)

    stopped = {one.name: one.stopped for one in positions.status(conn) if one.stopped}
    assert {"directory": "UndefinedTable"} == stopped
