"""Folders of routines (our addition to the contract, after the original's)."""

from uuid import UUID

from application.access import Principal, Resource, authorize
from application.event_store.stream_kinds import FOLDER, ROUTINE
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.board import FolderDraft, FolderMove, FolderPatch
from application.request_bodies.routines import RoutinePatch
from application.use_cases import routines
from application.use_cases.board import companies
from application.use_cases.references import check_folder, check_folders_above, merge_patch
from domain.errors import Conflict, NotFound
from domain.events import FolderCreated, FolderDeleted
from domain.routines import folder
from domain.routines.folder import Folder
from domain.values import FolderDetails


def create(work: UnitOfWork, principal: Principal, company_id: UUID, draft: FolderDraft) -> UUID:
    """Create a folder; raise InvalidField when it would lie too deep."""
    authorize(work, principal, "administer", companies.enter(work, company_id))
    check_folder(work, company_id, draft.parent_id, "Parent folder")
    check_folders_above(work, draft.parent_id)
    folder_id = work.new_id()
    details = FolderDetails(name=draft.name, parent_id=draft.parent_id)
    work.record(folder_id, [FolderCreated(details=details)], company_id)
    return folder_id


def update(
    work: UnitOfWork, principal: Principal, company_id: UUID, folder_id: UUID, patch: FolderPatch | FolderMove
) -> UUID:
    """Give a folder another name or place; raise InvalidField when it would lie in itself, or too deep."""
    current = _find_writable(work, principal, company_id, folder_id)
    details = merge_patch(current.details, patch)
    if details.parent_id != current.details.parent_id:
        check_folder(work, company_id, details.parent_id, "Parent folder")
        check_folders_above(work, details.parent_id, folder_id)
    work.record(folder_id, folder.update(current, details))
    return folder_id


def delete(work: UnitOfWork, principal: Principal, company_id: UUID, folder_id: UUID, *, in_use: bool) -> None:
    """Delete a folder; raise Conflict if something is in it."""
    _find_writable(work, principal, company_id, folder_id)
    if in_use:
        raise Conflict("The folder is not empty: move its routines and folders first")
    work.record(folder_id, [FolderDeleted()])


def may_move_into(work: UnitOfWork, principal: Principal, company_id: UUID, folder_id: UUID | None) -> None:
    """Raise unless the caller may change routines of the company, and the folder is there."""
    authorize(work, principal, "work", companies.enter(work, company_id))
    check_folder(work, company_id, folder_id)


def move_routine(
    work: UnitOfWork, principal: Principal, company_id: UUID, routine_id: UUID, folder_id: UUID | None
) -> UUID:
    """Move a routine of the company into a folder; None: out of all. Raises as `routines.update` does."""
    if work.owner_of(ROUTINE, routine_id) != company_id:
        raise NotFound("Routine not found")
    return routines.update(work, principal, routine_id, RoutinePatch(folder_id=folder_id))


def _find_writable(work: UnitOfWork, principal: Principal, company_id: UUID, folder_id: UUID) -> Folder:
    entry = companies.enter(work, company_id)
    authorize(work, principal, "administer", entry)
    current = work.get(FOLDER, folder_id)
    is_gone = current is None or current.deleted or work.company_of(folder_id) != company_id
    authorize(work, principal, "administer", Resource(company_id=None if is_gone else company_id, kind="Folder"))
    if current is None:
        raise NotFound("Folder not found")
    return current
