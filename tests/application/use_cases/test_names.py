import pytest

from application.request_bodies.board import CompanyDraft
from application.use_cases import names
from application.use_cases.board import companies
from application.use_cases.jetty import task_routines, tasks
from application.use_cases.names import RoutinePath, TaskPath
from domain.errors import Conflict, NotFound
from domain.events import CompanyNamed


def test_a_name_leads_to_its_collection_task_and_routine(app):
    name, key = app.collection()
    task = app.task(name)
    path = app.task_routine(task)

    routine_ref = app.ask(names.routine, path, caller=key)

    assert app.ids(CompanyNamed) == [routine_ref.company_id]
    assert (path.task, path.name) == (routine_ref.task.details.name, routine_ref.call.name)
    assert f"{name}/{task.task}" == app.executor.query(
        lambda work: names.full_name_of_task(work, routine_ref.company_id, routine_ref.task_id)
    )


@pytest.mark.parametrize("name", ["", "x" * 201, "nobodys", "{company}"])
def test_a_name_that_is_nobodys_leads_nowhere(app, name):
    name_of, key = app.collection()
    name_or_id = name.format(company=app.ids(CompanyNamed)[0])  # a collection with a name is not found by its id

    for look, path in (
        (names.collection, name_or_id),
        (names.task, TaskPath(collection=name_of, task=name_or_id)),
        (names.routine, RoutinePath(collection=name_of, task=app.task(name_of).task, name=name_or_id)),
    ):
        with pytest.raises(NotFound):
            app.ask(look, path, caller=key)


def test_a_company_without_a_name_is_found_by_its_id(app):
    company = app.ask(companies.create, CompanyDraft(name="Plain"))

    assert company == app.ask(names.collection, str(company))
    assert str(company) == app.executor.query(lambda work: names.name_of_collection(work, company))
    with pytest.raises(NotFound):
        app.ask(names.collection, str(company).upper())


def test_a_deleted_routine_and_a_deleted_task_are_not_found(app):
    task = app.task(app.collection()[0])
    path = app.task_routine(task)

    app.ask(task_routines.delete, path)
    with pytest.raises(NotFound):
        app.ask(names.routine, path)
    app.ask(tasks.delete, task)
    with pytest.raises(NotFound):
        app.ask(names.task, task)


def test_a_name_is_taken_once_and_free_for_others_afterwards(app):
    def take(work):
        names.take(work, "scope", "name", app.agent, app.company, Conflict("taken"))

    app.carry_out(take)
    with pytest.raises(Conflict, match="taken"):
        app.carry_out(take)
    app.carry_out(lambda work: names.release_name(work, "scope", "name"))
    app.carry_out(take)


def test_callbacks_are_shown_to_those_who_may_change_them(app):
    name, key = app.collection()
    path = app.task_routine(app.task(name))
    viewer = app.member("viewer", app.ids(CompanyNamed)[0])

    assert [True, False] == [
        app.ask(names.look_with_rights, names.routine, path, caller=who)[1] for who in (key, viewer)
    ]
