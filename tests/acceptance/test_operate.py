"""The commands of docs/operate.md, in order, as an operator would type them."""

import re
import shutil
import sys
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import httpx
import msgspec
import psycopg
import pytest

from routines.local import accounts
from routines.postgres.cluster import LocalPostgres
from tests import waiting
from tests.deploy.machine import Machine

STEP = re.compile(
    r"^#{2,3} (?P<heading>[^\n]+)$|^```bash\n# as (?P<account>[^\n]+)\n(?P<script>.*?)^```$", re.MULTILINE | re.DOTALL
)
WANTS = re.compile(r"^Wants=(.*)$", re.MULTILINE)
TOKEN = re.compile(r"pcp_board_\w+")
SERVING = ("routines-web@3100.service", "routines-projector.service")  # after all have been started, two will do
wait_for = partial(waiting.wait_for, limit_s=60)


class Step(NamedTuple):
    """One block of the page, and as which account it is carried out."""

    heading: str
    account: str
    script: str


class Operator:
    """Carries the page out, and does between its commands what users of the service would do."""

    def __init__(self, machine: Machine, page: str) -> None:
        self.machine = machine
        self.steps: list[Step] = []
        heading = ""
        for match in STEP.finditer(page):
            heading = match["heading"] or heading
            if match["script"]:
                self.steps.append(Step(heading, match["account"].split()[0], match["script"]))
        self.prelude = next(step.script for step in self.steps if "as_owner()" in step.script)
        self.token = ""

    def take(self, heading: str) -> list[Step]:
        """The commands below a heading, which are not left to be carried out then."""
        taken = [step for step in self.steps if step.heading == heading]
        self.steps = [step for step in self.steps if step.heading != heading]
        return taken

    def carry_out(self, heading: str) -> str:
        """What the commands below a heading print."""
        return self.carry_out_steps(*self.take(heading))

    def carry_out_steps(self, *steps: Step, moment: str = "") -> str:
        printed = ""
        for step in steps:
            script = re.sub(r"^MOMENT=.*$", f"MOMENT='{moment}'", step.script, flags=re.MULTILINE)
            printed += self.machine.run(f"{self.prelude}\n{script}", account=step.account)
        return printed

    def companies(self) -> list[str]:
        """The names of all companies, as soon as the service answers."""
        return sorted(company["name"] for company in wait_for(self._list_companies))

    def _list_companies(self):
        with suppress(httpx.TransportError):  # the service is being started, or stopped
            answer = httpx.get(self._companies_url(), headers=self._auth_headers(), trust_env=False)
            return answer.json() if answer.is_success else None
        return None

    def make_company(self, name: str) -> None:
        wait_for(lambda: self._create_company(name))

    def _create_company(self, name: str) -> bool:
        with suppress(httpx.TransportError):  # the service is being started, or stopped
            return httpx.post(
                self._companies_url(), headers=self._auth_headers(), json={"name": name}, trust_env=False
            ).is_success
        return False

    def read(self, path: str) -> str | None:
        """What the API answers, if it answers with success."""
        answer = httpx.get(f"{self._api_url()}{path}", headers=self._auth_headers(), trust_env=False)
        return answer.text if answer.is_success else None

    def now(self) -> str:
        """The time of Postgres, with a transaction after it, so that a recovery knows that it has come so far."""
        with psycopg.connect(
            f"host={self.machine.root}/run port={self.machine.postgres_port} user=postgres dbname=postgres",
            autocommit=True,
        ) as conn:
            (moment,) = conn.execute("SELECT clock_timestamp()").fetchone()
        return moment.isoformat(sep=" ")

    def _companies_url(self) -> str:
        return f"{self._api_url()}/companies"

    def _api_url(self) -> str:
        return f"http://127.0.0.1:{self.machine.port}/api"

    def _auth_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@pytest.fixture
def machine(root):
    machine = Machine(root)
    try:
        machine.make()
        machine.run("systemctl start postgresql")
        yield machine
    finally:
        machine.remove()


@pytest.fixture
def operator(root, machine):
    return Operator(machine, (root / "docs/operate.md").read_text())


