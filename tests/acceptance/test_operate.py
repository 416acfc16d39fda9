"""The commands of docs/operate.md, in order, as an operator would type them."""

import re
import shutil
from functools import partial

import httpx
import psycopg
import pytest

from routines.local import accounts
from routines.postgres.cluster import LocalPostgres
from tests import waiting
from tests.acceptance.running_system import running_system
from tests.deploy.machine import Machine

STEP = re.compile(
    r"^#{2,3} (?P<heading>[^\n]+)$|^```bash\n# as (?P<account>[^\n]+)\n(?P<script>.*?)^```$", re.MULTILINE | re.DOTALL
)
TOKEN = re.compile(r"pcp_board_\w+")
wait_for = partial(waiting.wait_for, limit_s=60)


class Operator:
    """Carries the page out, and does between its commands what users of the service would do."""

    def __init__(self, machine: Machine, page: str) -> None:
        self.machine = machine
        self.steps: list[tuple[str, str, str]] = []
        heading = ""
        for step in STEP.finditer(page):
            heading = step["heading"] or heading
            if step["script"]:
                self.steps.append((heading, step["account"], step["script"]))
        self.prelude = next(script for _, _, script in self.steps if "as_owner()" in script)
        self.token = ""

    def carry_out(self, heading: str, *, moment: str = "") -> str:
        """What the commands below a heading print."""
        printed = ""
        while self.steps and self.steps[0][0] == heading:
            _, account, script = self.steps.pop(0)
            if moment:
                script = re.sub(r"^MOMENT=.*$", f"MOMENT='{moment}'", script, flags=re.MULTILINE)
            printed += self.machine.run(f"{self.prelude}\n{script}", account=account.split()[0])
        return printed

    def companies(self) -> list[str]:
        """The names of all companies, as soon as the service answers."""
        return sorted(company["name"] for company in wait_for(self._ask))

    def _ask(self):
        try:
            answer = httpx.get(self._url(), headers=self._headers(), trust_env=False)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.is_success else None

    def make_company(self, name: str) -> None:
        def make():
            answer = httpx.post(self._url(), headers=self._headers(), json={"name": name}, trust_env=False)
            return answer.is_success

        wait_for(make)

    def now(self) -> str:
        """The time of Postgres, with a transaction after it, so that a recovery knows that it has come so far."""
        with psycopg.connect(
            f"host={self.machine.root}/run port={self.machine.postgres_port} user=postgres dbname=postgres",
            autocommit=True,
        ) as conn:
            (moment,) = conn.execute("SELECT clock_timestamp()").fetchone()
        return moment.isoformat(sep=" ")

    def _url(self) -> str:
        return f"http://127.0.0.1:{self.machine.port}/api/companies"

    def _headers(self) -> dict[str, str]:
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


@pytest.mark.timeout(300)
def test_every_command_of_the_page_works_as_it_stands(operator, machine):
    for heading in ("Install", "Roles"):
        operator.carry_out(heading)
    said = operator.carry_out("Start")
    operator.token = TOKEN.search(said)[0]
    assert "firing_metrics" in said
    assert 0o600 == machine.path("/etc/routines/secret.keys").stat().st_mode & 0o777
    operator.make_company("Acme")
    leave_out(machine, "routines-scheduler", "routines-delivery")

    make_certificate(machine)
    operator.carry_out("TLS and nginx")

    operator.carry_out("A dump, while everything runs")
    operator.make_company("After the dump")
    machine.path("/etc/routines/secret.keys").unlink()
    assert "0 defects" in operator.carry_out("Restore a dump")
    assert ["Acme"] == operator.companies()

    operator.make_company("In the copy")
    assert "0 defects" in operator.carry_out("A copy, while everything stands still")
    assert ["Acme", "In the copy"] == operator.companies()

    *configure, back = [step for step in operator.steps if step[0] == "Any point in time"]
    others = [step for step in operator.steps if step[0] != "Any point in time"]
    operator.steps = configure
    operator.carry_out("Any point in time")
    operator.make_company("Before the moment")
    moment = operator.now()
    operator.make_company("After the moment")
    operator.steps = [back]
    assert "0 defects" in operator.carry_out("Any point in time", moment=moment)
    assert ["Acme", "Before the moment", "In the copy"] == operator.companies()
    operator.steps = others

    copy_up(operator, machine)

    assert "firing_metrics" in operator.carry_out("Upgrade, and back")
    operator.carry_out("Watching")
    assert [] == operator.steps


def leave_out(machine, *names):
    """Stops them, and takes them out of the target: they have started, and what follows asks for the other two."""
    target = machine.path("/etc/systemd/system/routines.target")
    for name in names:
        machine.run(f"systemctl stop {name}")
        target.write_text(target.read_text().replace(f"{name}.service", ""))


def copy_up(operator, machine):
    """The two commands about `routines up`: between them its directories are lost."""
    steps = [step for step in operator.steps if step[0] == "`routines up`"]
    operator.steps = [step for step in operator.steps if step not in steps]
    data_dir = machine.root / "home/.routines"
    with running_system(data_dir):
        pass
    files = {name: (data_dir / name).read_text() for name in ("board.token", "secret.keys")}
    (_, account, copy), (_, _, bring_back) = steps
    machine.run(copy, account=account.split()[0])
    for directory in ((data_dir / "postgres").resolve(), data_dir):
        shutil.rmtree(directory)
    machine.run(bring_back, account=account.split()[0])

    assert files == {name: (data_dir / name).read_text() for name in files}
    postgres = LocalPostgres(data_dir, parts=accounts.of_parts(print))
    try:
        with psycopg.connect(postgres.start()) as conn:
            assert conn.execute("SELECT 1 FROM log.events WHERE name = 'key.issued'").fetchone()
    finally:
        postgres.stop()
        shutil.rmtree((data_dir / "postgres").resolve())


def make_certificate(machine):
    """A certificate for the names that the page's example has."""
    machine.run("""
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=routines.example.org \
            -keyout /etc/ssl/private/routines.example.org.key -out /etc/ssl/certs/routines.example.org.pem 2>&1""")
