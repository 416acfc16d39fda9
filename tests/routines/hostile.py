"""Text that means no good to whoever reads it on a terminal."""

import unicodedata

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\u202egnp\u2066.\u2028\r\nACM-9 done [red]x[/red] [link=http://x.example]y[/link] \u0085"
DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def is_harmless(character):
    return unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"} and (
        unicodedata.bidirectional(character) not in DIRECTIONS
    )


def assert_harmless(text):
    """Lines without anything that a terminal obeys."""
    assert [ascii(character) for character in text if character != "\n" and not is_harmless(character)] == []
