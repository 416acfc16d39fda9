"""
What takes something away is asked for twice: the first press shows what it would do, the button of that page does it.

A page of its own asks, so it works without scripts, and says of what it is in its title.
"""

from typing import Any, NamedTuple

from litestar import Response

from web.board.sign_in import address_of
from web.board.visit import Visit

SURE = "sure"  # the field that the button of the question sends


class Confirmation(NamedTuple):
    """What is asked before it is done: a question, what follows, the words of the button, and where one gets by leaving it."""

    title: str
    consequence: str
    button: str
    back: str


def is_confirmed(visit: Visit) -> bool:
    """Return whether the reader has seen the question and pressed its button."""
    return visit.form.has(SURE) and not visit.api.is_held


def show_confirmation(visit: Visit, confirmation: Confirmation) -> Response[Any]:
    """Return the page that asks, from which the same form is sent once more."""
    fields = [(name, text) for name, text in visit.form.fields_to_repeat() if name != SURE]
    return visit.show(
        "confirmation.html", here="", confirmation=confirmation, fields=fields, address_asked=address_of(visit.request)
    )
