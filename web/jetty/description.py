"""The refusals of the Jetty API, for its description."""

from functools import partial

from web.http.errors import RESPONSES
from web.jetty.errors import Detail
from web.openapi import examples
from web.openapi.description import Dialect, Operation, usual_refusals

UNPROCESSABLE, TAKEN, FORBIDDEN = 422, 409, 403
TEXTS = {status: spec.description for status, spec in RESPONSES.items()} | {
    400: "The body or the query is wrong, or the name is taken; `detail` says what.",
    422: "The body is wrong; `detail` lists where and why.",
}


def refusals(operation: Operation) -> set[int]:
    """Return the statuses with which an operation refuses a request; options of its route name unusual ones."""
    options, parameters = operation.handler.opt, operation.document.get("parameters", [])
    judges = not operation.reads or any(parameter["in"] == "query" for parameter in parameters)
    statuses = usual_refusals(operation) | ({options.get("invalid", UNPROCESSABLE)} if judges else set())
    return statuses if operation.reads else statuses | {FORBIDDEN, options.get("taken", TAKEN)}


DIALECT = Dialect(error=Detail, texts=TEXTS, refusals=refusals, examples=partial(examples.read, "web.jetty"))
