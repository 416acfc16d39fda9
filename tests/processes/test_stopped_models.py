"""Read models that Postgres cannot write are told in a sentence, once, and not as errors of the program."""

import psycopg
import pytest
from structlog.testing import capture_logs

from processes import follower as followers
from processes.projector import Projector
from projections import catalogue
from projections.engine import positions
from tests.processes.due import NOON, CompanyFixture

FULL = """
    CREATE FUNCTION be_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE 'could not extend file "base/16384/17290": No space left on device' USING ERRCODE = 'disk_full';
    END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON {} EXECUTE FUNCTION be_full();
    CREATE TRIGGER full_disk BEFORE INSERT ON {} EXECUTE FUNCTION be_full()"""
TABLES = ("company", "routine")  # of two read models


@pytest.fixture
def full_disk(admin_url):
    """Postgres answers what it answers when it has no room for the rows of two read models."""
    with psycopg.connect(admin_url, autocommit=True) as conn:
        conn.execute("SET search_path TO read_models")
        conn.execute(FULL.format(*TABLES))
        yield conn


def test_a_full_disk_is_told_in_one_line_whatever_stops_and_so_is_its_end(system, conn, full_disk, monkeypatch):
    monkeypatch.setattr(followers, "RETRY_S", 0.0)
    CompanyFixture(system.executor).routines(3, next_at=NOON)
    projector = Projector(catalogue.ALL, system.store.after)

    with capture_logs() as lines:
        for _ in range(10):
            projector.step(conn)
        stopped = {one.name: one.stopped for one in positions.status(conn) if one.stopped}
        for table in TABLES:
            full_disk.execute(f"DROP TRIGGER full_disk ON {table}")
        while projector.step(conn):
            pass

    assert {"directory": "DiskFull", "routines": "DiskFull"} == stopped
    assert ["read_models_stopped", "read_models_go_on"] == [line["event"] for line in lines]
    assert (
        'Postgres cannot write them (could not extend file "base/16384/17290": No space left on device): '
        "make room for it, and they go on by themselves"
    ) == lines[0]["why"]
    assert not {"exc_info"} & {key for line in lines for key in line}
    assert system.store.head() == positions.wait(conn, [model.name for model in catalogue.ALL], 0)
