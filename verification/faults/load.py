"""Work to do: schedules that have missed some minutes or come due soon, and a client that asks for runs."""

import asyncio
import random
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import httpx

from application.event_store.unit_of_work import UnitOfWork
from application.execute import Executor
from domain.events import (
    AgentCreated,
    AnyEvent,
    CompanyCreated,
    RoutineCreated,
    RoutineTriggerAdded,
    TriggerCreated,
)
from domain.values import AgentProfile, CompanyDetails, RoutineSettings, TriggerSettings
from routines.bootstrap import System
from verification.faults.oracle import Key

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
POLICIES = ("coalesce_if_active", "skip_if_active", "always_enqueue", "cancel_previous")
CATCH_UP = ("enqueue_missed_with_cap", "skip_missed")
ZONES = ("UTC", "Europe/Amsterdam", "Asia/Kathmandu", "America/St_Johns")
Schedule = tuple[dict[str, str], TriggerSettings, datetime]
PAUSE_S = 0.01  # of a client before each request, for each of those that it makes at once
AT_ONCE = 250  # routines that one transaction makes


class CompanyFixture:
    """A company with one agent, made where the log is reached without any fault."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.company_id, self.agent_id = uuid4(), uuid4()
        details = CompanyDetails(name="Acme")
        company = CompanyCreated(details=details, issue_prefix=f"T{self.company_id.hex[:5].upper()}")
        agent = AgentCreated(profile=AgentProfile(name="Scout"), url_key="scout")
        self._record(system.clock(), [(self.company_id, [company]), (self.agent_id, [agent])])

    def late(self, many: int, minutes: int, **settings: str) -> list[UUID]:
        """Create `many` schedules that have each missed `minutes` minutes, by turns with every policy unless one is set."""
        last = self.system.clock().replace(second=0, microsecond=0)
        began = last - (minutes - 1) * MINUTE
        schedules = []
        for number in range(many):
            policy, catch_up, zone = POLICIES[number % 4], CATCH_UP[number // 4 % 2], ZONES[number // 3 % 4]
            walls = {(began + n * MINUTE).astimezone(ZoneInfo(zone)).minute for n in range(minutes)}
            cron = f"{','.join(map(str, sorted(walls)))} * * * *"
            fields = {"concurrency_policy": policy, "catch_up_policy": catch_up, **settings}
            schedules.append((fields, TriggerSettings(cron_expression=cron, timezone=zone), began))
        return self.arm(began - MINUTE / 2, schedules)

    def once(self, moments: list[datetime]) -> list[UUID]:
        """Create a schedule for each of these moments, which lie ahead."""
        schedules: list[Schedule] = [({}, TriggerSettings(run_at=moment, timezone="UTC"), moment) for moment in moments]
        return self.arm(self.system.clock(), schedules)

    def arm(self, moment: datetime, schedules: list[Schedule]) -> list[UUID]:
        """Create triggers, each with its settings, its routine's settings and its first moment; return their ids."""
        batch: list[tuple[UUID, list[AnyEvent]]] = []
        ids = []
        for settings, trigger, next_at in schedules:
            routine_id, trigger_id = uuid4(), uuid4()
            routine_settings = RoutineSettings(title="Check the inbox", assignee_agent_id=self.agent_id, **settings)  # type: ignore[arg-type]
            routine_event = RoutineTriggerAdded(trigger_id=trigger_id, kind="schedule")
            trigger_event = TriggerCreated(routine_id=routine_id, kind="schedule", settings=trigger, next_at=next_at)
            batch += [
                (routine_id, [RoutineCreated(settings=routine_settings), routine_event]),
                (trigger_id, [trigger_event]),
            ]
            ids.append(trigger_id)
        for start in range(0, len(batch), 2 * AT_ONCE):
            self._record(moment, batch[start : start + 2 * AT_ONCE])
        return ids

    def _record(self, moment: datetime, batch: list[tuple[UUID, list[AnyEvent]]]) -> None:
        def decide(work: UnitOfWork) -> None:
            work.load(stream_id for stream_id, _ in batch)
            for stream_id, events in batch:
                work.record(stream_id, events, self.company_id)

        Executor(self.system.store, lambda: moment).attempt(decide)


class Client(threading.Thread):
    """
    Asks for runs over HTTP, each with a key, again and again until it is answered; finishes some of the issues.

    It asks for runs of `many` routines at once, so that these are committed in groups.
    """

    def __init__(
        self,
        url: str,
        token: str,
        company_id: UUID,
        agent_id: UUID,
        chance: random.Random,
        many: int = 1,
        pause_s: float = PAUSE_S,
    ) -> None:
        super().__init__(daemon=True)
        self._pause_s = pause_s
        self.many = many
        self.unanswered = 0  # how many of its requests wait for their answer
        self.answered: list[Key] = []
        self.requests: list[Key] = []
        self.refused: list[str] = []
        self._url, self._company_id, self._agent_id = url, company_id, agent_id
        self._headers = {"Authorization": f"Bearer {token}", "X-Routines-Consistency": "eventual"}
        self._chance = chance
        self._is_over = threading.Event()

    def run(self) -> None:
        asyncio.run(self._ask_all())

    async def _ask_all(self) -> None:
        limits = httpx.Limits(max_keepalive_connections=self.many)
        async with httpx.AsyncClient(
            base_url=self._url, headers=self._headers, timeout=15, limits=limits, trust_env=False
        ) as self._http:
            await asyncio.gather(*(self._ask() for _ in range(self.many)))

    async def _ask(self) -> None:
        body = {"title": "By hand", "assigneeAgentId": str(self._agent_id), "concurrencyPolicy": "always_enqueue"}
        routine = await self._until_answered("POST", f"/api/companies/{self._company_id}/routines", body)
        while routine and not self._is_over.is_set():
            routine_id, key = routine["id"], str(uuid4())
            self.requests.append((routine_id, key))
            run = await self._until_answered("POST", f"/api/routines/{routine_id}/run", {"idempotencyKey": key})
            if run is not None:
                self.answered.append((routine_id, key))
                if run["linkedIssueId"] and self._chance.random() < 0.5:
                    await self._until_answered("PATCH", f"/api/issues/{run['linkedIssueId']}", {"status": "done"})

    def end(self) -> None:
        self._is_over.set()
        self.join()

    async def _until_answered(self, method: str, path: str, body: Mapping[str, object]) -> dict[str, str] | None:
        """Return the answer of a success, None when we are to stop first. Note what is refused for good."""
        while not self._is_over.is_set():
            await asyncio.sleep(self._pause_s * self.many)
            self.unanswered += 1
            try:
                answer = await self._http.request(method, path, json=body)
            except httpx.TransportError:
                continue
            finally:
                self.unanswered -= 1
            if answer.is_success:
                return cast("dict[str, str]", answer.json())
            if answer.status_code < 500:
                self.refused.append(f"{method} {path}: {answer.status_code} {answer.text}")
                return None
        return None
