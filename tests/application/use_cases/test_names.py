import pytest

from application.request_bodies.board import CompanyDraft
from application.use_cases import names
from application.use_cases.board import companies
from application.use_cases.jetty import task_routines, tasks
from application.use_cases.names import RoutinePath, TaskPath
from domain.errors import Conflict, NotFound
from domain.events import CompanyNamed


def test_a_name_leads_to_its_collection_task_and_routine(here):
    name, key = here.collection()
    task = here.task(name)
    path = here.task_routine(task)

    routine_ref = here.ask(names.routine, path, caller=key)

    assert here.ids(CompanyNamed) == [routine_ref.company_id]
    assert (path.task, path.name) == (routine_ref.task.details.name, routine_ref.call.name)
    assert f"{name}/{task.task}" == here.executor.query(
        lambda work: names.full(work, routine_ref.company_id, routine_ref.task_id)
    )


@pytest.mark.parametrize("name", ["", "x" * 201, "nobodys", "{company}"])
def test_a_name_that_is_nobodys_leads_nowhere(here, name):
    name_of, key = here.collection()
    given = name.format(company=here.ids(CompanyNamed)[0])  # a collection with a name is not found by its id

    for look, path in (
        (names.collection, given),
        (names.task, TaskPath(collection=name_of, task=given)),
        (names.routine, RoutinePath(collection=name_of, task=here.task(name_of).task, name=given)),
    ):
        with pytest.raises(NotFound):
            here.ask(look, path, caller=key)


def test_a_company_without_a_name_is_found_by_its_id(here):
    company = here.ask(companies.create, CompanyDraft(name="Plain"))

    assert company == here.ask(names.collection, str(company))
    assert str(company) == here.executor.query(lambda work: names.shown(work, company))
    with pytest.raises(NotFound):
        here.ask(names.collection, str(company).upper())


def test_a_deleted_routine_and_a_deleted_task_are_not_found(here):
    task = here.task(here.collection()[0])
    path = here.task_routine(task)

    here.ask(task_routines.delete, path)
    with pytest.raises(NotFound):
        here.ask(names.routine, path)
    here.ask(tasks.delete, task)
    with pytest.raises(NotFound):
        here.ask(names.task, task)


def test_a_name_is_taken_once_and_free_for_others_afterwards(here):
    def take(work):
        names.take(work, "scope", "name", here.agent, here.company, Conflict("taken"))

    here.carry_out(take)
    with pytest.raises(Conflict, match="taken"):
        here.carry_out(take)
    here.carry_out(lambda work: names.free(work, "scope", "name"))
    here.carry_out(take)


def test_callbacks_are_shown_to_those_who_may_change_them(here):
    name, key = here.collection()
    path = here.task_routine(here.task(name))
    viewer = here.member("viewer", here.ids(CompanyNamed)[0])

    assert [True, False] == [here.ask(names.seen, names.routine, path, caller=who)[1] for who in (key, viewer)]
