"""Runs that are started by hand, and what became of them."""

from typing import Any

from tests.api import Api


def fire(api: Api, routine: str, **body: Any) -> Any:
    return api.post(f"/routines/{routine}/run", body)


def refusal(api: Api, path: str, body: Any, **kwargs: Any) -> tuple[int, str]:
    answer = api.request("POST", path, body, **kwargs)
    return answer.status_code, answer.json()["error"]


def move(api: Api, run: Any, status: str) -> None:
    api.patch(f"/issues/{run['linkedIssueId']}", {"status": status})


def history(api: Api, routine: str, query: str = "") -> list[Any]:
    runs: list[Any] = api.get(f"/routines/{routine}/runs{query}")
    return runs
