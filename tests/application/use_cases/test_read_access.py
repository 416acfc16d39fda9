import pytest
from msgspec import Struct

from application.access import Caller
from application.use_cases import read_access
from domain.errors import Forbidden, NotFound, Unauthenticated


class Thing(Struct, frozen=True):
    company_id: object
    url: str = "https://example.com/secret"


def test_only_a_known_caller_sees_anything(app):
    assert app.ask(read_access.anyone, caller=app.as_agent())
    for token in (None, "nonsense", app.admin.token[:-1]):
        with pytest.raises(Unauthenticated):
            app.ask(read_access.anyone, caller=Caller(token=token))


def test_what_is_the_boards_is_not_for_agents(app):
    assert app.ask(read_access.board)
    with pytest.raises(Forbidden, match="Board access required"):
        app.ask(read_access.board, caller=app.as_agent())


def test_a_companys_page_is_for_its_members_and_agents(app):
    for caller in (app.member("viewer"), app.as_agent()):
        assert app.ask(read_access.company, app.company, caller=caller)
    other = app.other_company()
    for caller in (app.member("owner", other), app.as_agent(app.another_agent(other))):
        with pytest.raises(Forbidden):
            app.ask(read_access.company, app.company, caller=caller)


def test_to_strangers_a_thing_does_not_exist_in_the_words_of_one_that_is_not_there(app):
    stranger = app.member("owner", app.other_company())

    assert Thing(company_id=app.company) == app.ask(read_access.find, lambda: Thing(company_id=app.company), "Thing")
    for find in (lambda: Thing(company_id=app.company), lambda: None):
        with pytest.raises(NotFound, match="Thing not found"):
            app.ask(read_access.find, find, "Thing", caller=stranger)


def test_addresses_of_agents_are_for_those_who_may_change_them(app):
    assert [True, True, False, False] == [
        app.ask(read_access.agents, app.company, caller=caller)
        for caller in (None, app.member(), app.member("viewer"), app.as_agent())
    ]


def test_emails_of_members_are_for_those_who_may_manage_them(app):
    assert [True, True, False, False, False] == [
        app.ask(read_access.members, app.company, caller=caller)
        for caller in (None, app.member("admin"), app.member(), app.member("viewer"), app.as_agent())
    ]
