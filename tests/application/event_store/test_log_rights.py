"""Nobody changes what was recorded: what each role tries, on a real Postgres, and is refused."""

from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

ROW = "(99, gen_random_uuid(), 1, 'key.revoked', '{}', now(), '')"
BODY = """convert_to(format('{"at":"%s","actor":"system","event":{"type":"key.revoked"}}',
    to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')), 'UTF8')"""
FORGED = f"ARRAY[gen_random_uuid()], ARRAY[1], ARRAY['key.revoked'], ARRAY[{BODY}], '{{}}', '{{}}'"

# What neither the service nor the auditor may do, each a login of its own.
TAMPER = {
    "insert": f"INSERT INTO log.events VALUES {ROW}",
    "insert or update": f"INSERT INTO log.events VALUES {ROW} ON CONFLICT (position) DO UPDATE SET body = excluded.body",
    "merge": "MERGE INTO log.events e USING (VALUES (1)) v(p) ON e.position = v.p WHEN MATCHED THEN DELETE",
    "update": "UPDATE log.events SET body = '{}' WHERE position = 1",
    "update nothing": "UPDATE log.events SET body = body WHERE false",
    "delete": "DELETE FROM log.events WHERE position = 1",
    "delete within a query": "WITH gone AS (DELETE FROM log.events RETURNING *) SELECT count(*) FROM gone",
    "truncate": "TRUNCATE log.events",
    "truncate cascade": "TRUNCATE log.events, log.head CASCADE",
    "copy in": "COPY log.events FROM STDIN",
    "copy from a program": "COPY log.events FROM PROGRAM 'true'",
    "copy out to a program": "COPY log.events TO PROGRAM 'true'",
    "head insert": "INSERT INTO log.head VALUES (true, 0, '') ON CONFLICT (one) DO UPDATE SET position = 0",
    "head update": "UPDATE log.head SET position = position + 1",
    "head delete": "DELETE FROM log.head",
    "head truncate": "TRUNCATE log.head",
    "head for update": "SELECT * FROM log.head FOR UPDATE",
    "events for share": "SELECT * FROM log.events FOR SHARE",
    "lock": "BEGIN; LOCK TABLE log.events IN ACCESS EXCLUSIVE MODE",
    "lock head": "BEGIN; LOCK TABLE log.head IN ROW EXCLUSIVE MODE",
    "disable a trigger": "ALTER TABLE log.events DISABLE TRIGGER unchanged",
    "disable all triggers": "ALTER TABLE log.events DISABLE TRIGGER ALL",
    "drop a trigger": "DROP TRIGGER unchanged ON log.events",
    "add a trigger": "CREATE TRIGGER mine BEFORE INSERT ON log.events EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "add a rule": "CREATE RULE mine AS ON INSERT TO log.events DO INSTEAD NOTHING",
    "add a column": "ALTER TABLE log.events ADD COLUMN mine text",
    "row security": "ALTER TABLE log.events ENABLE ROW LEVEL SECURITY",
    "drop the table": "DROP TABLE log.events",
    "drop the schema": "DROP SCHEMA log CASCADE",
    "rename the table": "ALTER TABLE log.events RENAME TO elsewhere",
    "rename the schema": "ALTER SCHEMA log RENAME TO elsewhere",
    "move the table": "ALTER TABLE log.events SET SCHEMA public",
    "own the table": "ALTER TABLE log.events OWNER TO CURRENT_USER",
    "something new in the schema": "CREATE TABLE log.mine (a int)",
    "a function in the schema": "CREATE FUNCTION log.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "replace append": "CREATE OR REPLACE FUNCTION log.append(uuid[], bigint[], text[], bytea[], uuid[], bigint[]) "
    "RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
    "replace the refusal": "CREATE OR REPLACE FUNCTION log.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "alter append": "ALTER FUNCTION log.append SET search_path = public",
    "drop append": "DROP FUNCTION log.append",
    "call the hash": "SELECT log.hash_of('', 1, gen_random_uuid(), 1, 'a', '', now(), 'me')",
    "replace the check of clocks": "CREATE OR REPLACE FUNCTION log.check_clock(bytea[], interval) RETURNS void "
    "LANGUAGE sql AS 'SELECT NULL::void'",
    "replace the check of grants": "CREATE OR REPLACE FUNCTION log.check_grants(uuid[], bigint) RETURNS void "
    "LANGUAGE sql AS 'SELECT NULL::void'",
    "any clock": "UPDATE log.rules SET max_clock_difference = NULL",
    "no rules": "DELETE FROM log.rules",
    "rules of my own": "INSERT INTO log.rules VALUES (true, NULL) ON CONFLICT (one) DO UPDATE SET max_clock_difference = NULL",
    "another default": "ALTER TABLE log.rules ALTER max_clock_difference SET DEFAULT NULL",
    "no triggers in this session": "SET session_replication_role = replica",
    "no triggers by set_config": "SELECT set_config('session_replication_role', 'replica', false)",
    "become the owner": "SET ROLE routines_owner",
    "become the superuser": "SET ROLE postgres",
    "another session": "SET SESSION AUTHORIZATION routines_owner",
    "be granted the owner": "GRANT routines_owner TO CURRENT_USER",
    "be a superuser": "ALTER ROLE CURRENT_USER SUPERUSER",
    "a new role": "CREATE ROLE mine SUPERUSER",
    "drop what the owner owns": "DROP OWNED BY routines_owner",
    "take what the owner owns": "REASSIGN OWNED BY routines_owner TO CURRENT_USER",
    "system catalogue": "UPDATE pg_trigger SET tgenabled = 'D'",
    "system columns": "UPDATE pg_class SET relowner = CURRENT_USER::regrole WHERE relname = 'events'",
    "untrusted language": "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE c AS 'x', 'y'",
    "read the disk": "SELECT pg_read_file('PG_VERSION')",
    "drop the database": "DROP DATABASE template1",
    "event trigger": "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION log.refuse()",
}
# What the one function refuses, though the service may call it.
FORGED_APPENDS = {
    "no arrays": "NULL, NULL, NULL, NULL, NULL, NULL",
    "empty arrays": "'{}', '{}', '{}', '{}', '{}', '{}'",
    "more bodies than streams": FORGED.replace(BODY, f"{BODY}, {BODY}"),
    "more streams than bodies": FORGED.replace("gen_random_uuid()", "gen_random_uuid(), gen_random_uuid()"),
    "no version": FORGED.replace("ARRAY[1]", "ARRAY[NULL::bigint]"),
    "no stream": FORGED.replace("gen_random_uuid()", "NULL::uuid"),
    "no name": FORGED.replace("'key.revoked'", "NULL::text"),
    "no body": FORGED.replace(BODY, "NULL::bytea"),
    "version nought": FORGED.replace("ARRAY[1]", "ARRAY[0]"),
    "version two of nothing": FORGED.replace("ARRAY[1]", "ARRAY[2]"),
    "a version that is taken": FORGED.replace(
        "gen_random_uuid()", "(SELECT min(stream_id::text)::uuid FROM log.events)"
    ),
}
# What triggers refuse even to the owner. (To disable them is the owner's power, and everyone can see that it was done.)
OWNERS = {
    "update": "UPDATE log.events SET body = '{}' WHERE position = 1",
    "update nothing": "UPDATE log.events SET body = body WHERE false",
    "insert or update": f"INSERT INTO log.events VALUES {ROW} ON CONFLICT (position) DO UPDATE SET body = excluded.body",
    "merge": "MERGE INTO log.events e USING (VALUES (1)) v(p) ON e.position = v.p WHEN MATCHED THEN DELETE",
    "delete": "DELETE FROM log.events WHERE position = 2",
    "delete nothing": "DELETE FROM log.events WHERE false",
    "truncate": "TRUNCATE log.events",
    "truncate both": "TRUNCATE log.head, log.events",
    "head delete": "DELETE FROM log.head",
    "head truncate": "TRUNCATE log.head",
    "head back": "UPDATE log.head SET position = position - 1",
    "head hash": "UPDATE log.head SET hash = ''",
    "head insert or update": "INSERT INTO log.head VALUES (true, 0, '') ON CONFLICT (one) DO UPDATE SET position = 0",
}

