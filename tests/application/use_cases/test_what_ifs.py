from uuid import uuid4

import pytest
from msgspec import UNSET

from application.request_bodies.what_ifs import CompanyWhatIf, WhatIf
from application.use_cases import what_ifs
from domain.errors import InvalidField, NotFound
from tests.application.use_cases.installation import HOUR


@pytest.fixture
def routine(app):
    return app.routine()


def what_if(app, **fields):
    return WhatIf(from_=app.now - HOUR, **fields)


def test_the_past_of_a_routine_has_its_schedules_and_the_runs_that_are_named(app, routine):
    schedule = app.schedule(routine)
    run = app.fire(routine)

    past = app.ask(what_ifs.read_past, routine, [run], [])

    assert schedule in {recorded.stream_id for recorded in past.events}
    assert [run] == list(past.fired)


def test_a_cron_expression_is_for_the_only_schedule_and_else_has_to_name_one(app, routine):
    with pytest.raises(InvalidField, match="0 schedules"):
        app.ask(what_ifs.change, routine, what_if(app, cron_expression="5 * * * *"))
    first = app.schedule(routine)
    assert "5 * * * *" == app.ask(what_ifs.change, routine, what_if(app, cron_expression="5 * * * *")).cron_expression

    app.schedule(routine)

    with pytest.raises(InvalidField, match="2 schedules") as refusal:
        app.ask(what_ifs.change, routine, what_if(app, cron_expression="5 * * * *"))
    assert "triggerId" == refusal.value.field
    change = app.ask(what_ifs.change, routine, what_if(app, cron_expression="5 * * * *", trigger_id=first))
    assert first == change.trigger_id
    with pytest.raises(InvalidField, match="no such schedule"):
        app.ask(what_ifs.change, routine, what_if(app, trigger_id=uuid4()))


@pytest.mark.parametrize(("name", "value"), [("cron_expression", "61 * * * *"), ("timezone", "Mars/Base")])
def test_what_no_schedule_could_have_is_refused_by_its_name(app, routine, name, value):
    app.schedule(routine)

    with pytest.raises(InvalidField):
        app.ask(what_ifs.change, routine, what_if(app, **{name: value}))


@pytest.mark.parametrize(("name", "value"), [("timezone", "Mars/Base"), ("timezone", "UTC"), ("jitter_sec", 60)])
def test_a_setting_of_schedules_is_refused_where_there_is_none(app, routine, name, value):
    with pytest.raises(InvalidField, match="no schedule") as refusal:
        app.ask(what_ifs.change, routine, what_if(app, **{name: value}))
    assert what_ifs.OF_SCHEDULES[name] == refusal.value.field


def test_a_schedule_that_is_named_has_to_have_something_changed(app, routine):
    schedule = app.schedule(routine)

    with pytest.raises(InvalidField, match="give cronExpression") as refusal:
        app.ask(what_ifs.change, routine, what_if(app, trigger_id=schedule, concurrency_policy="skip_if_active"))

    assert "triggerId" == refusal.value.field


def test_for_a_company_the_change_is_checked_beside_any_schedule(app):
    assert UNSET is what_ifs.change_of_company(CompanyWhatIf(from_=app.now)).timezone
    with pytest.raises(InvalidField):
        what_ifs.change_of_company(CompanyWhatIf(from_=app.now, timezone="Mars/Base"))


def test_only_the_past_is_replayed(app):
    assert app.now == what_ifs.end_of(what_if(app), app.now)
    with pytest.raises(InvalidField, match="to must not be in the future"):
        what_ifs.end_of(what_if(app, to=app.now + HOUR), app.now)
    with pytest.raises(InvalidField, match="from must be before to"):
        what_ifs.end_of(WhatIf(from_=app.now), app.now)


def test_strangers_do_not_learn_that_there_is_such_a_routine(app, routine):
    stranger = app.member("owner", app.other_company())

    for ask, further in ((what_ifs.read_past, ([], [])), (what_ifs.change, (what_if(app),))):
        with pytest.raises(NotFound):
            app.ask(ask, routine, *further, caller=stranger)
