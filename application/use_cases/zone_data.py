"""What happens to schedules when a process goes by newer zone data than those by which they are planned."""

from collections.abc import Sequence

from application.event_store.stream_kinds import TRIGGER, ZONE_DATA
from application.event_store.unit_of_work import UnitOfWork
from domain import identity
from domain.events import ZoneDataAdopted
from domain.routines import settlement, trigger
from domain.routines.trigger import DueTrigger
from domain.schedule import zones


def adopted_version(work: UnitOfWork) -> str | None:
    """Return the version of the zone data by which schedules are planned; None if none was ever recorded."""
    return work.get(ZONE_DATA, identity.ZONE_DATA)


def is_newer(work: UnitOfWork) -> bool:
    """Return whether the zone data of this process are newer than the adopted ones. Older ones are never adopted."""
    version = adopted_version(work)
    return version is None or zones.data().version > version


def adopt(work: UnitOfWork) -> None:
    """Record that every schedule is planned by the zone data of this process, unless newer ones have been adopted."""
    if is_newer(work):
        work.record(identity.ZONE_DATA, [ZoneDataAdopted(version=zones.data().version)])


def replan(work: UnitOfWork, rows: Sequence[DueTrigger]) -> int:
    """
    Plan the next occurrences of these schedules by the zone data of this process; return how many were planned otherwise.

    A schedule that cannot be followed is left as it is: its next occurrence says why, when it fails.
    """
    work.load(row.trigger_id for row in rows)
    return sum(_replan_schedule(work, row) for row in rows)


def _replan_schedule(work: UnitOfWork, row: DueTrigger) -> int:
    schedule = work.get(TRIGGER, row.trigger_id)
    if schedule is None or work.version_of(row.trigger_id) != row.trigger_version:
        return 0
    plan = trigger.plan_of(schedule)
    if plan is None or plan.cron is None or plan.cron.timezone not in zones.data().names:
        return 0
    events = settlement.replan(plan, row.next_at, work.now, zones.data().version)
    work.record(row.trigger_id, events)
    return len(events)
