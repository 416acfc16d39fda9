"""What a form has sent: its fields as texts, checked to come from a page of ours."""

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any
from urllib.parse import parse_qs

from litestar import Request

from domain.disclosure import MASK
from domain.errors import Forbidden
from web.board.session import FORGERY_FIELD, SessionCookie, is_from_own_form, session_of
from web.http import json_body
from web.http.validation import invalid

MOST_FIELDS = 1_000
MOST_DIGITS = 12
FOREIGN = "This form was not sent by a page of the board. Open the page again and repeat it."
WAS_TYPED = "typed before"  # stands in place of a secret in a form that is shown again and changes nothing
LINE_END = re.compile(r"\r\n?")
# Fields of which no page shows what was typed.
SECRETS = re.compile(r"secret_\w+|webhook_secret|env\.[0-9]+\.value|token")
CREDENTIALS = re.compile(
    r"^([ \t]*(?:(?:proxy-)?authorization|cookie|[\w-]*(?:-token|-secret|api-?key))[ \t]*:[ \t]*)\S.*$",
    re.IGNORECASE | re.MULTILINE,
)


class Form:
    """The fields of a form. A text without anything but spaces counts as absent."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """Return the text of a field, empty if it is absent."""
        return next(iter(self._fields.get(name, [])), "")

    def given(self, name: str) -> str | None:
        """Return the trimmed text of a field; None if nothing is in it."""
        return self.text(name).strip() or None

    def all(self, name: str) -> list[str]:
        """Return all values of a field."""
        return list(self._fields.get(name, []))

    def one_of(self, name: str, options: Sequence[str]) -> str:
        """Return which of some words a field or the button that was pressed has sent. Raise Invalid for another one."""
        if (word := self.text(name)) not in options:
            raise invalid(f"{name} must be {' or '.join(options)}", name)
        return word

    def has(self, name: str) -> bool:
        """Return whether a box is ticked, or a button was pressed."""
        return name in self._fields

    def beside(self, saved_values: Mapping[str, str]) -> "Form":
        """Return the form with what is saved wherever only the line ends differ: browsers change them, nobody has typed them."""
        same = {
            name: [saved_values[name]]
            for name in self._fields.keys() & saved_values.keys()
            if LINE_END.sub("\n", saved_values[name]) == self.text(name)
        }
        return Form({**self._fields, **same})

    def fields_to_repeat(self) -> list[tuple[str, str]]:
        """Return what has to be sent once more, but for the token of the session; in place of a secret, that there was one."""
        return [
            (name, _without_secret(name, text))
            for name, texts in self._fields.items()
            for text in texts
            if name != FORGERY_FIELD
        ]


def _without_secret(name: str, text: str) -> str:
    if name == "headers":
        return without_credentials(text)
    if not text or not SECRETS.fullmatch(name):
        return text
    return "{}" if name == "secret_params" else WAS_TYPED


def without_credentials(headers: str) -> str:
    """Return the headers of a call, one a line, with the credentials among them masked."""
    return CREDENTIALS.sub(rf"\1{MASK}", headers)


def whole_number(text: str) -> int | None:
    """Return the whole number that a text is; None if it is none, or has more digits than any setting."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None


def read_number(text: str) -> int | float:
    """Return the number that a text is. Raise ValueError if it is none, or one that JSON does not have."""
    number = float(text)
    if not isfinite(number):
        raise ValueError(text)
    return int(number) if number.is_integer() else number


def read_object(form: Form, name: str, errors: dict[str, str]) -> dict[str, Any] | None:
    """Return the JSON object in a field; None if nothing is in it or, with an error, if something else is."""
    if form.given(name) is None:
        return None
    try:
        value = json_body.read(form.text(name).encode())
    except (json_body.Malformed, UnicodeEncodeError):
        value = None
    except json_body.Unsound as unsound:
        errors[name] = f"{unsound}."
        return None
    if not isinstance(value, dict):
        errors[name] = 'This is no JSON object: write it like {"name": "value"}.'
        return None
    return value


async def read_own_form(request: Request[Any, Any, Any], cookie: SessionCookie) -> Form:
    """Return the form of a post. Raise Forbidden unless it comes from a page of this session."""
    fields = await read_form(request)
    must_be_same_origin(request, cookie)
    if not is_of_session(request, fields):
        raise Forbidden(FOREIGN)
    return fields


async def read_form(request: Request[Any, Any, Any]) -> Form:
    """Return the form of a post, wherever it comes from. Raise Invalid if it is not a form."""
    return parse_form(await request.body())


def parse_form(body: bytes) -> Form:
    """Return the form that a browser has sent, with the line ends of Unix. Raise Invalid if it is not a form."""
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise invalid("The form cannot be read") from error
    return Form({name: [LINE_END.sub("\n", text) for text in texts] for name, texts in fields.items()})


def must_be_same_origin(request: Request[Any, Any, Any], cookie: SessionCookie) -> None:
    """Raise Forbidden unless a post comes from this origin."""
    if not cookie.is_same_origin(request.headers.get("origin"), request.headers.get("host")):
        raise Forbidden(FOREIGN)


def is_of_session(request: Request[Any, Any, Any], fields: Form) -> bool:
    """Return whether a form carries the token of the session, where the request has one."""
    session = session_of(request.scope)
    return session is None or is_from_own_form(session, fields.text(FORGERY_FIELD))
