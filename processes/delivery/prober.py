"""
Asks the probes that schedules wait for, and records what they have found.

Any number of processes may run: whoever asks a probe holds a lock of Postgres on it, which ends with the process, and the
answer is recorded once. Addresses are those of others, so what holds for deliveries holds here: how many requests a
company and a host may have under way is bounded.
"""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from application.execute import Executor
from application.use_cases import probes
from domain.delivery import outbound_url
from domain.routines import probe
from domain.routines.probe import PendingProbe
from domain.values import Probe, ProbeFinding
from processes.delivery import background
from processes.delivery.outbound import Client
from processes.delivery.shares import Shares
from processes.wakeup import Connection
from projections.delivery import delivery_locks
from projections.engine import isolation
from projections.firing import pending_probes

# How long a probe is left alone that another process is asking, or that failed by our own error.
REST = timedelta(seconds=1)
HEADERS = {"User-Agent": "Routines", "Accept": "application/json", "Accept-Encoding": "identity"}

log = structlog.get_logger(process="delivery")


class Prober:
    """Asks pending probes, within the limits of each company and host."""

    def __init__(self, executor: Executor, client: Client) -> None:
        self._executor = executor
        self._client = client
        self._limits = executor.store.limits
        self._under_way: dict[UUID, asyncio.Task[None]] = {}
        self._resting: dict[UUID, datetime] = {}
        self._looked_at = datetime.min.replace(tzinfo=UTC)  # when the last `ask_due` looked for probes
        self._places = Shares(self._limits.max_deliveries_at_once)
        self._hosts: Counter[tuple[UUID, str]] = Counter()  # requests under way, by company and host

    async def ask_due(self, conn: Connection, locks: Connection, now: datetime) -> int:
        """Begin to ask pending probes; return how many. The read model is that which the delivery worker has followed."""
        self._looked_at = now
        self._under_way = {id_: task for id_, task in self._under_way.items() if not task.done()}
        self._resting = {id_: until for id_, until in self._resting.items() if now < until <= now + REST}
        busy_ids = [*self._under_way, *self._resting]
        limit = self._limits.max_deliveries_at_once
        many = 0
        for pending in await asyncio.to_thread(pending_probes.due, conn, left_out=busy_ids, limit=limit):
            if not self._places.fits(pending.company_id):
                continue
            self._places.take(pending.company_id)
            task = background.start_task(self._settle(locks, pending))
            task.add_done_callback(lambda _, company_id=pending.company_id: self._places.give_back(company_id))  # type: ignore[misc]
            self._under_way[pending.id] = task
            many += 1
        return many

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The requests under way; one ends with an error only when the database is away."""
        return list(self._under_way.values())

    @property
    def wakes(self) -> list[datetime]:
        """When probes that rest are to be tried again."""
        return list(self._resting.values())

    async def _settle(self, locks: Connection, pending: PendingProbe) -> None:
        key = f"probe {pending.id}"
        if not await asyncio.to_thread(delivery_locks.hold, locks, key):
            self._rest_probe(pending)
            return
        try:
            await self._ask_probe(pending)
        except Exception as error:
            if isolation.is_away(error):
                raise
            log.exception("cannot_probe", probe_id=str(pending.id))
            self._rest_probe(pending)
        finally:
            await asyncio.to_thread(delivery_locks.release, locks, key)

    async def _ask_probe(self, pending: PendingProbe) -> None:
        probe_or_finding = await asyncio.to_thread(self._find_probe_to_ask, pending)
        if probe_or_finding is None:
            # Another process has recorded something about it, which the read model will show in a moment.
            self._rest_probe(pending)
            return
        if isinstance(probe_or_finding, Probe):
            host = (pending.company_id, _host_of(probe_or_finding.url))
            if self._hosts[host] >= self._limits.max_host_deliveries_at_once:
                self._rest_probe(pending)
                return
            self._hosts[host] += 1
            try:
                probe_or_finding = await self._send_probe(probe_or_finding, pending.company_id)
            finally:
                self._hosts[host] -= 1
                self._hosts += Counter()  # removes the entries whose count is 0
        finding = probe_or_finding
        await asyncio.to_thread(
            self._executor.attempt, lambda work: probes.record(work, pending, finding), actor="delivery"
        )
        log.info(
            "probe_answered",
            probe_id=str(pending.id),
            verdict=finding.verdict,
            status=finding.status,
            took_ms=finding.took_ms,
        )

    async def _send_probe(self, wanted_probe: Probe, company_id: UUID) -> ProbeFinding:
        answer, body = await self._client.get(
            wanted_probe.url, HEADERS, lambda status: probe.needs_body(wanted_probe, status), company_id=company_id
        )
        return probe.judge(wanted_probe, answer, body)

    def _find_probe_to_ask(self, pending: PendingProbe) -> Probe | ProbeFinding | None:
        return self._executor.query(
            lambda work: probes.probe_to_ask(work, pending) if probes.is_due(work, pending) else None
        )

    def _rest_probe(self, pending: PendingProbe) -> None:
        self._resting[pending.id] = self._looked_at + REST


def _host_of(url: str) -> str:
    try:
        return outbound_url.host_of(url)
    except outbound_url.BadTarget:  # the request fails with that reason
        return ""
