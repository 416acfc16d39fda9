"""The routes of folders of routines (our addition to the contract, after the original's)."""

from functools import partial

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody

from application.access import Caller
from application.request_bodies.board import FolderDraft, FolderItems, FolderMove, FolderPatch
from application.use_cases import folders as use_cases
from application.use_cases import read_access
from domain.errors import DomainError
from projections import responses
from projections.routines import folders, routines
from web.http.backend import Backend
from web.http.paging import NEXT, Paging, cursor_only, read_page
from web.http.path_ids import CompanyId, FolderId
from web.http.routing import delete, get, patch, post
from web.paperclip.bulk import BulkAnswer, Refused

MODELS = ("folders",)


class Folders(Controller):
    """Folders of routines."""

    path = "/companies/{company_id:str}/folders"
    tags = ("folders",)
    dependencies = {"paging": Provide(cursor_only)}

    @get("/", operation_id="listFolders", refuses=(403,), response_headers=NEXT)
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        company_id: FromPath[CompanyId],
    ) -> Response[list[responses.Folder]]:
        """Returns the folders of the company, oldest first."""
        backend.authorize(caller, read_access.company, company_id)
        return read_page(
            backend, paging, f"folders of {company_id}", MODELS, partial(folders.page, company_id=company_id)
        )

    @post("/", operation_id="createFolder", refuses=(403, 422))
    def create(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        data: JSONBody[FolderDraft],
    ) -> Response[responses.Folder]:
        """Creates a folder."""
        changed = backend.change(caller, MODELS, use_cases.create, company_id, data)
        return changed.answer(lambda conn: folders.folder(conn, changed.result), 201)

    @patch("/{folder_id:str}", operation_id="renameFolder", refuses=(403, 422))
    def rename(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        folder_id: FromPath[FolderId],
        data: JSONBody[FolderPatch],
    ) -> Response[responses.Folder]:
        """Gives the folder another name, and moves it as `moveFolder` does if `parentId` is given."""
        changed = backend.change(caller, MODELS, use_cases.update, company_id, folder_id, data)
        return changed.answer(lambda conn: folders.folder(conn, changed.result))

    @post("/{folder_id:str}/move", operation_id="moveFolder", refuses=(403, 422), status_code=200)
    def move(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        folder_id: FromPath[FolderId],
        data: JSONBody[FolderMove],
    ) -> Response[responses.Folder]:
        """Moves the folder, with everything in it, into another one; with `parentId` null, out of all."""
        changed = backend.change(caller, MODELS, use_cases.update, company_id, folder_id, data)
        return changed.answer(lambda conn: folders.folder(conn, changed.result))

    @post("/items/move", operation_id="moveRoutines", refuses=(403, 422), status_code=200)
    def move_items(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        data: JSONBody[FolderItems],
    ) -> BulkAnswer:
        """
        Moves routines into a folder; with `folderId` null, out of all. Each routine is changed by itself, so a refusal
        does not hold back the others.
        """
        backend.authorize(caller, use_cases.may_move_into, company_id, data.folder_id)
        answer = BulkAnswer(changed=[], unchanged=[], refused=[])
        for routine_id in dict.fromkeys(data.routine_ids):
            try:
                commit_result = backend.executor.execute(
                    caller, use_cases.move_routine, company_id, routine_id, data.folder_id
                )
            except DomainError as refusal:
                answer.refused.append(Refused(routine_id=routine_id, error=refusal.message))
            else:
                (answer.changed if commit_result.recorded else answer.unchanged).append(routine_id)
        return answer

    @delete("/{folder_id:str}", operation_id="deleteFolder", refuses=(403, 409), status_code=204)
    def delete(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        folder_id: FromPath[FolderId],
    ) -> None:
        """Deletes the folder. This is refused while a routine or another folder is in it."""
        with backend.consistent_read("folders", "routines") as conn:
            in_use = folders.has_folder(conn, folder_id) or routines.has_in_folder(conn, company_id, folder_id)
        backend.executor.execute(caller, use_cases.delete, company_id, folder_id, in_use=in_use)
