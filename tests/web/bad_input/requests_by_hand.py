"""Bodies that are sent as they are, and what the answers name."""

from typing import Any

import httpx

from tests.api import Api
from tests.web.hooks import JSON

ID = "11111111-1111-4111-8111-111111111111"


def send_run(api: Api, body: bytes, routine: str = ID, **headers: str) -> httpx.Response:
    return api.request("POST", f"/routines/{routine}/run", content=body, headers=JSON | headers)


def issue_paths(answer: httpx.Response) -> list[list[Any]]:
    return [issue["path"] for issue in answer.json()["details"]]
