"""A trajectory: one call of a task, with its steps, its output, what it has used, and what has happened to it."""

from collections.abc import Mapping
from typing import Any, get_args
from urllib.parse import quote

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from domain.jetty.trajectory import LIVE
from domain.values import TrajectoryStatus
from web.board import words
from web.board.api import ApiRefusal
from web.board.routine import names_of_people
from web.board.runs import printed_pieces
from web.board.tasks import BASE, collection_of
from web.board.visit import Visit

ONE = f"{BASE}/tasks/{{task:str}}/trajectories/{{number:str}}"
STATUSES = [(status, status) for status in get_args(TrajectoryStatus)]
Json = Mapping[str, Any]


@get(ONE, operation_id="boardTrajectory")
async def trajectory(visit: NamedDependency[Visit], task: FromPath[str], number: FromPath[str]) -> Response[Any]:
    """Show a trajectory."""
    return await _show_page(visit, task, number, {}, {})


@post(f"{ONE}/status", operation_id="boardMoveTrajectory")
async def move(visit: NamedDependency[Visit], task: FromPath[str], number: FromPath[str]) -> Response[Any]:
    """Set the status of a trajectory; to end one stops its command within seconds."""
    collection = await collection_of(visit)
    status = visit.form.text("status")
    try:
        await visit.api.post(collection.of("trajectory", task, "statuses"), {number: status})
    except ApiRefusal as refusal:
        return await _show_page(visit, task, number, {"status": status}, {"status": _refusal_sentence(refusal)})
    return visit.go("tasks", task, "trajectories", number, done="moved_trajectory")


@post(f"{ONE}/labels", operation_id="boardLabelTrajectory")
async def label(visit: NamedDependency[Visit], task: FromPath[str], number: FromPath[str]) -> Response[Any]:
    """Add a label to a trajectory, in the name of the reader."""
    collection = await collection_of(visit)
    values = {name: visit.form.text(name).strip() for name in ("key", "value")}
    try:
        author = visit.user.name if visit.user else ""
        await visit.api.post(collection.of("trajectory", task, number, "labels"), {**values, "author": author})
    except ApiRefusal as refusal:
        return await _show_page(visit, task, number, values, refusal.by_field())
    return visit.go("tasks", task, "trajectories", number, done="added")


def _refusal_sentence(refusal: ApiRefusal) -> str:
    return "; ".join(refusal.by_field().values())


async def _show_page(
    visit: Visit, task: str, number: str, values: Mapping[str, str], errors: Mapping[str, str]
) -> Response[Any]:
    live = await visit.live()
    collection, after = await collection_of(visit), visit.parameter("after")
    place = collection.of("db/trajectory", task, number)
    shown_trajectory = await visit.api.get(place)
    log = await visit.api.get(f"{place}/log", {"after": after})
    later = await visit.api.get(f"{place}/log", {"after": log["next"]}) if log["parts"] else log
    history = await visit.api.page(
        f"/v1/workflows-logs/{quote(shown_trajectory['workflow_id'], safe='')}", {"cursor": visit.parameter("cursor")}
    )
    return visit.show(
        "trajectory.html",
        live=live,
        status=422 if errors else 200,
        here="tasks",
        task=task,
        trajectory=shown_trajectory,
        author=await _name_author(visit, shown_trajectory["author"] or ""),
        is_over=shown_trajectory["status"] not in LIVE,
        steps=[_describe_step(shown_trajectory, name) for name in _step_names(shown_trajectory)],
        parameters=words.as_json(shown_trajectory["init_params"]) if shown_trajectory["init_params"] else "",
        metadata=words.as_json(shown_trajectory["metadata"]) if shown_trajectory["metadata"] else "",
        output=printed_pieces(log["parts"]),
        after=after,
        later=log["next"] if later["parts"] else None,
        history=history.value["logs"],
        following=visit.path("tasks", task, "trajectories", number, query={"cursor": history.next_cursor})
        if history.next_cursor
        else None,
        statuses=STATUSES,
        values=values,
        errors=errors,
    )


async def _name_author(visit: Visit, author: str) -> str:
    """Return who has called the task: the name of a user, and what a client has given as it is."""
    kind, _, id_ = author.partition(":")
    return (await names_of_people(visit, [{"createdByUserId": id_}])).get(id_, author) if kind == "user" else author


def _step_names(trajectory: Json) -> list[str]:
    """Return the steps of the workflow, and after them those that a worker has reported beside it."""
    total = trajectory["total_steps"]
    return [*total, *(name for name in trajectory["steps"] if name not in total)]


def _describe_step(trajectory: Json, name: str) -> dict[str, str]:
    """Return a step as the page shows it: what it was given and what it gave, if it was reported."""
    report = trajectory["steps"].get(name)
    if report is None:
        config = trajectory["step_configs"].get(name, {})
        return {
            "name": name,
            "activity": config.get("activity") or "",
            "status": "pending",
            "inputs": "",
            "outputs": "",
        }
    objects = {part: words.as_json(report[part]) if report[part] else "" for part in ("inputs", "outputs")}
    return {"name": name, "activity": report["activity"] or "", "status": report["status"], **objects}
