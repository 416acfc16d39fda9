"""`routines erase`: what a company or a person has left is nowhere afterwards, and the log is as whole as before."""

import json
import subprocess
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from application.event_store import data_keys
from application.event_store.store import EventStore
from domain.events import (
    STORED_NAMES,
    CompanyArchived,
    CompanyCreated,
    CompanyErased,
    KeyIssued,
    NameClaimed,
    UserErased,
    UserRegistered,
    ZoneDataAdopted,
)
from domain.recorded import Recorded
from domain.values import CompanyDetails
from processes.follower import Follower
from projections import catalogue, erasure
from projections.board.directory import directory
from projections.engine import positions, rebuilds
from routines import bootstrap
from routines.cli import main
from routines.commands import erase
from routines.postgres.binaries import find_binaries
from tests.api import Api
from tests.canaries import CANARY, canaries
from tests.running import projecting, serving
from tests.waiting import wait_for

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
# Events that belong to no company and no person, or say that something is erased.
OF_NOBODY = (ZoneDataAdopted, CompanyErased, UserErased)


@pytest.fixture
def always_looking(monkeypatch):
    """Processes look each time whether something is erased."""
    monkeypatch.setattr(data_keys, "LOOK_S", 0.0)


@pytest.fixture
def installation(always_looking, system, owner):
    """An API with its projector over a database of its own."""
    with projecting(system), serving(system) as url:
        token = bootstrap.first_board_token(owner.settings)
        client = Api(url=url, token=token or "", system=system, operator=owner)
        yield client
        client.close()


