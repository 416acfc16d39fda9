"""
The server is lost in the middle of its work, and the database comes back from a copy, in five ways:

* a dump with the roles of the server, in a new server
* a dump without the roles, in a new server
* a dump, in the same server under another name
* a physical copy
* the server as it was at a moment between a base backup and the loss (point in time)

Each time `routines init` comes first, then schedulers and projector go on. In the log of the copy every occurrence has
one outcome, the chain of hashes is whole, and every read model is at its end.
"""

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from routines import bootstrap
from routines.postgres.binaries import find_binaries
from routines.postgres.cluster import LocalPostgres
from verification.faults import oracle
from verification.faults.campaign import CampaignSize, Outcome, Progress, noting_standstill
from verification.faults.environment import Database, Environment, settle, wait_for
from verification.faults.load import CompanyFixture

MINUTES = 5  # how many minutes each schedule has missed
MOMENT = "before the loss"
AHEAD_S = 15  # within which further occurrences come due, some before the loss and some after it
BEHIND = """
    SELECT count(*) FROM read_models.positions p, log.head h
    WHERE p.position < h.position OR p.stopped IS NOT NULL OR p.shape <> p.wanted"""


def run_program(name: str, *arguments: str | Path, input: str | None = None, check: bool = True) -> str:  # noqa: A002 as subprocess calls it
    """Run a program of Postgres, and return what it printed."""
    argv = [str(find_binaries() / name), *map(str, arguments)]
    result = subprocess.run(argv, capture_output=True, text=True, check=False, input=input)
    if check and result.returncode:
        raise RuntimeError(f"{name}: {result.stderr}")
    return result.stdout


def dump(url: str, file: Path) -> Path:
    run_program("pg_dump", "--format=custom", "--file", file, url)
    return file


def dump_roles(server: LocalPostgres) -> str:
    """Return the statements that make the roles and their settings."""
    return run_program("pg_dumpall", "--roles-only", "--dbname", server.url("postgres", "postgres"))


def restore(file: Path, server: LocalPostgres, name: str, *options: str, roles: str = "") -> str:
    """Restore a dump into a new database; return its superuser's URL. That roles are missing stops nothing."""
    run_program("psql", "--quiet", server.url("postgres", "postgres"), input=roles, check=False)
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(Identifier(name)))
    url = server.url("postgres", name)
    run_program("pg_restore", "--dbname", url, *options, file, check=False)
    return url


def back_up(server: LocalPostgres, root: Path) -> Path:
    """Copy the files of a server while it runs, as a base backup with the WAL that it needs; return the copy's root."""
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as admin:
        admin.execute("SELECT pg_backup_start('copy', true)")
        copy_files(server, root)
        label = admin.execute("SELECT labelfile FROM pg_backup_stop(false)").fetchone()
    data = root / "postgres" / "data"
    (data / "postmaster.pid").unlink(missing_ok=True)
    (data / "backup_label").write_text(label[0] if label else "")
    copy_wal(server, root)
    return root


def copy_wal(server: LocalPostgres, root: Path) -> None:
    _copy_tree(server.data / "pg_wal", root / "postgres" / "data")


def copy_files(server: LocalPostgres, root: Path) -> Path:
    """Copy the files of a server as they are."""
    (root / "postgres").mkdir(parents=True)
    _copy_tree(server.data, root / "postgres")
    return root


def _copy_tree(tree: Path, directory: Path) -> None:
    """Copy a tree into a directory, over what is there; files that vanish meanwhile do not matter."""
    subprocess.run(["/bin/cp", "-a", tree, directory], capture_output=True, check=False)


