"""
What takes something away is asked for twice: the first press shows what it would do, the button of that page does it.

A page of its own asks, so it works without scripts, and says of what it is in its title. Its button sends a digest of the
question with the form: if that would be another one by then, as after a change of the name, it is asked anew.
"""

from typing import Any, NamedTuple

from litestar import Response

from web.board.conflicts import base_of
from web.board.sign_in import address_of
from web.board.visit import Visit

SURE = "sure"  # the field that the button of the question sends


class Confirmation(NamedTuple):
    """
    What is asked before it is done: a question, what follows, the words of the button, and where one gets by leaving it.

    `choice` is a box that can be ticked beside it, by the name of its field and its words.
    """

    title: str
    consequence: str
    button: str
    back: str
    choice: tuple[str, str] | None = None


def pending_question(visit: Visit, confirmation: Confirmation) -> Response[Any] | None:
    """Return the page that asks, from which the same form is sent once more; None if its reader has pressed the button there."""
    digest = base_of({"title": confirmation.title, "consequence": confirmation.consequence})
    if visit.form.text(SURE) == digest and not visit.api.is_held:
        return None
    not_repeated = (SURE, confirmation.choice[0] if confirmation.choice else SURE)
    fields = [(name, text) for name, text in visit.form.fields_to_repeat() if name not in not_repeated]
    return visit.show(
        "confirmation.html",
        here="",
        confirmation=confirmation,
        fields=[*fields, (SURE, digest)],
        address_asked=address_of(visit.request),
    )