def run_command(owner, *arguments, login="postgres"):
    url = owner.settings.database_url.replace("postgres@", f"{login}@")
    result = CliRunner().invoke(
        main, [str(argument) for argument in arguments], env={"ROUTINES_DATABASE_URL": url}, prog_name="routines"
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def report(owner, *arguments):
    code, output = run_command(owner, "erase", *arguments, "--json")
    assert code == 0, output
    return json.loads(output.splitlines()[-1])


def company_of_canaries(api):
    """A company in which everything has a canary, as people make it; its ids."""
    name = partial("{}-{}".format, CANARY)
    company = api.company(name("company"))
    api.patch(f"/companies/{company}", {"description": name("about")})
    agent, token = api.agent(company, name("agent"))
    project = api.post(f"/companies/{company}/projects", {"name": name("project"), "description": name("plan")})["id"]
    api.post(f"/companies/{company}/goals", {"title": name("goal")})
    routine = api.routine(
        company,
        agent,
        title=name("title") + " {{who}}",
        description=name("text"),
        projectId=project,
        variables=[{"name": "who", "defaultValue": name("default")}],
    )
    api.patch(f"/routines/{routine}", {"description": name("another")})
    run = api.post(f"/routines/{routine}/run", {"payload": {name("key"): name("value")}, "idempotencyKey": "once"})
    api.post(f"/issues/{run['linkedIssueId']}/comments", {"body": name("comment")}, token=token)
    return {"company": company, "agent": agent, "routine": routine, "run": run["id"], "issue": run["linkedIssueId"]}


def record(store, stream_id, company_id, *events, first=1):
    """Record events of a stream by the rights of the log's owner, who may grant what does not follow from the log."""
    envelopes = [
        Recorded(stream_id=stream_id, version=version, at=NOON, actor="system", company_id=company_id, event=event)
        for version, event in enumerate(events, first)
    ]
    store.append(envelopes)


def settle(api):
    """Wait until the read models have taken, or passed over, all that is in the log."""
    head = api.system.store.head()
    with bootstrap.connect(api.system.settings) as conn:
        wait_for(lambda: all(one.position >= head for one in positions.status(conn)))


def fold(owner):
    """Bring the read models that the command asks to the head of the log, whatever else they cannot take."""
    follower = Follower([model for model in catalogue.ALL if model.name in erasure.ASKED], owner.store.after)
    with bootstrap.connect(owner.settings) as conn:
        while follower.step(conn):
            pass


def left_over(owner, tmp_path):
    """Where a canary is found: in a dump of the database, in exports made now, in what commands say."""
    url, places = owner.settings.database_url, []
    dump = subprocess.run([find_binaries() / "pg_dump", f"--dbname={url}"], check=True, capture_output=True).stdout
    places += [
        line[:80] for line in dump.splitlines() if CANARY.encode() in line or CANARY.encode().hex().encode() in line
    ]
    for number, command in enumerate((["export", "--format", "ndjson"], ["audit", "export"])):
        target = tmp_path / f"{number}-{uuid4().hex}"
        assert run_command(owner, *command, "--output", target)[0] == 0
        files = [target] if target.is_file() else [path for path in target.rglob("*") if path.is_file()]
        places += [f"{command}: {path.name}" for path in files if CANARY.encode() in path.read_bytes()]
    places += [f"log: {line[:200]}" for line in run_command(owner, "log")[1].splitlines() if CANARY in line]
    return places


def secrets_of(owner, company):
    """How many secrets of a company are in the vault."""
    with psycopg.connect(owner.settings.database_url) as conn:
        (many,) = conn.execute("SELECT count(*) FROM vault.secrets WHERE company_id = %s", (company,)).fetchone() or ()
    return many


def in_file_of(owner, table):
    """Whether a canary is in the file of a table."""
    with psycopg.connect(owner.settings.database_url, autocommit=True) as conn:
        conn.execute("CHECKPOINT")
        row = conn.execute("SELECT pg_read_binary_file(pg_relation_filepath(%s))", (table,)).fetchone()
    return CANARY.encode() in row[0]


def break_off_a_rebuild_and_a_verification(owner):
    """Leave the tables of both as they are left by commands that are killed."""

    def stop(_position):
        raise KeyboardInterrupt

    with bootstrap.connect(owner.settings) as conn:
        conn.execute("SET ROLE routines_service")
        with pytest.raises(KeyboardInterrupt):
            rebuilds.rebuild(conn, directory, owner.store.after, stop)
        conn.execute("CREATE SCHEMA verifying_directory")
        conn.execute("CREATE TABLE verifying_directory.company AS SELECT * FROM read_models.company")


def test_no_row_is_made_anew_before_no_process_has_the_key(monkeypatch):
    steps = []
    monkeypatch.setattr("routines.commands.erase.time.sleep", steps.append)
    monkeypatch.setattr(erasure, "write_anew", lambda _conn, tables: steps.append(tables))
    monkeypatch.setattr(erasure, "delete_beside", lambda _conn, id_: steps.append(id_))
    monkeypatch.setattr(erasure, "models", lambda **_: [])
    company, nobody = uuid4(), cast("Any", None)
    system = cast("Any", SimpleNamespace(store=SimpleNamespace(head=lambda: 7)))

    erase._Eraser(system, nobody, company, None)._clear_rows(nobody, quiet=True)

    assert [data_keys.TABLES, data_keys.LOOK_S, company, erasure.tables_beside(of_user=False)] == steps


def test_an_event_that_cannot_be_read_may_have_a_text():
    assert erasure._has_text(b'{"event":{"type":"of.another.version","text":"a"}}')
    assert not erasure._has_text(b'{"event":{"type":"company.archived"}}')


def test_rows_that_somebody_may_still_see_keep_an_erasure_from_ending(installation, owner, monkeypatch):
    """An analyst's long query, or an export: Postgres keeps the deleted rows for it in the files."""
    monkeypatch.setattr(erasure, "LOCK_PAUSE_S", 0.01)
    url = owner.settings.database_url
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TABLE read_models.refusals (text text)")
        conn.execute("INSERT INTO read_models.refusals VALUES (%s)", (CANARY,))
        with psycopg.connect(url) as reader:
            reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.execute("SELECT 1")
            conn.execute("DELETE FROM read_models.refusals")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                erasure.write_anew(conn, ["read_models.refusals"])
        erasure.write_anew(conn, ["read_models.refusals"])
        is_left = in_file_of(owner, "read_models.refusals")
        conn.execute("DROP TABLE read_models.refusals")

    assert not is_left


def test_of_an_erased_company_nothing_is_left_anywhere_and_the_log_is_whole(installation, owner, tmp_path):
    api = installation
    ids = company_of_canaries(api)
    company = ids["company"]
    webhook = api.post(f"/routines/{ids['routine']}/triggers", {"kind": "webhook"})["trigger"]["id"]
    beside = {
        "run_log (run_id, company_id, session_id, part, at, bytes, output) VALUES (%s, %s, %s, 1, now(), 6, %s)": (
            *(ids["run"], company, uuid4()),
            json.dumps({"text": CANARY}),
        ),
        "webhook_refusals VALUES (%s, now(), 401, 'wrong', %s)": (webhook, CANARY),
        "refused_attempts (hour, status, operation, reason, network, key_id, tenant, attempts, first_at, last_at)"
        " VALUES (now(), 403, 'getRun', 'no right', %s, '', %s, 1, now(), now())": (CANARY, company),
    }
    tables = [f"read_models.{row.split()[0]}" for row in beside]
    with psycopg.connect(owner.settings.database_url, autocommit=True) as conn:
        for row, values in beside.items():
            conn.execute(f"INSERT INTO read_models.{row}", values)
    settle(api)
    break_off_a_rebuild_and_a_verification(owner)
    assert left_over(owner, tmp_path)
    old_head = api.system.store.head()
    created = min(one["position"] for one in api.get(f"/routines/{ids['routine']}/changes"))
    of_then = [
        f"/companies/{company}/routines?asOf={old_head}",
        f"/companies/{company}/issues?asOf={old_head}",
        f"/routines/{ids['routine']}?asOf={old_head}",
        f"/routines/{ids['routine']}/runs?asOf={old_head}",
        f"/routines/{ids['routine']}/diff?from={created}&to={old_head}",
        f"/routine-runs/{ids['run']}?asOf={old_head}",
        f"/issues/{ids['issue']}?asOf={old_head}",
    ]
    assert all(CANARY in api.request("GET", address).text for address in of_then)
    api.post(f"/companies/{company}/archive")
    settle(api)

    preview = report(owner, "--company", company)
    assert preview["erasedAt"] is preview["clearedAt"] is None
    assert preview["concerned"]["rows"]["run_log"] == 1
    assert {"run.fired", "issue.opened", "comment.added"} <= {one["name"] for one in preview["concerned"]["events"]}
    assert not any(one["remaining"] for one in preview["concerned"]["events"]), "events without a text are not counted"
    assert all(in_file_of(owner, table) for table in tables)
    assert secrets_of(owner, company) == 1
    result = report(owner, "--company", company, "--yes", "--reason", "The contract has ended")

    assert not any(in_file_of(owner, table) for table in tables), "not even as a deleted row"
    assert result["clearedAt"] >= result["erasedAt"]
    assert not result["wasDone"]
    assert secrets_of(owner, company) == 0
    assert [] == left_over(owner, tmp_path)
    assert run_command(owner, "audit", "verify", "--database", owner.settings.database_url)[0] == 0
    assert run_command(owner, "audit", "chain")[0] == 0
    assert run_command(owner, "projections", "verify")[0] == 0, "rows are those of a rebuild"
    for address in (
        "/companies",
        "/events?limit=1000",
        f"/companies/{company}",
        f"/companies/{company}/agents",
        f"/companies/{company}/projects",
        f"/companies/{company}/goals",
        f"/companies/{company}/routines",
        f"/companies/{company}/issues",
        f"/companies/{company}/events?limit=1000",
        f"/routines/{ids['routine']}",
        f"/routines/{ids['routine']}/runs",
        f"/routines/{ids['routine']}/revisions",
        f"/routines/{ids['routine']}/changes",
        f"/issues/{ids['issue']}",
        f"/issues/{ids['issue']}/comments",
        f"/agents/{ids['agent']}",
        *of_then,
    ):
        answer = api.request("GET", address)
        assert answer.status_code == 200, (address, answer.text)
        assert CANARY not in answer.text
    assert "[erased]" in api.request("GET", f"/companies/{company}").text

    newest = api.get(f"/companies/{company}/events?kind=company.erased")
    assert [one["data"]["reason"] for one in newest] == ["The contract has ended"]
    head = api.system.store.head()
    again = report(owner, "--company", company, "--yes", "--reason", "once more")
    assert again["wasDone"]
    assert again["clearedAt"] == result["clearedAt"]
    assert head == api.system.store.head()


def test_no_kind_of_event_keeps_what_is_erased(always_looking, owner, tmp_path):
    """Each kind is in a stream of its own; read models that cannot take one pass over it."""
    company_id, user_id = uuid4(), uuid4()
    record(owner.store, company_id, company_id, CompanyCreated(details=CompanyDetails(name=CANARY), issue_prefix="CAN"))
    for event in canaries():
        stream_id = uuid4()
        if isinstance(event, UserRegistered):
            record(owner.store, user_id, None, replace(event, instance_admin=False))
        elif isinstance(event, KeyIssued):
            record(owner.store, stream_id, None, replace(event, user_id=user_id))
        elif not isinstance(event, OF_NOBODY):
            record(owner.store, stream_id, company_id, event)
    claimed = NameClaimed(scope=f"email|{company_id}", name=f"{CANARY}@example.org", holder_id=user_id)
    record(owner.store, uuid4(), company_id, claimed)
    with psycopg.connect(owner.settings.database_url) as conn:
        bodies = [body for (body,) in conn.execute("SELECT body FROM log.events")]
    assert not any(CANARY.encode() in body for body in bodies)
    assert len(left_over(owner, tmp_path)) > len(STORED_NAMES) / 2, "whoever has the keys reads it"
    record(owner.store, company_id, company_id, CompanyArchived(), first=2)

    for command in (["--company", company_id], ["--user", user_id]):
        fold(owner)
        assert report(owner, *command, "--yes", "--reason", "a test")["clearedAt"]

    assert [] == left_over(owner, tmp_path)
    assert run_command(owner, "audit", "chain")[0] == 0


def test_of_an_erased_user_their_own_name_and_address_are_gone_and_their_keys_are_revoked(
    installation, owner, tmp_path
):
    api = installation
    company = api.company("Acme")
    name, email = f"{CANARY} Ada", f"{CANARY}@example.org"
    member = api.post(f"/companies/{company}/members", {"name": name, "email": email, "membershipRole": "member"})
    user, token = member["userId"], member["token"]
    assert api.request("GET", f"/companies/{company}", token=token).status_code == 200
    settle(api)
    code, output = run_command(owner, "erase", "--user", user, "--yes", "--reason", "asked for")
    assert (code, f"The user is a member of {company}" in output) == (1, True)
    assert api.request("DELETE", f"/companies/{company}/members/{user}").status_code < 300
    settle(api)
    preview = report(owner, "--user", user)
    assert {one["name"]: one["erasable"] for one in preview["concerned"]["events"]} == {
        "user.registered": 1,
        "key.issued": 1,
        "name.claimed": 1,
    }

    report(owner, "--user", user, "--yes", "--reason", "asked for")

    assert [] == left_over(owner, tmp_path)
    assert api.request("GET", f"/companies/{company}", token=token).status_code == 401
    assert CANARY not in api.request("GET", f"/companies/{company}/events?limit=100").text
    assert api.get("/events?kind=user.erased")[0]["data"]["reason"] == "asked for"
    assert "was erased" in run_command(owner, "board-key", "--user", user)[1]
    assert api.request("POST", f"/companies/{company}/members", {"userId": user}).status_code == 409


def test_of_events_from_before_texts_were_sealed_the_log_alone_keeps_what_it_has(
    always_looking, owner, tmp_path, monkeypatch
):
    company_id = uuid4()
    plain = EventStore(owner.store.recorder)
    event = CompanyCreated(details=CompanyDetails(name=CANARY), issue_prefix="CAN")
    record(plain, company_id, company_id, event, CompanyArchived())
    with monkeypatch.context() as patience:
        patience.setattr("routines.commands.erase.PATIENCE_S", 0.0)
        assert "does a projector run?" in run_command(owner, "erase", "--company", company_id)[1]
    fold(owner)

    result = report(owner, "--company", company_id, "--yes", "--reason", "a test")

    assert [(one["name"], one["remaining"]) for one in result["concerned"]["events"]] == [("company.created", 1)]
    with psycopg.connect(owner.settings.database_url) as conn:
        bodies = [bytes(body) for (body,) in conn.execute("SELECT body FROM log.events WHERE name = 'company.created'")]
        views = [str(row) for row in conn.execute("SELECT * FROM analytics.events")]
    assert [CANARY.encode() in body for body in bodies] == [True]
    assert not any(CANARY in row for row in views)
    assert CANARY not in run_command(owner, "log")[1]
    assert len([one for one in left_over(owner, tmp_path) if "audit" not in str(one)]) == 1, "the row of the log"


def test_an_erasure_that_a_backup_is_in_the_way_of_says_so_and_goes_on_when_it_is_run_again(
    installation, owner, monkeypatch
):
    monkeypatch.setattr("projections.erasure.LOCK_PAUSE_S", 0.0)
    monkeypatch.setattr("projections.erasure.LOCK_TRIES", 2)
    company = installation.company("Acme")
    installation.post(f"/companies/{company}/archive")
    settle(installation)
    with psycopg.connect(owner.settings.database_url) as conn:
        conn.execute("LOCK TABLE vault.data_keys IN ACCESS SHARE MODE")
        code, output = run_command(owner, "erase", "--company", company, "--yes", "--reason", "a test")

    assert (code, "The key is destroyed, but tables are in use" in output) == (1, True)
    assert "run it with --yes to go on" in run_command(owner, "erase", "--company", company)[1]
    erased_at = report(owner, "--company", company)["erasedAt"]
    result = report(owner, "--company", company, "--yes", "--reason", "a test")
    assert (erased_at, True) == (result["erasedAt"], bool(result["clearedAt"]))


def test_a_company_at_work_is_not_erased_and_what_is_there_is_said(installation, owner):
    company = installation.company("Acme")

    settle(installation)
    code, output = run_command(owner, "erase", "--company", company, "--yes", "--reason", "a mistake")

    assert code == 1
    assert "archive it first" in output
    assert "There is no such company" in run_command(owner, "erase", "--company", uuid4())[1]
    assert "There is no such user" in run_command(owner, "erase", "--user", uuid4())[1]
    for blank in ((), ("--reason", " ")):
        assert "needs a --reason" in run_command(owner, "erase", "--company", company, "--yes", *blank)[1]
    for both_or_none in ((), ("--company", company, "--user", uuid4())):
        assert "Name one" in run_command(owner, "erase", *both_or_none)[1]


def test_only_the_owner_of_the_database_erases(installation, owner, system):
    company = installation.company("Acme")
    with system.pool.connection() as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("UPDATE vault.data_keys SET key = NULL, erased_at = now()")

    code, output = run_command(owner, "erase", "--company", company, login="routines_service")

    assert code == 1
    assert "permission denied" in output