def run(environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    rounds = int(size(full=20, short=1))
    return [
        outcome
        for number in range(rounds)
        for outcome in _lose_and_restore(environment, size, random.Random(chance.random()), number)
    ]


def _lose_and_restore(
    environment: Environment, size: CampaignSize, chance: random.Random, number: int
) -> list[Outcome]:
    progress = Progress("restore")
    _keep_wal(environment.postgres)
    with environment.database() as database:
        files = database.directory
        with bootstrap.system(database.settings()) as system:
            processes = database.processes()
            try:
                for role in ("scheduler", "scheduler", "projector"):
                    processes.start(role)
                company = CompanyFixture(system)
                company.late(int(size(full=400, short=60, brief=20)), MINUTES)
                now = system.clock()
                ahead = [
                    now.timestamp() + chance.uniform(1, AHEAD_S) for _ in range(int(size(full=400, short=60, brief=20)))
                ]
                company.once([now.fromtimestamp(moment, now.tzinfo) for moment in ahead])
                back_up(environment.postgres, files / "base")
                progress("a base backup is made")
                time.sleep(chance.uniform(0, AHEAD_S / 3))
                dump_directory = dump(database.url("postgres"), files / "dump")
                _name_moment(environment.postgres)
                time.sleep(chance.uniform(0, AHEAD_S / 3))
                back_up(environment.postgres, files / "copy")
                progress("a physical copy is made")
            finally:
                processes.end()
        roles = dump_roles(environment.postgres)
        copy_wal(environment.postgres, files / "base")
        _recover_to_moment(files / "base/postgres/data")
        ways: dict[str, Callable[[LocalPostgres], str]] = {
            "dump and roles": lambda server: restore(dump_directory, server, "restored", roles=roles),
            "dump without roles": lambda server: restore(dump_directory, server, "restored"),
            "another name": lambda _: restore(dump_directory, environment.postgres, f"{database.name}_copy"),
            "physical copy": lambda server: server.url("postgres", database.name),
            "point in time": lambda server: server.url("postgres", database.name),
        }
        chosen_ways = size(full=len(ways), short=len(ways), brief=1)  # the suite tries the others by themselves
        roots = {"another name": None, "physical copy": files / "copy", "point in time": files / "base"}
        return [
            _go_on(environment, database, f"restore: {name}, {number + 1}", way, roots.get(name, files / f"new {name}"))
            for name, way in list(ways.items())[-int(chosen_ways) :]
        ]


def _keep_wal(server: LocalPostgres) -> None:
    """Let the server recycle no WAL, as an archive would keep it."""
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET wal_keep_size = '2GB'")
        admin.execute("SELECT pg_reload_conf()")


def _name_moment(server: LocalPostgres) -> None:
    """Name the present moment in the WAL."""
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as admin:
        admin.execute("SELECT pg_create_restore_point(%s)", (MOMENT,))


def _recover_to_moment(data: Path) -> None:
    """Let the server end its recovery at the named moment, by the WAL that is beside its files."""
    with (data / "postgresql.auto.conf").open("a") as file:
        file.write(
            f"restore_command = 'false'\nrecovery_target_name = '{MOMENT}'\nrecovery_target_action = 'promote'\n"
        )
    (data / "recovery.signal").touch()


def _go_on(
    environment: Environment, lost_database: Database, name: str, way: Callable[[LocalPostgres], str], root: Path | None
) -> Outcome:
    """Restore, prepare, work on, and judge. With no root the copy is in the server where the lost database was."""
    server = environment.postgres if root is None else LocalPostgres(root)
    try:
        server.start()
        return _judge_copy(environment, lost_database, name, server, way(server))
    finally:
        if root is not None:
            server.stop()
            shutil.rmtree(server.home)


def _judge_copy(
    environment: Environment, lost_database: Database, name: str, server: LocalPostgres, url: str
) -> Outcome:
    with psycopg.connect(url, autocommit=True) as admin:
        wait_for(lambda: admin.execute("SELECT NOT pg_is_in_recovery()").fetchone() == (True,), environment.limit_s)
        copy = Database(server, admin.info.dbname, lost_database.directory, environment.env, environment.launch)
    broken = list[str]()
    processes = copy.processes()
    for command in (["init"], ["audit", "chain"]):
        output = copy.directory / f"{command[0]}.log"
        code = copy.launch(command, processes.environment(url), output).wait(environment.limit_s)
        broken += [f"routines {' '.join(command)}: {output.read_text()}"] * bool(code)
    until = None
    try:
        for role in ("scheduler", "scheduler", "projector"):
            processes.start(role)
        with noting_standstill(broken):
            until = settle(copy, environment.limit_s)
            with copy.superuser() as admin:
                wait_for(lambda: admin.execute(BEHIND).fetchone() == (0,), environment.limit_s)
        broken += ["a process ended"] * any(process.poll() is not None for process in processes.running)
    finally:
        processes.end()
    with copy.auditor() as log:
        return Outcome(name, oracle.judge(log, until=until), "1 loss", broken)
