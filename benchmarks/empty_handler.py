"""The framework alone, for comparison: one route that decodes a JSON body and answers with a JSON object."""

import sys
from typing import Any

import msgspec
import uvicorn
from litestar import Litestar, post


class Answer(msgspec.Struct):
    """About as much as a run shows."""

    id: str
    source: str
    status: str
    payload: dict[str, Any]


@post("/run", status_code=202)
async def run(data: dict[str, Any]) -> Answer:
    return Answer("0198ab44-5d6e-7f00-8000-000000000000", "manual", "issue_created", data)


if __name__ == "__main__":
    app = Litestar([run], openapi_config=None, logging_config=None)
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="critical", access_log=False)