@pytest.mark.timeout(600)
def test_every_command_of_the_page_works_as_it_stands(operator, machine):
    for heading in ("Install", "Roles"):
        operator.carry_out(heading)
    said = operator.carry_out("Start")
    operator.token = TOKEN.search(said)[0]
    assert "firing_metrics" in said
    assert 0o600 == machine.path("/etc/routines/secret.keys").stat().st_mode & 0o777
    assert 0o1770 == machine.path("/etc/routines").stat().st_mode & 0o7777  # only root replaces what root's shell reads
    operator.make_company("Acme")
    want(machine, *SERVING)
    said = operator.carry_out("Sign the log")
    assert said.splitlines()[-1] in wait_for(lambda: operator.read("/log/key"))
    assert wait_for(lambda: operator.read("/log/checkpoint")).startswith("routines.example.org/log\n")

    make_certificate(machine)
    operator.carry_out("TLS and nginx")

    (dump,) = operator.take("A dump, while everything runs")
    operator.carry_out_steps(dump)
    dumped = machine.path("/var/backups/routines/routines.dump").read_bytes()
    with pytest.raises(AssertionError, match="no-such-format"):
        operator.carry_out_steps(dump._replace(script=dump.script.replace("custom", "no-such-format")))
    assert dumped == machine.path("/var/backups/routines/routines.dump").read_bytes()
    operator.make_company("After the dump")
    machine.path("/etc/routines/secret.keys").unlink()
    assert "0 defects" in operator.carry_out("Restore a dump")
    assert ["Acme"] == operator.companies()

    operator.make_company("In the copy")
    copy, bring_back = operator.take("A copy, while everything stands still")
    want(machine)
    operator.carry_out_steps(copy)
    want(machine, *SERVING)
    assert "0 defects" in operator.carry_out_steps(bring_back)
    assert ["Acme", "In the copy"] == operator.companies()

    *configure, back = operator.take("Any point in time")
    operator.carry_out_steps(*configure)
    operator.carry_out_steps(configure[-1])  # the next base backup
    operator.make_company("Before the moment")
    moment = operator.now()
    operator.make_company("After the moment")
    assert "0 defects" in operator.carry_out_steps(back, moment=moment)
    assert ["Acme", "Before the moment", "In the copy"] == operator.companies()

    want(machine)
    copy_up(operator, machine)

    assert "firing_metrics" in operator.carry_out("Upgrade, and back")
    operator.carry_out("Watching")
    assert [] == operator.steps


def want(machine, *units):
    """These and no others belong to routines.target from its next start on; those that do not are stopped."""
    target = machine.path("/etc/systemd/system/routines.target")
    text, wanted = target.read_text(), machine.text(" ".join(units))
    (before,) = WANTS.findall(text)
    target.write_text(WANTS.sub(f"Wants={wanted}", text))
    if dropped := set(before.split()) - set(wanted.split()):
        machine.run(f"systemctl stop {' '.join(dropped)}")


def copy_up(operator, machine):
    """The commands about `routines up`, on a directory as it leaves it, which is lost between them."""
    copy, bring_back, back_up, bring_base_back = operator.take("`routines up`")
    home = machine.root / "home"
    (home / ".venv").symlink_to(sys.prefix)
    data_dir = home / ".routines"
    postgres = LocalPostgres(data_dir, parts=accounts.of_parts(print))
    try:
        with psycopg.connect(postgres.start(), autocommit=True) as conn:
            conn.execute("CREATE TABLE proof AS SELECT 1 AS number")
        for name in ("secret.keys", "log.key", "board.token"):
            (data_dir / name).write_text(f"the {name}")
        state = {"url": "", "pid": 1, "database_url": "", "owner_database_url": postgres.url("postgres")}
        (data_dir / "up.json").write_bytes(msgspec.json.format(msgspec.json.encode(state | {"key_file": ""})))
        operator.carry_out_steps(back_up)
        postgres.stop()
        operator.carry_out_steps(copy)
        for directory in ((data_dir / "postgres").resolve(), data_dir):
            shutil.rmtree(directory)
        operator.carry_out_steps(bring_back)

        assert "the secret.keys" == (data_dir / "secret.keys").read_text()
        with psycopg.connect(postgres.start(), autocommit=True) as conn:
            assert [(1,)] == conn.execute("SELECT number FROM proof").fetchall()
            conn.execute("INSERT INTO proof VALUES (2)")
        postgres.stop()
        (data_dir / "secret.keys").unlink()
        operator.carry_out_steps(bring_base_back)

        assert "the secret.keys" == (data_dir / "secret.keys").read_text()
        with psycopg.connect(postgres.start()) as conn:
            assert [(1,)] == conn.execute("SELECT number FROM proof").fetchall()
    finally:
        postgres.stop()
        shutil.rmtree((data_dir / "postgres").resolve())


def make_certificate(machine):
    """A certificate for the names that the page's example has."""
    machine.run("""
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=routines.example.org \
            -keyout /etc/ssl/private/routines.example.org.key -out /etc/ssl/certs/routines.example.org.pem 2>&1""")
