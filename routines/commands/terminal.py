"""
Prints text that others wrote so that a terminal shows its control characters and does not obey them.

Titles, names, comments and messages of a server may hold anything: escape sequences that rewrite the screen or the
clipboard, characters that reverse the direction of a line, line breaks that make one line look like two. All commands
print such text through this module.
"""

import re
import sys
from typing import Any

import click
import msgspec
from rich.text import Text

# C0, DEL and C1; characters without a glyph that change their neighbours (bidirectional marks, overrides and isolates,
# invisible operators, tags, annotations); the other line ends; surrogates. Joiners of scripts and emoji are not unsafe.
UNSAFE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff"
    "\\ufff9-\\ufffb\\U000e0000-\\U000e007f\\ud800-\\udfff]"
)


def make_visible(text: str) -> str:
    r"""Return the text as one line, in which every unsafe character is replaced by its escape: \x1b, \n, \u202e."""
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def cell(text: str) -> Text:
    """Return the text for a table or a line of rich, which does not take [red] in it for a colour."""
    return Text(make_visible(text))


def echo(*lines: str, err: bool = False) -> None:
    """Print lines, all at once; characters that the terminal's encoding lacks are escaped as well."""
    encoding = (sys.stderr if err else sys.stdout).encoding or "ascii"
    text = "".join(f"{make_visible(line)}\n" for line in lines)
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=err, nl=False)


def echo_json(value: Any) -> None:
    """Print one line of JSON. Unsafe characters are escaped, so that a JSON parser reads the same value."""
    click.echo(json_line(value).encode())


def json_line(value: Any) -> str:
    r"""Return the value as one line of JSON with every unsafe character as \uXXXX."""
    return UNSAFE.sub(lambda match: json_escape(match[0]), msgspec.json.encode(value).decode())


def json_escape(character: str) -> str:
    r"""Return the character as one \uXXXX or, beyond U+FFFF, as two."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


class CommandError(click.ClickException):
    """An error that ends the command, whose message may hold text that others wrote."""

    def format_message(self) -> str:
        """Return the message made safe for a terminal; its line breaks stay, since Postgres's messages have some."""
        return "\n".join(make_visible(line) for line in self.message.expandtabs().split("\n"))
