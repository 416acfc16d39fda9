import pytest
from msgspec.structs import replace

from application.event_store.stream_kinds import TRIGGER
from application.request_bodies.triggers import TriggerPatch
from application.use_cases import triggers, zone_data
from domain.events import TriggerReplanned, TriggerRescheduled, TriggerUpdated, ZoneDataAdopted
from domain.identity import ZONE_DATA
from domain.schedule import zones
from tests.application.use_cases.installation import DAY, HOUR


@pytest.fixture
def trigger(here):
    return here.schedule(here.routine(), "0 9 * * *", timezone="America/Vancouver")


@pytest.fixture
def nine(here):
    """Nine o'clock in Vancouver on the next day: 17:00 UTC, since the clocks go forward on the eighth of March."""
    return here.now.replace(hour=17, minute=0, second=0) + DAY


def plan(here, trigger, moment):
    """Plan the schedule for a moment, as other zone data would have it; return the row of it."""
    here.carry_out(lambda work: work.record(trigger, [TriggerRescheduled(next_at=moment)]))
    return here.due(trigger, moment)


def test_what_is_planned_by_other_rules_is_planned_anew_on_the_record(here, trigger, nine):
    here.passes(6 * HOUR)
    row = plan(here, trigger, nine + HOUR)

    assert 1 == here.carry_out(zone_data.replan, [row])

    assert [TriggerReplanned(zone_data=zones.data().version, next_at=nine)] == here.events(TriggerReplanned)
    assert nine == here.state(TRIGGER, trigger).next_unsettled_at
    assert 0 == here.carry_out(zone_data.replan, [here.due(trigger, nine)])


def test_a_row_that_is_stale_is_left_alone(here, trigger, nine):
    row = plan(here, trigger, nine + HOUR)
    here.ask(triggers.update, trigger, TriggerPatch(cron_expression="0 10 * * *"))

    assert 0 == here.carry_out(zone_data.replan, [row])


def test_a_zone_that_the_zone_data_do_not_have_is_left_to_say_so_when_it_is_due(here, trigger, nine):
    settings = replace(here.state(TRIGGER, trigger).settings, timezone="Atlantis/Capital")
    here.carry_out(lambda work: work.record(trigger, [TriggerUpdated(settings=settings, next_at=nine)]))

    assert 0 == here.carry_out(zone_data.replan, [here.due(trigger, nine)])


def test_zone_data_are_adopted_once_and_older_ones_never(here, monkeypatch):
    newest = zones.data()
    for version in ("2025b", "2026a", "2025c", "2026a"):
        monkeypatch.setattr(zones, "data", lambda version=version: replace(newest, version=version))
        here.carry_out(zone_data.adopt)

    assert [ZoneDataAdopted(version="2025b"), ZoneDataAdopted(version="2026a")] == here.events(ZoneDataAdopted)
    assert {ZONE_DATA} == set(here.ids(ZoneDataAdopted))
    assert "2026a" == here.executor.query(zone_data.adopted)
    assert not here.executor.query(zone_data.is_newer)
