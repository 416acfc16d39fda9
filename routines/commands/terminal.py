"""
Text of others on its way to a terminal: control characters are shown, not obeyed.

Titles, names, comments and what a server says are whatever somebody wrote: escape sequences that rewrite the screen or
the clipboard, characters that turn the direction of a line around, line breaks that make one line look like two. All
commands print such text through here.
"""

import re
import sys
from typing import Any

import click
import msgspec
from rich.text import Text

# C0, DEL and C1; what has no glyph and changes its neighbours (bidirectional marks, overrides and isolates, invisible
# operators, tags, annotations); the other line ends; halves of characters. Joiners of scripts and emoji are none.
UNSAFE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff"
    "\\ufff9-\\ufffb\\U000e0000-\\U000e007f\\ud800-\\udfff]"
)


def visible(text: str) -> str:
    r"""The text as one line, in which every unsafe character is its escape: \x1b, \n, \u202e."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def cell(text: str) -> Text:
    """The text for a table or a line of rich, to which [red] is not a colour."""
    return Text(visible(text))


def echo(text: str, *, err: bool = False) -> None:
    """Prints one line; what the terminal's encoding does not have is an escape, too."""
    encoding = (sys.stderr if err else sys.stdout).encoding or "ascii"
    click.echo(visible(text).encode(encoding, "backslashreplace").decode(encoding), err=err)


def echo_json(value: Any) -> None:
    """Prints one line of JSON, in ASCII where a terminal would obey: the same value for whoever reads it as JSON."""
    click.echo(json_line(value).encode())


def json_line(value: Any) -> str:
    return UNSAFE.sub(lambda found: json_escape(found[0]), msgspec.json.encode(value).decode())


def json_escape(character: str) -> str:
    r"""One or, beyond U+FFFF, two \uXXXX."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


class Trouble(click.ClickException):
    """The end of a command by something that others may have put into words."""

    def format_message(self) -> str:
        """Its lines, which the database's messages have, stay lines."""
        return "\n".join(visible(line) for line in self.message.expandtabs().split("\n"))
