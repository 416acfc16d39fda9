"""The keys by which a client says that a request repeats an earlier one, in headers."""

from collections.abc import Sequence
from typing import Annotated

from litestar.params import HeaderParameter

from application.request_bodies.fields import IdempotencyKey
from web.http.requests import JsonRequest
from web.http.validation import Invalid, invalid, parse

HEADER = "Idempotency-Key"


async def idempotency_key(
    request: JsonRequest, _key: Annotated[str | None, HeaderParameter(name=HEADER)] = None
) -> str | None:
    """Return the key in the header of a request, or None if it has none. It is a dependency. Raise Invalid."""
    return read_key(HEADER, request.headers.getall(HEADER, []))


def read_key(name: str, values: Sequence[str]) -> str | None:
    """
    Return the key in the values of a header, or None without one or for an empty one. Raise Invalid.

    Octets beyond ASCII are refused: a header does not say what characters they are (RFC 9110, 5.5), and the run would show others
    than the sender meant.
    """
    if len(values) > 1:
        raise invalid(f"{name} must be given at most once", name)
    if not "".join(values).isascii():
        raise invalid(f"{name} must have ASCII characters only", name)
    try:
        return parse(IdempotencyKey, values[0]) or None if values else None
    except Invalid as error:
        raise Invalid([{**issue, "path": [name]} for issue in error.issues]) from error


def one_key(in_header: str | None, in_body: str | None) -> str | None:
    """Return the key of a request that may give it in the header or in its body. Raise Invalid if the two differ."""
    if in_header and in_body and in_header != in_body:
        raise invalid(f"{HEADER} and idempotencyKey differ: give one of them", HEADER)
    return in_header or in_body or None
