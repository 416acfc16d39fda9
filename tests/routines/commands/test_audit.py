"""`routines audit` and the lines of `routines log`; the log of an installation that was there before logins were kept."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.sql import SQL, Identifier

from application.audit import log_reader
from application.event_store.recorder import APPEND
from routines import bootstrap
from routines.cli import main
from routines.migrations import migrate
from routines.settings import Settings

OLD_LOG = Path(__file__).parents[2].joinpath("application", "log_without_logins.sql").read_text()
FORGED = b'{"at":"2020-01-01T00:00:00Z","actor":"system\\u001b[2J","event":{"type":"key.issued","name":"k"}}'


def run_command(url, *arguments):
    result = CliRunner().invoke(main, arguments, env={"ROUTINES_DATABASE_URL": url})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def append(url, *bodies, name="agent.paused"):
    batch = [uuid4() for _ in bodies], [1] * len(bodies), [name] * len(bodies), list(bodies)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(APPEND, (*batch, [], []))


@pytest.fixture
def urls(postgres, template):
    """Of a fresh database that has the roles, and nothing else."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.url("postgres", "postgres"), autocommit=True) as conn:
        conn.execute(SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(Identifier(name)))
        conn.execute(SQL("GRANT CREATE ON DATABASE {} TO routines_owner").format(Identifier(name)))
        yield lambda login: postgres.url(login, name)
        conn.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture
def old_log(urls):
    """A log as the version before made it, with events."""
    with psycopg.connect(urls("postgres"), autocommit=True) as conn:
        conn.execute("SET ROLE routines_owner")
        conn.execute(OLD_LOG)
    append(
        urls("routines_service"), b"{}", b'{"at":"2020-01-01T00:00:00Z","actor":"x","event":{"type":"agent.paused"}}'
    )
    append(urls("routines_service"), FORGED, name="key.issued")
    return urls


def test_an_upgrade_keeps_the_chain_and_changes_no_row(old_log):
    columns = "SELECT position, stream_id, version, name, body, recorded_at, hash FROM log.events WHERE position <= 3 ORDER BY 1"
    with psycopg.connect(old_log("routines_auditor"), autocommit=True) as conn:
        old_columns = conn.execute(columns).fetchall()

    migrate(old_log("postgres"))
    migrate(old_log("postgres"))
    bootstrap.first_board_token(Settings(database_url=old_log("routines_service")))

    with psycopg.connect(old_log("routines_auditor"), autocommit=True) as conn:
        head = log_reader.read_head(conn)
        rows = list(log_reader.read_rows(conn, head.position))
        assert conn.execute(columns).fetchall() == old_columns
    assert [row.recorded_by for row in rows] == [None, None, None, "routines_service", "routines_service"]
    assert list(log_reader.find_defects(rows, head)) == []
    assert run_command(old_log("routines_auditor"), "audit", "chain")[0] == 0


def test_the_rules_that_an_owner_has_set_outlive_an_upgrade(old_log):
    migrate(old_log("postgres"))
    with psycopg.connect(old_log("postgres"), autocommit=True) as conn:
        conn.execute("SET ROLE routines_owner")
        conn.execute("UPDATE log.rules SET max_clock_difference = '1 minute'")
        conn.execute("COMMENT ON SCHEMA log IS 'of another version'")

    migrate(old_log("postgres"))

    with psycopg.connect(old_log("routines_auditor"), autocommit=True) as conn:
        assert conn.execute("SELECT max_clock_difference::text FROM log.rules").fetchall() == [("00:01:00",)]


def test_a_new_installation_bounds_clocks_by_itself(urls):
    migrate(urls("postgres"))

    with pytest.raises(psycopg.errors.DatetimeFieldOverflow):
        append(urls("routines_service"), b'{"at":"2020-01-01T00:00:00Z","actor":"x","event":{}}')


def test_the_chain_is_checked_by_whoever_may_read_it(old_log):
    migrate(old_log("postgres"))
    auditor = old_log("routines_auditor")
    with psycopg.connect(auditor, autocommit=True) as conn:
        head = log_reader.read_head(conn)

    assert run_command(auditor, "audit", "chain") == (0, f"3 events, 0 defects; the head's hash is {head.hash.hex()}\n")
    code, output = run_command(auditor, "audit", "chain", "--json")
    assert (code, json.loads(output)) == (0, {"position": 3, "hash": head.hash.hex(), "defects": []})


def test_a_chain_that_its_owner_has_broken_is_named_by_position(old_log):
    migrate(old_log("postgres"))
    with psycopg.connect(old_log("postgres"), autocommit=True) as conn:
        conn.execute("ALTER TABLE log.events DISABLE TRIGGER unchanged")
        conn.execute("UPDATE log.events SET body = '{\"a\":1}' WHERE position = 2")

    code, output = run_command(old_log("routines_auditor"), "audit", "chain", "--json")

    assert (code, [defect["position"] for defect in json.loads(output)["defects"]]) == (1, [2])


def test_grants_from_before_are_listed_for_somebody_to_look_at(old_log):
    """They were recorded when nobody checked; control characters of a forger do not reach the terminal."""
    migrate(old_log("postgres"))
    bootstrap.first_board_token(Settings(database_url=old_log("routines_service")))

    code, output = run_command(old_log("routines_auditor"), "audit", "grants")
    assert code == 1
    assert "3: 'key.issued'" in output
    assert "the writer says another time than the database" in output
    assert "given by no user" in output
    assert "by login unknown" in output
    assert "3 grants up to position 5, 1 to look at" in output
    assert "\x1b" not in output

    code, output = run_command(old_log("routines_auditor"), "audit", "grants", "--json", "--all", "--after", "3")
    lines = [json.loads(line) for line in output.splitlines()]
    assert code == 0
    assert [(line["name"], line["recorded_by"], line["flags"]) for line in lines] == [
        ("user.registered", "routines_service", []),
        ("key.issued", "routines_service", []),
    ]


def test_an_audit_that_may_not_read_says_so(urls):
    code, output = run_command(urls("routines_auditor"), "audit", "chain")

    assert (code, output) == (1, "")


def test_the_log_shows_what_the_database_knows_of_each_event(settings, system):
    bootstrap.first_board_token(settings)

    code, output = run_command(settings.database_url, "log", "--limit", "1")

    line = json.loads(output)
    assert code == 0
    assert line["recorded_by"] == "routines_service"
    assert abs((datetime.fromisoformat(line["recorded_at"]) - datetime.now(UTC)).total_seconds()) < 300


def test_only_an_owner_mints_a_key_for_somebody(settings, system, admin_url):
    bootstrap.first_board_token(settings)

    code, output = run_command(settings.database_url, "board-key")
    assert (code, output) == (1, "")
    code, output = run_command(admin_url, "board-key")
    assert (code, output[:10]) == (0, "pcp_board_")


def test_a_log_is_read_in_pages_of_bounded_rows_and_bytes(urls, monkeypatch):
    migrate(urls("postgres"))
    with psycopg.connect(urls("postgres"), autocommit=True) as conn:
        conn.execute("UPDATE log.rules SET max_clock_difference = NULL")
    append(urls("routines_service"), *[json.dumps({"text": "x" * (700 * (n % 3))}).encode() for n in range(20)])
    monkeypatch.setattr(log_reader, "PAGE", 3)
    monkeypatch.setattr(log_reader, "PAGE_BYTES", 1_000)

    with psycopg.connect(urls("routines_auditor"), autocommit=True) as conn:
        rows = list(log_reader.read_rows(conn, 18, start=2))

    assert [row.position for row in rows] == list(range(3, 19))
