"""Folders of routines: made, renamed, moved, deleted, and what lies in them."""

from typing import Any
from uuid import uuid4

from tests.api import Api


def folder(api: Api, company: str, name: str = "Nightly", parent: str | None = None) -> str:
    return str(api.post(f"/companies/{company}/folders", {"name": name, "parentId": parent})["id"])


def send(api: Api, method: str, company: str, rest: str, body: Any = ...) -> tuple[int, Any]:
    answer = api.request(method, f"/companies/{company}/folders{rest}", body)
    return answer.status_code, answer.json() if answer.content else None


def test_folders_are_created_renamed_moved_and_listed(api: Api, company: str):
    outer = folder(api, company, "Outer")
    inner = folder(api, company, "Inner", outer)

    renamed = send(api, "PATCH", company, f"/{inner}", {"name": "Inside"})
    moved = send(api, "POST", company, f"/{inner}/move", {"parentId": None})

    assert [(200, "Inside", outer), (200, "Inside", None)] == [
        (status, shown["name"], shown["parentId"]) for status, shown in (renamed, moved)
    ]
    listed = api.get(f"/companies/{company}/folders")
    assert [("Outer", None), ("Inside", None)] == [(one["name"], one["parentId"]) for one in listed]
    assert {"id", "companyId", "name", "parentId", "createdAt", "updatedAt"} == listed[0].keys()


def test_a_routine_is_created_in_a_folder_moved_and_found_by_it(api: Api, company: str):
    nightly, daily = folder(api, company), folder(api, company, "Daily")
    routine = api.routine(company, None, folderId=nightly)
    api.routine(company, None)

    def found(id_: str) -> list[str]:
        return [one["id"] for one in api.get(f"/companies/{company}/routines?folderId={id_}")]

    assert ([routine], []) == (found(nightly), found(daily))
    assert daily == api.patch(f"/routines/{routine}", {"folderId": daily})["folderId"]
    assert ([], [routine]) == (found(nightly), found(daily))
    assert api.patch(f"/routines/{routine}", {"folderId": None})["folderId"] is None
    assert [] == found(daily)


def test_many_routines_are_moved_at_once_each_by_itself(api: Api, company: str):
    nightly = folder(api, company)
    there, new = api.routine(company, None, folderId=nightly), api.routine(company, None)
    foreign, unknown = api.routine(api.company("Other"), None), str(uuid4())

    ids = [there, new, new, foreign, unknown]
    answer = api.post(f"/companies/{company}/folders/items/move", {"routineIds": ids, "folderId": nightly})

    assert {
        "changed": [new],
        "unchanged": [there],
        "refused": [{"routineId": id_, "error": "Routine not found"} for id_ in (foreign, unknown)],
    } == answer
    assert nightly == api.get(f"/routines/{new}")["folderId"]


def test_a_folder_is_deleted_only_when_it_is_empty(api: Api, company: str):
    outer = folder(api, company)
    inner = folder(api, company, "Inner", outer)
    routine = api.routine(company, None, folderId=inner)

    assert [409, 409] == [send(api, "DELETE", company, f"/{id_}")[0] for id_ in (outer, inner)]
    api.patch(f"/routines/{routine}", {"folderId": None})
    assert [204, 204] == [send(api, "DELETE", company, f"/{id_}")[0] for id_ in (inner, outer)]
    assert [] == api.get(f"/companies/{company}/folders")
    assert (404, "Folder not found") == (
        (gone := api.request("PATCH", f"/routines/{routine}", {"folderId": inner})).status_code,
        gone.json()["error"],
    )


def test_a_folder_never_lies_in_itself(api: Api, company: str):
    outer = folder(api, company)
    inner = folder(api, company, "Inner", outer)

    for parent in (outer, inner):
        status, refused = send(api, "POST", company, f"/{outer}/move", {"parentId": parent})
        assert (422, ["parentId"]) == (status, refused["details"][0]["path"])


def test_folders_of_others_are_unknown(api: Api, company: str):
    other = api.company("Other")
    theirs = folder(api, other)

    assert 404 == send(api, "PATCH", company, f"/{theirs}", {"name": "Mine"})[0]
    assert 404 == send(api, "DELETE", company, f"/{theirs}")[0]
    assert 422 == send(api, "POST", company, "", {"name": "x", "parentId": theirs})[0]
    assert 404 == send(api, "POST", company, "", {"name": "x", "parentId": str(uuid4())})[0]
    answer = api.request("POST", f"/companies/{company}/routines", {"title": "x", "folderId": theirs})
    assert (422, "Folder must belong to same company") == (answer.status_code, answer.json()["error"])
    assert 404 == send(api, "POST", company, "/items/move", {"routineIds": [str(uuid4())], "folderId": str(uuid4())})[0]


def test_the_folder_is_in_the_revisions_and_comes_back_while_it_is_there(api: Api, company: str):
    nightly = folder(api, company)
    routine = api.routine(company, None, folderId=nightly)
    api.patch(f"/routines/{routine}", {"folderId": None, "title": "Other"})
    first = api.get(f"/routines/{routine}/revisions")[-1]
    assert nightly == first["snapshot"]["routine"]["folderId"]

    api.post(f"/routines/{routine}/revisions/{first['id']}/restore", {})
    assert nightly == api.get(f"/routines/{routine}")["folderId"]

    api.patch(f"/routines/{routine}", {"folderId": None})
    send(api, "DELETE", company, f"/{nightly}")
    restored = api.post(f"/routines/{routine}/revisions/{first['id']}/restore", {})
    assert restored["routine"]["folderId"] is None
