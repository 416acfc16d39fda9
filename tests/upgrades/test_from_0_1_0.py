"""A database that 0.1.0 wrote, with every kind of event it knew: upgraded, it says the same, and fires on."""

import gzip
import json
import re
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from uuid import UUID

import httpx
import psycopg
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from psycopg.sql import SQL, Identifier

from application.audit import log_reader
from application.execute import Executor
from domain.events import STORED_NAMES, CompanyArchived
from processes.scheduler.scheduler import Scheduler
from projections import catalogue, usage
from projections.engine import positions
from routines import bootstrap
from routines.bootstrap import System
from routines.cli import main
from routines.settings import Settings
from tests.rebuilding import rebuild_outdated
from tests.running import serving
from tests.upgrades.questions import answers
from tests.upgrades.structure import structure

DATABASE = "of_0_1_0"
FILES = Path(__file__).parent / "0.1.0"
ABSENT = "a field that is not there"
ADDED = {  # what later versions say beside what 0.1.0 said
    "/api/agents/* budget",
    "/api/companies [] budget",
    "/api/companies/* budget",
    "/api/companies/*/agents [] budget",
    "/api/companies/*/routines [] budget",
    "/api/companies/*/routines [] probe",
    "/api/routines/* budget",
    "/api/routines/* probe",
    "/api/routines/* triggers [] afterOutcome",
    "/api/routines/* triggers [] afterRoutineId",
    "/api/routines/*/revisions [] snapshot routine budget",
    "/api/routines/*/revisions [] snapshot routine probe",
    "/api/routines/*/revisions [] snapshot triggers [] afterOutcome",
    "/api/routines/*/revisions [] snapshot triggers [] afterRoutineId",
    "/api/routines/* retryPolicy",
    "/api/routines/* alertBounds",
    "/api/companies/*/routines [] retryPolicy",
    "/api/companies/*/routines [] alertBounds",
    "/api/routines/*/revisions [] snapshot routine retryPolicy",
    "/api/routines/*/revisions [] snapshot routine alertBounds",
    "/api/routines/*/revisions [] snapshot routine folderId",
    "/api/issues/* checkoutCount",
    "/api/companies/*/issues* [] checkoutCount",
    "/api/issues/*/heartbeat-context issue checkoutCount",
    "/api/agents/*/keys [] expiresAt",
    "/api/agents/*/keys [] issuedByUserId",
    "/api/companies/*/routines [] lastRun plannedAt",
    "/api/companies/*/routines [] triggers [] dueAt",
    "/api/routines/* recentRuns [] plannedAt",
    "/api/routines/* triggers [] dueAt",
    "/api/routines/* triggers [] oldSecretUntil",
    "/api/routines/*/runs* [] plannedAt",
    "/api/v1/api-keys/collection/my-org [] expires_at",
}


class Old:
    """What 0.1.0 left, and what it answered."""

    def __init__(self, url: str, key_file: str) -> None:
        document = json.loads(gzip.decompress((FILES / "answers.json.gz").read_bytes()))
        self.url, self.key_file = url, key_file
        self.token: str = document["token"]
        self.now = datetime.fromisoformat(document["now"])
        self.ids: dict[str, str] = document["ids"]
        self.events: dict[str, int] = document["events"]
        self.answers: dict[str, Any] = document["answers"]
        self.outdated: list[str] = []  # after the upgrade

    @property
    def settings(self) -> Settings:
        return Settings(database_url=self.url.replace("postgres@", "routines_service@"), key_file=self.key_file)


@pytest.fixture(scope="module")
def old_installation(postgres, template, tmp_path_factory) -> Iterator[Old]:
    """The database as 0.1.0 left it, upgraded."""
    key_file = tmp_path_factory.mktemp("keys") / "secret.keys"
    shutil.copy(FILES / "secret.keys", key_file)
    key_file.chmod(0o600)
    with psycopg.connect(postgres.url("postgres", "postgres"), autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(DATABASE)))
        installation = Old(postgres.url("postgres", DATABASE), str(key_file))
        with psycopg.connect(installation.url, autocommit=True) as conn:
            conn.execute(gzip.decompress((FILES / "database.sql.gz").read_bytes()))
        installation.outdated = bootstrap.prepare(Settings(database_url=installation.url))
        with psycopg.connect(installation.url, autocommit=True) as conn:
            conn.execute("UPDATE log.rules SET max_clock_difference = NULL")  # the story has a clock of its own
        yield installation
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(DATABASE)))


