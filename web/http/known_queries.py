"""A check of queries: a parameter that an operation does not know, or takes once, is refused with 400, not ignored."""

from typing import Any
from weakref import WeakKeyDictionary

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from web.http.tolerated_fields import LENIENT_QUERIES, QUERIES_OF_CALLERS
from web.http.unknown_names import describe_unknown, fold_spelling
from web.http.validation import Invalid, invalid

# Parameters that are only ours, so a client that sends one means it: where it has no effect it is refused.
MEANT = {"asOf"}

ONCE = MEANT | {"from", "to"}  # moments, of which an operation takes one each

MEANT_HOWEVER_SPELT = {fold_spelling(name) for name in MEANT}  # `asof` would be answered as of now, unseen

KNOWN = WeakKeyDictionary[HTTPRouteHandler, frozenset[str]]()  # by the operations of the applications that there are


async def must_know_query(request: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """
    Raise Invalid for a parameter that the operation does not know, and for two moments where it takes one. It is a guard of
    an application.

    It is a coroutine function, since the framework calls any other guard in a thread.
    """
    if not request.scope["query_string"] or not isinstance(handler, HTTPRouteHandler):
        return
    if handler.operation_id is None or handler.operation_id in QUERIES_OF_CALLERS:
        return
    names, known = set(request.query_params), _known_parameters(handler)
    if handler.operation_id in LENIENT_QUERIES:
        names = {name for name in names if fold_spelling(name) in MEANT_HOWEVER_SPELT}
    for name in request.query_params:
        if name in names - known:
            shown, message = describe_unknown("query parameter", name, known)
            raise Invalid([{"code": "unrecognized_keys", "keys": [shown], "message": message, "path": [shown]}])
        if name in ONCE and len(request.query_params.getall(name)) > 1:
            raise invalid(f"{name} must be given once", name)


def _known_parameters(handler: HTTPRouteHandler) -> frozenset[str]:
    """Return the names of the parameters of an operation and of what it depends on."""
    if handler not in KNOWN:
        model = handler.create_kwargs_model(path_parameters={})
        KNOWN[handler] = frozenset(parameter.field_alias for parameter in model.expected_query_params)
    return KNOWN[handler]
