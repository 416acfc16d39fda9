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
def trigger(app):
    return app.schedule(app.routine(), "0 9 * * *", timezone="America/Vancouver")


@pytest.fixture
def nine_oclock(app):
    """Nine o'clock in Vancouver on the next day: 17:00 UTC, since the clocks go forward on the eighth of March."""
    return app.now.replace(hour=17, minute=0, second=0) + DAY


def plan(app, trigger, moment):
    """Plan the schedule for a moment, as other zone data would have it; return the row of it."""
    app.carry_out(lambda work: work.record(trigger, [TriggerRescheduled(next_at=moment)]))
    return app.due(trigger, moment)


def test_what_is_planned_by_other_rules_is_planned_anew_on_the_record(app, trigger, nine_oclock):
    app.passes(6 * HOUR)
    row = plan(app, trigger, nine_oclock + HOUR)

    assert 1 == app.carry_out(zone_data.replan, [row])

    assert [TriggerReplanned(zone_data=zones.data().version, next_at=nine_oclock)] == app.events(TriggerReplanned)
    assert nine_oclock == app.state(TRIGGER, trigger).next_unsettled_at
    assert 0 == app.carry_out(zone_data.replan, [app.due(trigger, nine_oclock)])


def test_a_row_that_is_stale_is_left_alone(app, trigger, nine_oclock):
    row = plan(app, trigger, nine_oclock + HOUR)
    app.ask(triggers.update, trigger, TriggerPatch(cron_expression="0 10 * * *"))

    assert 0 == app.carry_out(zone_data.replan, [row])


def test_a_zone_that_the_zone_data_do_not_have_is_left_to_say_so_when_it_is_due(app, trigger, nine_oclock):
    settings = replace(app.state(TRIGGER, trigger).settings, timezone="Atlantis/Capital")
    app.carry_out(lambda work: work.record(trigger, [TriggerUpdated(settings=settings, next_at=nine_oclock)]))

    assert 0 == app.carry_out(zone_data.replan, [app.due(trigger, nine_oclock)])


def test_zone_data_are_adopted_once_and_older_ones_never(app, monkeypatch):
    newest = zones.data()
    for version in ("2025b", "2026a", "2025c", "2026a"):
        monkeypatch.setattr(zones, "data", lambda version=version: replace(newest, version=version))
        app.carry_out(zone_data.adopt)

    assert [ZoneDataAdopted(version="2025b"), ZoneDataAdopted(version="2026a")] == app.events(ZoneDataAdopted)
    assert {ZONE_DATA} == set(app.ids(ZoneDataAdopted))
    assert "2026a" == app.executor.query(zone_data.adopted_version)
    assert not app.executor.query(zone_data.is_newer)
