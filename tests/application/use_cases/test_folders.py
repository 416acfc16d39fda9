from uuid import uuid4

import pytest

from application.event_store.stream_kinds import FOLDER, ROUTINE
from application.request_bodies.board import FolderDraft, FolderMove, FolderPatch
from application.use_cases import folders
from domain.errors import Conflict, Forbidden, InvalidField, NotFound, RuleViolation


@pytest.fixture
def folder(app):
    return app.ask(folders.create, app.company, FolderDraft(name="Nightly"))


def test_a_folder_is_renamed_and_moved(app, folder):
    outer = app.ask(folders.create, app.company, FolderDraft(name="All"))

    app.ask(folders.update, app.company, folder, FolderPatch(name="Every night"))
    app.ask(folders.update, app.company, folder, FolderMove(parent_id=outer))

    details = app.state(FOLDER, folder).details
    assert ("Every night", outer) == (details.name, details.parent_id)


def test_no_folder_lies_in_itself_or_too_deep(app, folder):
    inner = app.ask(folders.create, app.company, FolderDraft(name="Inner", parent_id=folder))

    with pytest.raises(InvalidField, match="parentId must not lead back to itself"):
        app.ask(folders.update, app.company, folder, FolderMove(parent_id=inner))


def test_a_folder_is_deleted_once_it_is_empty_and_then_gone(app, folder):
    with pytest.raises(Conflict, match="not empty"):
        app.ask(folders.delete, app.company, folder, in_use=True)
    app.ask(folders.delete, app.company, folder, in_use=False)

    with pytest.raises(NotFound, match="Folder not found"):
        app.ask(folders.update, app.company, folder, FolderPatch(name="x"))
    with pytest.raises(NotFound, match="Folder not found"):
        app.routine(folder_id=folder)


def test_routines_are_moved_by_whoever_may_change_them(app, folder):
    routine = app.routine()

    app.ask(folders.move_routine, app.company, routine, folder, caller=app.as_agent())
    assert folder == app.state(ROUTINE, routine).settings.folder_id

    with pytest.raises(Forbidden, match="Agents can only manage routines assigned to themselves"):
        app.ask(folders.move_routine, app.company, routine, None, caller=app.as_agent(app.another_agent()))
    with pytest.raises(NotFound, match="Routine not found"):
        app.ask(folders.move_routine, app.other_company(), routine, None)
    with pytest.raises(NotFound, match="Folder not found"):
        app.ask(folders.may_move_into, app.company, uuid4())


def test_agents_and_viewers_make_no_folders_and_none_is_shared_between_companies(app, folder):
    with pytest.raises(Forbidden, match="Board access required"):
        app.ask(folders.create, app.company, FolderDraft(name="x"), caller=app.as_agent())
    with pytest.raises(Forbidden, match="read-only"):
        app.ask(folders.delete, app.company, folder, in_use=False, caller=app.member("viewer"))
    with pytest.raises(RuleViolation, match="Parent folder must belong to same company"):
        app.ask(folders.create, app.other_company(), FolderDraft(name="x", parent_id=folder))
