"""How templates become pages: what every template knows, and what a page says after a change."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from web.board import environment, hidden_characters, words
from web.board.files import path_of
from web.board.session import FORGERY_FIELD

HTML = "text/html"  # in UTF-8, as the framework adds
MORE = ("more", "Not all are listed here")  # the option that ends a list of choices which goes on; it cannot be chosen
PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    auto_reload=False,
    finalize=hidden_characters.reveal,
    trim_blocks=True,
    lstrip_blocks=True,
)
PAGES.filters["typed"] = hidden_characters.escape_typed
PAGES.globals.update(
    file=path_of,
    outcome=words.outcome,
    reason=words.reason,
    source=words.source,
    counted=words.count_noun,
    environment=environment.in_words,
    span=words.span,
    spelled=words.spell_field,
    milliseconds=words.milliseconds,
    parse=words.parse,
    utc=words.utc_text,
    forgery_field=FORGERY_FIELD,
    cut=MORE[0],
    zip_same=lambda options: [(option, option) for option in options],
)
DONE = {  # what a page says after a change, by the word in its address
    "created": "The routine is created.",
    "saved": "The changes are saved.",
    "same": "Nothing was changed.",
    "paused": "The routine is paused.",
    "resumed": "The routine is active again. Occurrences that passed meanwhile are not caught up with.",
    "archived": "The routine is archived. It stays readable.",
    "fired": "The routine was run.",
    "restored": "The revision is restored, as a new one.",
    "trigger": "The trigger is saved.",
    "deleted": "The trigger is deleted.",
    "commented": "The comment is added.",
    "moved": "The issue is changed.",
    "redelivered": "The delivery will be sent once more.",
    "cancelled": "The backfill is cancelled; what it has fired stays.",
    "begun": "The backfill has begun.",
    "revoked": "The key is revoked.",
    "zone": "Times are shown in this zone now.",
    "saved_endpoint": "The endpoint is changed.",
    "member": "The member is changed.",
    "agent": "The agent is changed.",
    "removed": "It is removed.",
    "added": "It is added.",
    "called": "The task was called: this is its trajectory.",
    "moved_trajectory": "The status of the trajectory is changed.",
    "thing": "The change is saved.",
    "environment": "The variables are changed. Work that begins from now on gets them.",
}
