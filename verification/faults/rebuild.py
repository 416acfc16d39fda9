"""
Random SIGKILL of rebuilds, and of the projector beside them, while a scheduler and a client record further events.

The projector moves the rows of what is over into the cold tables all the time, and rebuilds do the same aside. At the end the read models must have exactly the rows that the log gives, as `routines projections verify` finds.
"""

import random
import time
from functools import partial

from routines import bootstrap
from verification.faults import oracle
from verification.faults.campaign import CampaignSize, Outcome, Progress, noting_standstill
from verification.faults.environment import Database, Environment, wait_for
from verification.faults.kill import answers, finish, has_reached, running_system
from verification.faults.load import PAUSE_S

AT_ONCE = 500  # schedules that are armed together
SECOND = "0.00001"  # days, after which what is over leaves the hot tables
# A company that is over its quota would leave its schedules at rest, and refuse the last runs.
NO_QUOTA = "1000000000"
MINUTES = 20  # how many minutes each schedule has missed
UNTIL_FILLED_S, UNTIL_REBUILT_S, UNTIL_MOVED_S = 1_800.0, 3_600.0, 60.0


def run(environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    events, kills = int(size(full=1_000_000, short=20_000, brief=1_000)), int(size(full=50, short=8, brief=2))
    at_once = min(AT_ONCE, events // 50)
    longest_s = size(full=20.0, short=3.0, brief=1.0)  # how long a rebuild lives at most before it is killed
    pause_s = size(full=PAUSE_S, short=PAUSE_S, brief=0.05)
    progress, broken = Progress("rebuild"), list[str]()
    with (
        environment.database() as database,
        database.auditor() as log,
        running_system(environment, database, chance, pause_s=pause_s) as system,
    ):
        system.processes.env["ROUTINES_KEEP_HOT_DAYS"] = SECOND
        system.processes.env["ROUTINES_MAX_COMPANY_OPEN_ISSUES"] = NO_QUOTA
        _, _, projector = (system.start(role) for role in ("web", "scheduler", "projector"))
        with noting_standstill(broken):
            wait_for(lambda: answers(system.port), environment.limit_s)
            while (head := oracle.head(log)) < events:
                system.company_fixture.late(at_once, MINUTES)
                wait_for(partial(has_reached, log, min(events, head + 10 * at_once)), UNTIL_FILLED_S)
                progress(f"{oracle.head(log):,} events")
            for number in range(kills):
                rebuild = system.processes.start("projections", "rebuild", "--json")
                time.sleep(chance.uniform(0, longest_s))
                rebuild.kill()
                rebuild.wait()
                if chance.random() < 0.3:
                    projector.kill()
                    projector.wait()
                    projector = system.start("projector")
                progress(f"{number + 1} kills of a rebuild, {oracle.head(log):,} events")
            rebuilt = system.processes.start("projections", "rebuild", "--json")
            wait_for(lambda: rebuilt.poll() is not None, UNTIL_REBUILT_S)
            if rebuilt.returncode:
                last_lines = (system.processes.logs / "projections.log").read_text().splitlines()[-3:]
                broken.append(f"the last rebuild ended with {rebuilt.returncode}: {' / '.join(last_lines)}")
            wait_for(lambda: _cold_rows(database) > 0, UNTIL_MOVED_S)  # the projector looks for them now and then
        outcome = finish("rebuild", f"{kills} kills of a rebuild", system, broken)
        cold_rows = _cold_rows(database)
        outcome.broken += ["nothing has left the hot tables"] * (not cold_rows)
        outcome.notes.append(
            f"{oracle.head(log):,} events; the rows of all read models, {cold_rows:,} of them cold, are compared with the log"
        )
        return [outcome]


def _cold_rows(database: Database) -> int:
    with bootstrap.connect(database.settings()) as conn:
        (count,) = conn.execute(
            """SELECT (SELECT count(*) FROM run WHERE tableoid <> 'run'::regclass)
                + (SELECT count(*) FROM issue WHERE tableoid <> 'issue'::regclass)"""
        ).fetchone() or (0,)
        return int(count)