# The second: who inserts the head row is taken for a version that did not look which one had written.
REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)

WHAT_STAYS = (
    "SELECT * FROM log.events ORDER BY position",
    "SELECT * FROM log.head",
    "SELECT * FROM log.rules",
    "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
    "SELECT relname, relowner, relacl FROM pg_class WHERE relnamespace = 'log'::regnamespace ORDER BY 1",
    "SELECT proname, prosrc, proowner, proacl FROM pg_proc WHERE pronamespace = 'log'::regnamespace ORDER BY 1",
    "SELECT rolname, rolsuper FROM pg_roles WHERE rolname LIKE 'routines%' ORDER BY 1",
    "SELECT roleid, member FROM pg_auth_members ORDER BY 1, 2",
)


@pytest.fixture(scope="module")
def database(postgres, template):
    """The URL of a database with two facts in its log, for any role, kept for all of these tests."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.url("postgres", "postgres"), autocommit=True) as conn:
        conn.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template)))
        conn.execute(SQL("GRANT CREATE ON DATABASE {} TO routines_service").format(Identifier(name)))  # as migrated
        with psycopg.connect(postgres.url("postgres", name), autocommit=True) as owner:
            owner.execute("UPDATE log.rules SET max_clock_difference = DEFAULT")
        with psycopg.connect(postgres.url("routines_service", name), autocommit=True) as service:
            service.execute(f"SELECT log.append({FORGED})")
            service.execute(f"SELECT log.append({FORGED})")
        yield lambda role: postgres.url(role, name)
        conn.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@contextmanager
def login(url, *statements):
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement)
        yield conn


@pytest.fixture(scope="module")
def superuser(database):
    with login(database("postgres")) as conn:
        yield conn


@pytest.fixture(autouse=True)
def log_stays_unchanged(superuser):
    """Whatever a test tries: the log, its triggers and its owner stay as they were."""
    old_rights = look(superuser)
    yield
    assert look(superuser) == old_rights


def look(conn):
    return [conn.execute(query).fetchall() for query in WHAT_STAYS]


@pytest.mark.parametrize("tried", TAMPER)
@pytest.mark.parametrize("role", ["routines_service", "routines_auditor"])
def test_neither_service_nor_auditor_may_tamper(database, role, tried):
    with login(database(role)) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(TAMPER[tried])


@pytest.mark.parametrize("tried", FORGED_APPENDS)
def test_the_one_function_takes_no_half_events(database, tried):
    with login(database("routines_service")) as conn, pytest.raises(psycopg.Error) as refusal:
        conn.execute(f"SELECT log.append({FORGED_APPENDS[tried]})")

    assert not isinstance(refusal.value, psycopg.OperationalError | psycopg.errors.SyntaxError)


def test_the_auditor_reads_everything_and_appends_nothing(database):
    with login(database("routines_auditor")) as conn:
        assert conn.execute("SELECT count(*) FROM log.events").fetchone() == (2,)
        assert conn.execute("SELECT position FROM log.head").fetchone() == (2,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(f"SELECT log.append({FORGED})")


@pytest.mark.parametrize("tried", OWNERS)
def test_even_the_owner_is_refused_by_triggers(database, tried):
    with (
        login(database("postgres"), "SET ROLE routines_owner") as conn,
        pytest.raises(REFUSED, match=r"append-only|only moves forward|was upgraded"),
    ):
        conn.execute(OWNERS[tried])


@pytest.mark.parametrize("tried", OWNERS)
def test_the_triggers_hold_for_a_superuser_in_replica_mode_too(database, tried):
    with (
        login(database("postgres"), "SET session_replication_role = replica") as conn,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"append-only|only moves forward"),
    ):
        conn.execute(OWNERS[tried])


@pytest.mark.parametrize("role", ["routines_service", "routines_auditor"])
def test_who_was_granted_no_more_than_reading_grants_nothing(database, role):
    granting = login(database(role), f"GRANT ALL ON log.events, log.head TO {role}")
    with granting as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(f"INSERT INTO log.events VALUES {ROW}")


def test_nobody_logs_in_as_the_owner(database):
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(database("routines_owner"))


def test_a_search_path_of_the_callers_own_does_not_lead_append_astray(database):
    with login(
        database("routines_service"),
        "CREATE TEMP TABLE head (one boolean, position bigint, hash bytea)",
        "CREATE TEMP TABLE events (LIKE log.events)",
        "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT '\\x00'::bytea $$",
        "CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$",
        "CREATE FUNCTION pg_temp.pg_notify(text, text) RETURNS void LANGUAGE sql AS $$ SELECT $$",
        "CREATE FUNCTION pg_temp.pg_has_role(name, text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT '\\x00'::bytea $$",
        "SET search_path = pg_temp, mine, pg_catalog",
    ) as conn:
        with conn.transaction(force_rollback=True):
            assert conn.execute(f"SELECT log.append({FORGED})").fetchone() == (3,)
            row = conn.execute(
                "SELECT octet_length(hash), recorded_at > now() - interval '1 minute', recorded_by"
                " FROM log.events WHERE position = 3"
            ).fetchone()
            assert row == (32, True, "routines_service")
            assert conn.execute("SELECT count(*) FROM pg_temp.events").fetchone() == (0,)
        conn.execute("DROP SCHEMA mine CASCADE")
