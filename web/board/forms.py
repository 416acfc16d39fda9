"""What a form has sent: its fields as texts, checked to come from a page of ours."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from litestar import Request

from domain.errors import Forbidden
from web.board.session import FORGERY_FIELD, SessionCookie, is_from_own_form, session_of
from web.http.validation import Invalid

MOST_FIELDS = 1_000
FOREIGN = "This form was not sent by a page of the board. Open the page again and repeat it."


class Form:
    """The fields of a form. A text without anything but spaces counts as absent."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """Return the text of a field, empty if it is absent; line ends are those of Unix."""
        return next(iter(self._fields.get(name, [])), "").replace("\r\n", "\n")

    def given(self, name: str) -> str | None:
        """Return the trimmed text of a field; None if nothing is in it."""
        return self.text(name).strip() or None

    def all(self, name: str) -> list[str]:
        """Return all values of a field."""
        return list(self._fields.get(name, []))

    def has(self, name: str) -> bool:
        """Return whether a box is ticked, or a button was pressed."""
        return name in self._fields


async def read_own_form(request: Request[Any, Any, Any], cookie: SessionCookie) -> Form:
    """Return the form of a post. Raise Forbidden unless it comes from a page of this session."""
    fields = await read_form(request)
    must_be_own(request, cookie, fields)
    return fields


async def read_form(request: Request[Any, Any, Any]) -> Form:
    """Return the form of a post, wherever it comes from. Raise Invalid if it is not a form."""
    try:
        text = (await request.body()).decode()
        return Form(parse_qs(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"))
    except ValueError as error:
        raise Invalid([{"code": "custom", "message": "The form cannot be read", "path": []}]) from error


def must_be_own(request: Request[Any, Any, Any], cookie: SessionCookie, fields: Form) -> None:
    """Raise Forbidden unless a post comes from this origin and, where it has a session, carries that session's token."""
    if not cookie.is_same_origin(request.headers.get("origin"), request.headers.get("host")):
        raise Forbidden(FOREIGN)
    session = session_of(request.scope)
    if session is not None and not is_from_own_form(session, fields.text(FORGERY_FIELD)):
        raise Forbidden(FOREIGN)
