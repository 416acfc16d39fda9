from uuid import uuid4

import pytest

from application.event_store.stream_kinds import FOLDER, ROUTINE
from application.request_bodies.board import FolderDraft, FolderMove, FolderPatch
from application.use_cases import folders
from domain.errors import Conflict, Forbidden, InvalidField, NotFound, RuleViolation


@pytest.fixture
def folder(here):
    return here.ask(folders.create, here.company, FolderDraft(name="Nightly"))


def test_a_folder_is_renamed_and_moved(here, folder):
    outer = here.ask(folders.create, here.company, FolderDraft(name="All"))

    here.ask(folders.rename, here.company, folder, FolderPatch(name="Every night"))
    here.ask(folders.move, here.company, folder, FolderMove(parent_id=outer))

    details = here.state(FOLDER, folder).details
    assert ("Every night", outer) == (details.name, details.parent_id)


def test_no_folder_lies_in_itself_or_too_deep(here, folder):
    inner = here.ask(folders.create, here.company, FolderDraft(name="Inner", parent_id=folder))

    with pytest.raises(InvalidField, match="parentId must not lead back to itself"):
        here.ask(folders.move, here.company, folder, FolderMove(parent_id=inner))


def test_a_folder_is_deleted_once_it_is_empty_and_then_gone(here, folder):
    with pytest.raises(Conflict, match="not empty"):
        here.ask(folders.delete, here.company, folder, in_use=True)
    here.ask(folders.delete, here.company, folder, in_use=False)

    with pytest.raises(NotFound, match="Folder not found"):
        here.ask(folders.rename, here.company, folder, FolderPatch(name="x"))
    with pytest.raises(NotFound, match="Folder not found"):
        here.routine(folder_id=folder)


def test_routines_are_moved_by_whoever_may_change_them(here, folder):
    routine = here.routine()

    here.ask(folders.move_routine, here.company, routine, folder, caller=here.as_agent())
    assert folder == here.state(ROUTINE, routine).settings.folder_id

    with pytest.raises(Forbidden, match="Agents can only manage routines assigned to themselves"):
        here.ask(folders.move_routine, here.company, routine, None, caller=here.as_agent(here.another_agent()))
    with pytest.raises(NotFound, match="Routine not found"):
        here.ask(folders.move_routine, here.other_company(), routine, None)
    with pytest.raises(NotFound, match="Folder not found"):
        here.ask(folders.may_move_into, here.company, uuid4())


def test_agents_and_viewers_make_no_folders_and_none_is_shared_between_companies(here, folder):
    with pytest.raises(Forbidden, match="Board access required"):
        here.ask(folders.create, here.company, FolderDraft(name="x"), caller=here.as_agent())
    with pytest.raises(Forbidden, match="read-only"):
        here.ask(folders.delete, here.company, folder, in_use=False, caller=here.member("viewer"))
    with pytest.raises(RuleViolation, match="Parent folder must belong to same company"):
        here.ask(folders.create, here.other_company(), FolderDraft(name="x", parent_id=folder))
