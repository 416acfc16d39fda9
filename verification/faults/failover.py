"""
Failover between two servers under load: what was acknowledged is there on whichever server comes next.

* switch   the primary crashes; its address leads to the standby, which takes no writes for a while and is then promoted;
           what is left of the primary becomes the new standby
* stray    the address leads to the standby for some seconds, and back again

All that listens to the address is one proxy. Requests may be refused while there is no primary, with 503 and Retry-After
where nothing was recorded; all is well RECOVERY_S after there is one again.
"""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from application.audit import log_reader
from routines import bootstrap
from routines.roles import SERVICE
from verification.faults import postgres_proxy
from verification.faults.campaign import CampaignSize, Outcome, Progress, noting_standstill
from verification.faults.connections import Prober, wait_until_fired
from verification.faults.environment import Database, Environment, wait_for
from verification.faults.kill import MINUTES, answers, finish, running_system
from verification.faults.postgres_proxy import Proxy
from verification.faults.replicas import Pair, replicated_servers

RECOVERY_S = 8.0  # with a projector that looks for its database once a second, and a busy machine
STRAY_S = 10.0


class SwitchedDatabase(Database):
    """The service reaches it by the proxy, everybody else at the present primary."""

    def __init__(self, pair: Pair, proxy: Proxy, directory: Path, environment: Environment) -> None:
        super().__init__(pair, "postgres", directory, environment.env, environment.launch)
        self._proxy = proxy

    def url(self, user: str = SERVICE) -> str:
        return self._proxy.url(user, self.name) if user == SERVICE else super().url(user)


def run(environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    switches, stray_s = int(size(full=200, short=6, brief=2)), size(full=STRAY_S, short=STRAY_S, brief=3)
    progress, broken, slowest_s = Progress("failover"), list[str](), 0.0
    recovery_s = size(full=RECOVERY_S, short=RECOVERY_S, brief=environment.limit_s)
    with (
        replicated_servers(environment.postgres.home) as pair,
        postgres_proxy.proxy_between(pair.primary.socket) as proxy,
        _open_switched_database(environment, pair, proxy) as database,
        running_system(environment, database, chance) as system,
        Prober(system) as prober,
    ):
        for role in ("scheduler", "web", "projector"):
            system.start(role)
        with noting_standstill(broken):
            wait_for(lambda: answers(system.port), environment.limit_s)
            wait_for(prober.prepare, environment.limit_s)
            for number in range(switches):
                system.company_fixture.late(3, MINUTES)
                time.sleep(chance.uniform(0, 0.2))
                if number % 2:
                    proxy.server = pair.standby.socket
                    _cut_links(proxy)
                    end, failures = time.monotonic() + stray_s, list[str | None]()
                    while time.monotonic() < end:
                        failures.append(prober.make_request(len(failures)))
                    proxy.server = pair.primary.socket  # what is open to the standby stays open
                else:
                    pair.primary.crash()
                    time.sleep(chance.uniform(0, 1))
                    proxy.server = pair.standby.socket
                    failures = [prober.make_request(0)]
                    pair.swap()
                    pair.replicate()
                began = time.monotonic()
                wait_for(lambda: not prober.make_request(0) and not prober.make_request(1), environment.limit_s)
                wait_until_fired(system, recovery_s)
                slowest_s = max(slowest_s, time.monotonic() - began)
                broken += [text for text in failures if text not in (None, "refused")]
                progress(f"{number + 1} times, slowest return {slowest_s:.1f} s")
        broken += [f"something stood still for {slowest_s:.1f} s"] * (slowest_s > recovery_s)
        system.client.answered += prober.keys
        outcome = finish("failover", f"{switches} switches", system, broken)
        with database.auditor() as log:
            head = log_reader.read_head(log)
            defects = list(log_reader.find_defects(log_reader.read_rows(log, head.position), head))
        outcome.broken += [f"{defect.position}: {defect.reason}" for defect in defects]
        outcome.notes.append(f"all well {slowest_s:.1f} s after there was a primary again at most")
        return [outcome]


def _cut_links(proxy: Proxy) -> None:
    for link in proxy.links:
        link.cut()


@contextmanager
def _open_switched_database(environment: Environment, pair: Pair, proxy: Proxy) -> Iterator[Any]:
    directory = environment.directory / "failover"
    directory.mkdir(exist_ok=True)
    database = SwitchedDatabase(pair, proxy, directory, environment)
    bootstrap.make_keys(database.key_file)
    bootstrap.prepare(database.settings(database.url("postgres")))
    database.trust_clocks("NULL")
    yield database
