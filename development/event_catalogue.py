"""
Writes docs/events.md: every kind of event, from its class in `domain/events` and the examples in `tests/stored`.

    make event-catalogue
    python -m development.event_catalogue --check    fails when the page is not current, and writes nothing
"""

import ast
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import msgspec

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/events.md"
EVENTS = sorted(ROOT.glob("domain/events/*.py"))
VALUES = ROOT / "domain/values.py"
EXAMPLES = ROOT / "tests/stored"
INTRODUCTION = """\
# Events

<!-- Written by `make event-catalogue` from domain/events, domain/values.py and tests/stored. Do not edit. -->

Everything that can happen, by its stored name. The name and the JSON are a promise: they never change their meaning, and
a field is only ever added, with a default ([how](../CONTRIBUTING.md#add-an-event)). The log keeps each event as one JSON
object, its envelope:

| field | |
|---|---|
| `at` | the moment of the decision, in UTC |
| `actor` | who decided: `user:<id>`, `agent:<id>`, `scheduler`, `system`, ... |
| `company_id` | the company that it belongs to; absent when it belongs to none |
| `cause` | what led to it, such as an agent's work session; absent when nothing did |
| `event` | the stored name as `type`, and the fields below |

The stream, its version, the position in the log and the hash are columns beside it. The examples are files in `tests/stored`;
they are frozen, so what was stored once stays readable. `GET /api/events/schema` serves the same as a JSON Schema ([audit](audit.md)).
"""


class Struct(msgspec.Struct, frozen=True):
    """A class as its source tells of it."""

    name: str
    tag: str | None
    text: str
    fields: tuple[tuple[str, str, str, str], ...]  # name, type, default, comment


def structs(path: Path) -> Iterator[Struct]:
    """Return the classes of a module that have fields or a tag, in the order of the source."""
    source = path.read_text()
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            fields = tuple(_field_of(one, lines) for one in node.body if isinstance(one, ast.AnnAssign))
            tags = (word.value for word in node.keywords if word.arg == "tag")
            tag = next((str(value.value) for value in tags if isinstance(value, ast.Constant)), None)
            text = " ".join((ast.get_docstring(node) or "").split())
            if fields or tag:
                yield Struct(node.name, tag, text, fields)


def choices(path: Path) -> Iterator[tuple[str, str]]:
    """Return the names of a module that stand for one of several texts, each with those."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=texts)),
            ):
                yield name, ", ".join(f"`{ast.literal_eval(text)}`" for text in texts)


def catalogue() -> str:
    """Return the whole page."""
    return "\n".join([INTRODUCTION, *_write_kinds(), *_write_values()])


def _write_kinds() -> Iterator[str]:
    kinds = [kind for path in EVENTS for kind in structs(path) if kind.tag]
    kinds.sort(key=lambda kind: _aggregate_of(str(kind.tag)))
    for aggregate, group in groupby(kinds, key=lambda kind: _aggregate_of(str(kind.tag))):
        yield f"## {aggregate}\n"
        for kind in group:
            yield f"### `{kind.tag}`\n"
            yield f"{kind.text} (`{kind.name}`)\n"
            yield from _write_table(kind)
            for path in sorted(EXAMPLES.glob(f"{kind.tag}[.~]*json")):
                example = msgspec.json.format(path.read_bytes(), indent=2).decode()
                yield f"<details><summary><code>{path.name}</code></summary>\n\n```json\n{example}\n```\n\n</details>\n"


def _write_values() -> Iterator[str]:
    yield "## Values\n\nWhat the fields above hold.\n"
    yield "| type | one of |\n|---|---|"
    yield from (f"| `{name}` | {texts} |" for name, texts in choices(VALUES))
    yield ""
    for value in structs(VALUES):
        tag = f" As `type`: `{value.tag}`." if value.tag else ""
        yield f"### `{value.name}`\n\n{value.text}{tag}\n"
        yield from _write_table(value)


def _write_table(struct: Struct) -> Iterator[str]:
    if struct.fields:
        yield "| field | type | default | |\n|---|---|---|---|"
        for name, kind, default, comment in struct.fields:
            yield f"| `{name}` | `{kind}` | {f'`{default}`' if default else ''} | {comment} |"
        yield ""


def _field_of(node: ast.AnnAssign, lines: list[str]) -> tuple[str, str, str, str]:
    """Return the comment of a field, which stands behind it on its last line."""
    line = lines[(node.end_lineno or node.lineno) - 1].encode()[node.end_col_offset or 0 :].decode()
    kind = ast.unparse(node.annotation).replace(" | ", " or ")
    default = ast.unparse(node.value) if node.value else ""
    return ast.unparse(node.target), kind, default, line.partition("#")[2].strip().replace("|", "\\|")


def _aggregate_of(tag: str) -> str:
    return tag.partition(".")[0]


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(catalogue())
    elif PAGE.read_text() != catalogue():
        sys.exit("docs/events.md is not current: run `make event-catalogue`")
