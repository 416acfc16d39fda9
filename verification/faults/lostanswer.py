"""The answers of commits are lost: the append is carried out, its answer is not heard, and the connection is gone."""

import random

from verification.faults import wire
from verification.faults.campaign import Outcome, Progress, Size, noting_standstill
from verification.faults.kill import MINUTES, answers, finish, town
from verification.faults.place import Place, settled, wait_for

SHARE = 0.4  # of the answers


def run(place: Place, size: Size, chance: random.Random) -> list[Outcome]:
    schedules, goal = int(size(full=2_000, short=100, brief=40)), int(size(full=5_000, short=100, brief=20))
    progress, broken = Progress("lostanswer"), list[str]()
    with place.database() as database, wire.between(place.socket) as proxy:
        fault = wire.LoseAnswers(chance, SHARE)
        proxy.fault = fault
        with town(place, database, chance, proxy.url("routines_service", database.name)) as here:
            here.workplace.late(schedules, MINUTES)
            for role in ("scheduler", "web", "projector"):
                here.start(role)
            with noting_standstill(broken):
                wait_for(lambda: answers(here.port), place.limit_s)

                def enough() -> bool:
                    progress(f"{fault.lost:,} lost answers of commits, {len(here.client.answered):,} to requests")
                    return len(here.client.answered) >= goal and settled(database)

                wait_for(enough, int(size(full=30, short=1)) * place.limit_s)
            outcome = finish("lostanswer", "", here, broken)
            outcome.faults = f"{fault.lost:,} lost answers"
            return [outcome]
