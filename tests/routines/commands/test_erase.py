"""`routines erase`: what a company or a person has left is nowhere afterwards, and the log is as whole as before."""

import json
import subprocess
from functools import partial
from pathlib import Path
from threading import Event as Stop
from uuid import UUID, uuid4

import psycopg
import pytest
from click.testing import CliRunner

from application.event_store import data_keys
from domain.erasure import subject_of
from domain.events import CompanyErased, UserErased, ZoneDataAdopted
from domain.recorded import Recorded
from processes import notary as notaries
from processes.notary import Notary
from projections.engine import positions
from routines import bootstrap
from routines.cli import main
from routines.postgres.binaries import find_binaries
from routines.settings import Settings
from tests.api import Api
from tests.canaries import CANARY, canaries
from tests.conftest import _database, _projecting, _serving
from tests.waiting import wait_for

# Events that belong to no company and no person, or say that something is erased.
OF_NOBODY = (ZoneDataAdopted, CompanyErased, UserErased)


@pytest.fixture
def installation(postgres, template, monkeypatch):
    """An API with its projector over a database of its own. Processes look at once whether something is erased."""
    monkeypatch.setattr(data_keys, "LOOK_S", 0.0)
    with _database(postgres, template) as name:
        settings = Settings(database_url=postgres.url("routines_service", name))
        owner = Settings(database_url=postgres.url("postgres", name))
        with (
            bootstrap.system(settings) as system,
            bootstrap.system(owner) as operator,
            _projecting(system),
            _serving(system) as url,
        ):
            client = Api(url=url, token=bootstrap.first_board_token(owner) or "", system=system, operator=operator)
            yield client
            client.close()


def run(api, *arguments, login="postgres"):
    url = api.operator.settings.database_url.replace("postgres@", f"{login}@")
    done = CliRunner().invoke(
        main, [str(argument) for argument in arguments], env={"ROUTINES_DATABASE_URL": url}, prog_name="routines"
    )
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def report(api, *arguments):
    code, said = run(api, "erase", *arguments, "--json")
    assert code == 0, said
    return json.loads(said.splitlines()[-1])


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
    fired = api.post(
        f"/routines/{routine}/run", {"payload": {name("key"): name("value")}, "idempotencyKey": name("once")}
    )
    api.post(f"/issues/{fired['linkedIssueId']}/comments", {"body": name("comment")}, token=token)
    return {"company": company, "agent": agent, "routine": routine, "run": fired["id"], "issue": fired["linkedIssueId"]}


def record_canaries(api, company_id):
    """Every kind of event of a company, each in a stream of its own; read models that cannot take one pass over it."""
    store, now = api.operator.store, api.operator.clock()
    for event in canaries():
        stream_id = uuid4()
        if not isinstance(event, OF_NOBODY) and subject_of(stream_id, company_id, event) == company_id:
            recorded = Recorded(
                stream_id=stream_id, version=1, at=now, actor="system", company_id=company_id, event=event
            )
            store.append([recorded])


def settle(api):
    """Wait until the read models have taken, or passed over, all that is in the log."""
    head = api.system.store.head()
    with bootstrap.connect(api.system.settings) as conn:
        wait_for(lambda: all(one.position >= head for one in positions.status(conn)))


def left_over(api, tmp_path):
    """Where a canary is found: in a dump of the database, in exports made now, in what commands and the API say."""
    url, found = api.operator.settings.database_url, []
    dump = subprocess.run([find_binaries() / "pg_dump", f"--dbname={url}"], check=True, capture_output=True).stdout
    found += [
        line[:80] for line in dump.splitlines() if CANARY.encode() in line or CANARY.encode().hex().encode() in line
    ]
    for number, what in enumerate((["export", "--format", "ndjson"], ["audit", "export"])):
        target = tmp_path / f"{number}-{uuid4().hex}"
        assert run(api, *what, "--output", target)[0] == 0
        files = [target] if target.is_file() else [path for path in target.rglob("*") if path.is_file()]
        found += [f"{what}: {path.name}" for path in files if CANARY.encode() in path.read_bytes()]
    found += [f"log: {line[:200]}" for line in run(api, "log")[1].splitlines() if CANARY in line]
    for address in ("/events?limit=1000&order=oldest", "/events?limit=1000", "/companies"):
        found += [address] * (CANARY in api.request("GET", address).text)
    return found


def test_of_an_erased_company_nothing_is_left_anywhere_and_the_log_is_whole(installation, tmp_path):
    api = installation
    ids = company_of_canaries(api)
    company = ids["company"]
    record_canaries(api, UUID(company))
    with psycopg.connect(api.operator.settings.database_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO read_models.run_log (run_id, company_id, session_id, part, at, bytes, output)"
            " VALUES (%s, %s, %s, 1, now(), 6, %s)",
            (ids["run"], company, uuid4(), json.dumps({"text": CANARY})),
        )
    settle(api)
    assert left_over(api, tmp_path)
    api.post(f"/companies/{company}/archive")
    settle(api)

    preview = report(api, "--company", company)
    assert preview["erasedAt"] is preview["clearedAt"] is None
    assert preview["concerned"]["rows"]["run_log"] == 1
    assert {"run.fired", "issue.opened", "comment.added"} <= {one["name"] for one in preview["concerned"]["events"]}
    assert not any(one["remaining"] for one in preview["concerned"]["events"] if one["name"] != "name.claimed")
    assert left_over(api, tmp_path)

    done = report(api, "--company", company, "--yes", "--reason", "The contract has ended")

    assert done["clearedAt"] >= done["erasedAt"]
    assert [] == [one for one in left_over(api, tmp_path) if "person" not in str(one)]
    assert run(api, "audit", "verify", "--database", api.operator.settings.database_url)[0] == 0
    assert run(api, "audit", "chain")[0] == 0
    assert run(api, "projections", "verify")[0] == 0, "rows are those of a rebuild"
    for address in (
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
    ):
        answer = api.request("GET", address)
        assert answer.status_code == 200, (address, answer.text)
        assert CANARY not in answer.text
    assert "[erased]" in api.request("GET", f"/companies/{company}").text

    newest = api.get(f"/companies/{company}/events?kind=company.erased")
    assert [one["data"]["reason"] for one in newest] == ["The contract has ended"]
    head = api.system.store.head()
    again = report(api, "--company", company, "--yes", "--reason", "once more")
    assert again["wasDone"]
    assert again["clearedAt"] == done["clearedAt"]
    assert head == api.system.store.head()
