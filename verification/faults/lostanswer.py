"""The answers of commits are lost: the append is carried out, its answer is not heard, and the connection is gone."""

import random

from verification.faults import postgres_proxy
from verification.faults.campaign import CampaignSize, Outcome, Progress, noting_standstill
from verification.faults.environment import Environment, is_settled, wait_for
from verification.faults.kill import MINUTES, answers, finish, running_system
from verification.faults.load import PAUSE_S

SHARE = 0.4  # the share of the answers that are lost


def run(environment: Environment, size: CampaignSize, chance: random.Random) -> list[Outcome]:
    schedules, goal = int(size(full=2_000, short=100, brief=40)), int(size(full=5_000, short=100, brief=20))
    progress, broken = Progress("lostanswer"), list[str]()
    with environment.database() as database, postgres_proxy.proxy_between(environment.socket) as proxy:
        fault = postgres_proxy.LoseAnswers(chance, SHARE)
        proxy.fault = fault
        url, pause_s = proxy.url("routines_service", database.name), size(full=PAUSE_S, short=PAUSE_S, brief=0.1)
        with running_system(environment, database, chance, url, pause_s=pause_s) as system:
            system.company_fixture.late(schedules, MINUTES)
            for role in ("scheduler", "web", "projector"):
                system.start(role)
            with noting_standstill(broken):
                wait_for(lambda: answers(system.port), environment.limit_s)

                def is_enough() -> bool:
                    progress(f"{fault.lost:,} lost answers of commits, {len(system.client.answered):,} to requests")
                    return len(system.client.answered) >= goal and is_settled(database)

                wait_for(is_enough, int(size(full=30, short=1)) * environment.limit_s)
            outcome = finish("lostanswer", "", system, broken)
            outcome.faults = f"{fault.lost:,} lost answers"
            return [outcome]
