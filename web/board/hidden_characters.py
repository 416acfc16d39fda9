"""
Characters that cannot be seen but change what is: names and texts that people write are shown with their code points in place of them.

They turn the direction of what follows (U+202E), have no width (U+200B), or are controls. Joiners of scripts and of emoji stay.
Fields of forms have texts as they are (`typed`): what is sent back is what was there.
"""

import re
from typing import Any

from markupsafe import Markup, escape

HIDDEN = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\xad\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200e\\u200f"
    "\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff9-\\ufffb\\U000e0000-\\U000e0fff]"
)


def reveal(value: Any) -> Any:
    """Return what a template writes, with the code point of each hidden character; markup is left as it is."""
    return HIDDEN.sub(_code_point, value) if type(value) is str else value


def escape_typed(value: object) -> Markup:
    """Return the text of a field, escaped and otherwise as it is."""
    return escape(value)


def _code_point(match: re.Match[str]) -> str:
    return f"[U+{ord(match[0]):04X}]"
