"""A scheduler that goes by newer zone data than the schedules are planned by."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from application.use_cases import zone_data
from domain.events import TriggerReplanned, ZoneDataAdopted
from domain.identity import ZONE_DATA
from domain.schedule import zones
from processes.scheduler.zone_change import ZoneChange
from tests.processes.due import NOON

NINE = NOON.replace(hour=17)  # nine o'clock in Vancouver
HOUR = timedelta(hours=1)


@pytest.fixture
def change_zones(executor, scheduler, conn):
    """Go through all schedules, as a scheduler does between its ticks, two at a time; return what was logged."""

    def change():
        scheduler.tick(conn)
        zone_change = ZoneChange(executor, batch=2)
        with capture_logs() as lines:
            while not zone_change.is_over:
                zone_change.step(conn)
        return [(line["event"], line.get("replanned")) for line in lines]

    return change


def test_what_was_planned_by_older_zone_data_is_planned_anew_once(company_fixture, change_zones, events_of):
    vancouver = {"cron": "0 9 * * *", "zone": "America/Vancouver"}
    late = company_fixture.routines(3, next_at=NINE + HOUR, **vancouver)
    company_fixture.routines(2, next_at=NINE, **vancouver)
    company_fixture.routines(next_at=NINE, zone="Atlantis/Capital")

    first, second = change_zones(), change_zones()

    assert ([("zone_data_adopted", 3)], []) == (first, second)
    assert {one.trigger_id: NINE for one in late} == {
        one.stream_id: one.event.next_at for one in events_of(TriggerReplanned)
    }
    assert [ZoneDataAdopted(version=zones.data().version)] == [one.event for one in events_of(ZoneDataAdopted)]


def test_a_scheduler_with_older_zone_data_changes_nothing_and_says_so(
    company_fixture, executor, change_zones, events_of
):
    company_fixture.routines(next_at=NINE + HOUR, cron="0 9 * * *", zone="America/Vancouver")
    newer = ZoneDataAdopted(version="2999a")
    executor.attempt(lambda work: work.record(ZONE_DATA, [newer]))

    assert [("zone_data_older", None)] == change_zones()
    assert [] == events_of(TriggerReplanned)


def test_a_schedule_that_cannot_be_planned_anew_does_not_keep_the_others_from_it(
    company_fixture, change_zones, events_of, monkeypatch
):
    late = company_fixture.routines(4, next_at=NINE + HOUR, cron="0 9 * * *", zone="America/Vancouver")
    replan = zone_data.replan

    def break_first(work, rows):
        if late[0].trigger_id in {row.trigger_id for row in rows}:
            raise ZeroDivisionError
        return replan(work, rows)

    monkeypatch.setattr(zone_data, "replan", break_first)

    assert [("replanning_failed", None), ("zone_data_adopted", 3)] == change_zones()
    assert {one.trigger_id for one in late[1:]} == {one.stream_id for one in events_of(TriggerReplanned)}
