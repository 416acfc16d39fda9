import pytest
from msgspec import Struct

from application.access import Caller
from application.use_cases import read_access
from domain.errors import Forbidden, NotFound, Unauthenticated


class Thing(Struct, frozen=True):
    company_id: object
    url: str = "https://example.com/secret"


def test_only_a_known_caller_sees_anything(here):
    assert here.ask(read_access.anyone, caller=here.as_agent())
    for token in (None, "nonsense", here.admin.token[:-1]):
        with pytest.raises(Unauthenticated):
            here.ask(read_access.anyone, caller=Caller(token=token))


def test_what_is_the_boards_is_not_for_agents(here):
    assert here.ask(read_access.board)
    with pytest.raises(Forbidden, match="Board access required"):
        here.ask(read_access.board, caller=here.as_agent())


def test_a_companys_page_is_for_its_members_and_agents(here):
    for caller in (here.member("viewer"), here.as_agent()):
        assert here.ask(read_access.company, here.company, caller=caller)
    other = here.other_company()
    for caller in (here.member("owner", other), here.as_agent(here.another_agent(other))):
        with pytest.raises(Forbidden):
            here.ask(read_access.company, here.company, caller=caller)


def test_to_strangers_a_thing_does_not_exist_in_the_words_of_one_that_is_not_there(here):
    stranger = here.member("owner", here.other_company())

    assert Thing(company_id=here.company) == here.ask(read_access.find, lambda: Thing(company_id=here.company), "Thing")
    for find in (lambda: Thing(company_id=here.company), lambda: None):
        with pytest.raises(NotFound, match="Thing not found"):
            here.ask(read_access.find, find, "Thing", caller=stranger)


def test_addresses_of_agents_are_for_those_who_may_change_them(here):
    assert [True, True, False, False] == [
        here.ask(read_access.agents, here.company, caller=caller)
        for caller in (None, here.member(), here.member("viewer"), here.as_agent())
    ]


def test_emails_of_members_are_for_those_who_may_manage_them(here):
    assert [True, True, False, False, False] == [
        here.ask(read_access.members, here.company, caller=caller)
        for caller in (None, here.member("admin"), here.member(), here.member("viewer"), here.as_agent())
    ]