@pytest.fixture
def system(old_installation) -> Iterator[System]:
    """The upgraded system, at the moment at which 0.1.0 was asked."""
    with bootstrap.system(old_installation.settings) as ready:
        yield system_at(ready, old_installation.now)


@pytest.fixture
def rebuilt_read_models(old_installation, system) -> None:
    """As the projector leaves the read models."""
    with bootstrap.connect(old_installation.settings) as conn:
        rebuild_outdated(conn, catalogue.ALL, system.store.after)
        while positions.advance(conn, catalogue.ALL, system.store.after):
            pass


def system_at(system, now):
    return replace(system, executor=Executor(system.store, lambda: now, system.vault))


def client_of(url, old_installation):
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {old_installation.token}"}, timeout=20)


def test_0_1_0_left_every_kind_of_event_that_it_knew(old_installation):
    assert 0 < min(old_installation.events.values())
    assert set(old_installation.events) <= set(STORED_NAMES)


def test_all_read_models_are_left_to_the_projector_while_their_old_rows_are_shown(old_installation, system):
    assert {model.name for model in catalogue.ALL} == set(old_installation.outdated)

    with serving(system) as url, client_of(url, old_installation) as client:
        given = {
            path: client.get(path).status_code
            for path in ("/api/companies", f"/api/issues/{old_installation.ids['parent']}")
        }
        health = client.get("/api/health").json()

    assert set(given.values()) == {200}
    assert "degraded" == health["status"]
    assert {True} == {model["isOutdated"] for model in health["readModels"]}
    result = CliRunner().invoke(
        main, ["projections", "status", "--json"], env={"ROUTINES_DATABASE_URL": old_installation.url}
    )
    assert health["readModels"] == [model | {"behindS": ANY} for model in json.loads(result.stdout)]


def test_a_quota_that_nothing_counts_yet_refuses_nobody(old_installation, system):
    with bootstrap.connect(old_installation.settings) as conn:
        who = UUID(old_installation.ids["acme"])
        counted = {
            quota: usage.count(conn, quota, who, 9, old_installation.now)
            for quota in (*usage.OF_COMPANY, "max_holder_keys")
        }
        near = {quota: usage.counts(conn, quota) for quota in usage.OF_COMPANY}

    assert 0 == counted[usage.LOG_BYTES]
    assert {} == near[usage.LOG_BYTES]
    assert counted["max_company_routines"] > 0
    with bootstrap.system(old_installation.settings) as ready:
        assert not ready.executor.quotas.is_over(who)


def test_it_answers_as_0_1_0_did(old_installation, system, rebuilt_read_models):
    def get(path):
        answer = client.get(path)
        return None if answer.status_code == httpx.codes.NOT_FOUND else answer.raise_for_status().json()

    with serving(system) as url, client_of(url, old_installation) as client:
        answers_now = answers(get)

    assert len(answers_now) > 300
    differing = list(differences(old_installation.answers, answers_now))
    assert [] == [one for one in differing if one[1] != ABSENT]
    assert ADDED == {path for path, *_ in differing}


