from uuid import uuid4

import pytest
from msgspec import UNSET

from application.request_bodies.what_ifs import CompanyWhatIf, WhatIf
from application.use_cases import what_ifs
from domain.errors import InvalidField, NotFound
from tests.application.use_cases.installation import HOUR


@pytest.fixture
def routine(here):
    return here.routine()


def asked(here, **fields):
    return WhatIf(from_=here.now - HOUR, **fields)


def test_the_past_of_a_routine_has_its_schedules_and_the_runs_that_are_named(here, routine):
    schedule = here.schedule(routine)
    run = here.fire(routine)

    past = here.ask(what_ifs.past, routine, [run], [])

    assert schedule in {recorded.stream_id for recorded in past.events}
    assert [run] == list(past.fired)


def test_a_cron_expression_is_for_the_only_schedule_and_else_has_to_name_one(here, routine):
    with pytest.raises(InvalidField, match="0 schedules"):
        here.ask(what_ifs.change, routine, asked(here, cron_expression="5 * * * *"))
    first = here.schedule(routine)
    assert "5 * * * *" == here.ask(what_ifs.change, routine, asked(here, cron_expression="5 * * * *")).cron_expression

    here.schedule(routine)

    with pytest.raises(InvalidField, match="2 schedules") as refusal:
        here.ask(what_ifs.change, routine, asked(here, cron_expression="5 * * * *"))
    assert "triggerId" == refusal.value.field
    change = here.ask(what_ifs.change, routine, asked(here, cron_expression="5 * * * *", trigger_id=first))
    assert first == change.trigger_id
    with pytest.raises(InvalidField, match="no such schedule"):
        here.ask(what_ifs.change, routine, asked(here, trigger_id=uuid4()))


@pytest.mark.parametrize(("name", "value"), [("cron_expression", "61 * * * *"), ("timezone", "Mars/Base")])
def test_what_no_schedule_could_have_is_refused_by_its_name(here, routine, name, value):
    here.schedule(routine)

    with pytest.raises(InvalidField):
        here.ask(what_ifs.change, routine, asked(here, **{name: value}))


def test_for_a_company_the_change_is_checked_beside_any_schedule(here):
    assert UNSET is what_ifs.change_of_company(CompanyWhatIf(from_=here.now)).timezone
    with pytest.raises(InvalidField):
        what_ifs.change_of_company(CompanyWhatIf(from_=here.now, timezone="Mars/Base"))


def test_only_the_past_is_replayed(here):
    assert here.now == what_ifs.end_of(asked(here), here.now)
    with pytest.raises(InvalidField, match="to must not be in the future"):
        what_ifs.end_of(asked(here, to=here.now + HOUR), here.now)
    with pytest.raises(InvalidField, match="from must be before to"):
        what_ifs.end_of(WhatIf(from_=here.now), here.now)


def test_strangers_do_not_learn_that_there_is_such_a_routine(here, routine):
    stranger = here.member("owner", here.other_company())

    for ask, further in ((what_ifs.past, ([], [])), (what_ifs.change, (asked(here),))):
        with pytest.raises(NotFound):
            here.ask(ask, routine, *further, caller=stranger)
