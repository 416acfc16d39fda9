from datetime import timedelta

from application.request_bodies.routines import RoutinePatch
from application.request_bodies.triggers import SchedulePreview
from application.use_cases import routines, schedule_previews
from tests.application.use_cases.installation import HOUR


def test_what_is_planned_is_named_until_something_is_in_the_way(app):
    routine = app.routine()
    trigger = app.schedule(routine)
    ahead = app.ask(schedule_previews.plan_of_trigger, trigger)
    planned = schedule_previews.planned_occurrences(ahead, None, app.now, app.now + 3 * HOUR, 10)
    assert [13, 14, 15] == [one.at.hour for one in planned]

    app.ask(routines.update, routine, RoutinePatch(status="paused"))

    assert "routine_paused" == app.ask(schedule_previews.plan_of_trigger, trigger).why_none
    assert [] == schedule_previews.planned_occurrences(
        app.ask(schedule_previews.plan_of_trigger, trigger), None, app.now, app.now + HOUR, 10
    )


def test_a_preview_says_in_words_what_a_schedule_would_do_and_records_nothing(app):
    event_count = len(list(app.store.history()))

    preview = app.ask(
        schedule_previews.preview, SchedulePreview(cron_expression="30 2 * * *", timezone="Europe/Berlin", count=2)
    )
    refused = app.ask(schedule_previews.preview, SchedulePreview(cron_expression="61 * * * *"))

    assert "Europe/Berlin time" in preview.words
    assert [timedelta(days=1)] == [preview.times[1].at - preview.times[0].at]
    assert preview.affected
    assert refused.reason
    assert event_count == len(list(app.store.history()))
