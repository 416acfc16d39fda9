"""How the Jetty API refuses, for its description."""

from functools import partial

from web.http.errors import RESPONSES
from web.jetty.errors import Detail
from web.openapi import examples
from web.openapi.description import Dialect, Operation, usual_refusals

UNPROCESSABLE, TAKEN, FORBIDDEN = 422, 409, 403
TEXTS = {status: spec.description for status, spec in RESPONSES.items()} | {
    400: "What was sent is wrong, or the name is taken: `detail` says what.",
    422: "The body is wrong: `detail` lists where and why.",
}


def refusals(operation: Operation) -> set[int]:
    """The statuses by which an operation refuses; the options of its route say which ones are unusual."""
    options, parameters = operation.handler.opt, operation.document.get("parameters", [])
    judges = not operation.reads or any(parameter["in"] == "query" for parameter in parameters)
    statuses = usual_refusals(operation) | ({options.get("invalid", UNPROCESSABLE)} if judges else set())
    return statuses if operation.reads else statuses | {FORBIDDEN, options.get("taken", TAKEN)}


DIALECT = Dialect(error=Detail, texts=TEXTS, refusals=refusals, examples=partial(examples.read, "web.jetty"))