def differences(before, after, where=()):
    """What is not as it was, by the names of the fields that lead to it."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            yield from differences(before.get(key, ABSENT), after.get(key, ABSENT), (*where, key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for one, other in zip(before, after, strict=True):
            yield from differences(one, other, (*where, "[]"))
    elif before != after:
        path = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\?.*", "*", where[0])
        yield " ".join([path, *where[1:]]), before, repr(after)


def test_the_chain_of_the_log_holds_across_the_upgrade(old_installation):
    with psycopg.connect(old_installation.url, autocommit=True) as conn:
        head = log_reader.read_head(conn)
        assert [] == list(log_reader.find_defects(log_reader.read_rows(conn, head.position), head))
    assert sum(old_installation.events.values()) <= head.position


def test_its_secrets_still_open(old_installation, system):
    with system.pool.connection() as conn:
        ids = [id_ for (id_,) in conn.execute("SELECT id FROM vault.secrets WHERE key_id IS NOT NULL").fetchall()]

    assert ids
    assert set(ids) == set(system.vault.open(ids))


def test_its_schedules_fire_on(old_installation, system, rebuilt_read_models):
    hour_later = system_at(system, old_installation.now + timedelta(hours=1))
    with bootstrap.connect(old_installation.settings) as conn:
        assert 0 < Scheduler(hour_later.executor, system.store.after, batch=50).tick(conn)
        while positions.advance(conn, catalogue.ALL, system.store.after):
            pass
    path = f"/api/routines/{old_installation.ids['piles']}/runs?limit=200"

    with serving(hour_later) as url, client_of(url, old_installation) as client:
        runs = client.get(path).json()
        known = {run["id"] for run in old_installation.answers[path]}
        new = [run for run in runs if run["id"] not in known]
        issue = client.get(f"/api/issues/{new[0]['linkedIssueId']}").json()

    assert [("schedule", "issue_created")] == [(run["source"], run["status"]) for run in new]
    assert len(runs) == len(old_installation.answers[path]) + 1
    assert "todo" == issue["status"]


def test_0_1_0_is_refused_from_then_on(old_installation):
    """Its `init` runs this, first of all that would change something."""
    with (
        psycopg.connect(old_installation.url, autocommit=True) as conn,
        pytest.raises(psycopg.OperationalError) as refused,
    ):
        conn.execute("INSERT INTO log.head VALUES (true, 0, '\\x') ON CONFLICT DO NOTHING")

    assert "install that version, or restore the copy" in str(refused.value)


def test_an_upgraded_database_has_the_same_tables_and_functions_as_a_new_one(old_installation, admin_url):
    assert structure(admin_url) == structure(old_installation.url)


def test_an_erased_company_of_0_1_0_answers_everything_and_says_nothing(
    old_installation, system, rebuilt_read_models, monkeypatch
):
    """The last test of this database. The rows of the log, which nobody can change, keep what 0.1.0 has put in."""
    monkeypatch.setattr("application.event_store.data_keys.LOOK_S", 0.1)
    acme = UUID(old_installation.ids["acme"])
    texts = {"title", "name", "description", "body", "triggerPayload", "payload"}

    def get(path):
        answer = client.get(path)
        assert answer.status_code < 500, (path, answer.text)
        return answer.json() if answer.status_code == 200 else None

    with serving(system) as url, client_of(url, old_installation) as client:
        said = {
            text
            for path in (f"/api/companies/{acme}/routines", f"/api/companies/{acme}/issues")
            for text in said_in(get(path), texts)
        }
        system.executor.attempt(lambda work: work.record(acme, [CompanyArchived()]))
        with bootstrap.connect(old_installation.settings) as conn:
            while positions.advance(conn, catalogue.ALL, system.store.after):
                pass

        done = CliRunner().invoke(
            main,
            ["erase", "--company", str(acme), "--yes", "--reason", "a test"],
            env={"ROUTINES_DATABASE_URL": old_installation.url},
        )
        assert done.exit_code == 0, done.output
        answers_now = answers(get)
        of_acme = {path: answer for path, answer in answers_now.items() if str(acme) in path}
        left = {text for answer in of_acme.values() for text in said_in(answer, texts)}

    assert len(said) > 5
    assert len(answers_now) > 150
    assert set() == said & left
    assert (
        0 == CliRunner().invoke(main, ["audit", "chain"], env={"ROUTINES_DATABASE_URL": old_installation.url}).exit_code
    )


def said_in(answer, names):
    """The texts in the fields of these names."""
    if isinstance(answer, list):
        return [text for one in answer for text in said_in(one, names)]
    if not isinstance(answer, dict):
        return []
    own = [text for name in names & set(answer) if isinstance(text := answer[name], str) and text]
    return own + [text for part in answer.values() for text in said_in(part, names)]
