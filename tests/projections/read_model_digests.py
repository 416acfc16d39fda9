"""
A digest of what each read model's rows are made by, kept beside its version in `read_model_digests.json`.

`make read-model-digests` writes the file anew. The digest is over the syntax trees of the read model's definition and of
all definitions of `projections` and `domain` that it names, directly or through each other: folds, rows, documents,
values, events. It does not change with docstrings, comments, layout, the names of functions, classes, constants and
variables, type annotations of functions, or the module that something stands in. It does change with the name of a field.

It does not see what is not named: the read-model engine (the module of `ReadModel`), how events are decoded, methods of
objects whose class nothing names, what Postgres and libraries do. Whoever changes these in a way that makes other rows
raises the versions by hand.
"""

import ast
import builtins
import hashlib
import importlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from projections import catalogue
from projections.engine.documents import Docs
from projections.engine.read_model import ReadModel
from projections.engine.rows import Rows
from projections.engine.table import Row, Table

FILE = Path(__file__).with_suffix(".json")
OURS = ("domain", "projections")
ENGINE = {kind.__module__ for kind in (ReadModel, Table, Row, Rows, Docs)}
IGNORED_FIELDS = {"ctx", "kind", "type_comment", "type_params", "returns"}
Definition = tuple[str, str]  # module and name


def digests() -> dict[str, dict[str, Any]]:
    """Version and digest of each read model, by name."""
    entries = {}
    for module_name, name in _definitions_of_read_models():
        model: ReadModel = getattr(importlib.import_module(module_name), name)
        entries[model.name] = {"version": model.version, "digest": Tree((module_name, name)).digest()}
    return dict(sorted(entries.items()))


def _definitions_of_read_models() -> Iterator[Definition]:
    for name, value in vars(catalogue).items():
        if isinstance(value, ReadModel) and value in catalogue.ALL:
            yield _find_origin(catalogue.__name__, name)


class Tree:
    """A definition and all that it names, as text in which names of ours and of variables are numbered."""

    def __init__(self, root: Definition) -> None:
        self._numbers = {root: 0}
        self._texts: list[str] = []
        waiting = [root]
        for definition in waiting:
            self._texts.append(Text(definition, self._number).text)
            waiting += list(self._numbers)[len(waiting) :]

    def digest(self) -> str:
        return hashlib.sha256("\n".join(self._texts).encode()).hexdigest()[:16]

    def _number(self, definition: Definition) -> int:
        return self._numbers.setdefault(definition, len(self._numbers))


class Text:
    """One definition as text. The version is left out of the first, the read model's own."""

    def __init__(self, definition: Definition, number: Callable[[Definition], int]) -> None:
        self._module, _ = definition
        self._number = number
        self._is_read_model = number(definition) == 0
        self._variables: dict[str, int] = {}
        self._depth = 0  # of functions within each other
        self.text = " ".join(part for node in _nodes_of(*definition) for part in self._write_parts(node, is_top=True))

    def _write_parts(self, node: Any, *, is_top: bool = False) -> Iterator[str]:
        match node:
            case list():
                yield f"[{' '.join(part for item in node for part in self._write_parts(item))}]"
            case ast.Name(id=name, ctx=ast.Store()) if self._depth:
                yield self._write_variable(name)
            case ast.arg(arg=name):
                yield self._write_variable(name)
            case ast.Name(id=name):
                yield self._write_name(name)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if module := self._module_of(name):
                yield self._write_reference((module, attribute))
            case ast.AST():
                is_function = isinstance(node, ast.FunctionDef | ast.Lambda | ast.AsyncFunctionDef)
                self._depth += is_function
                fields = [
                    (name, *self._write_field(node, name, value))
                    for name, value in self._fields_that_count(node, is_top=is_top)
                ]
                self._depth -= is_function
                yield f"({type(node).__name__} {' '.join(part for field in fields for part in field)})"
            case _:
                yield repr(node)

    def _write_field(self, node: ast.AST, name: str, value: Any) -> Iterator[str]:
        is_capture = isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler) and name == "name"
        return iter([self._write_variable(value)]) if is_capture else self._write_parts(value)

    def _fields_that_count(self, node: ast.AST, *, is_top: bool) -> Iterator[tuple[str, Any]]:
        """What of a node makes rows: no docstring, no annotation of a function, no name of a definition, no version."""
        for name, value in ast.iter_fields(node):
            if name in IGNORED_FIELDS or value is None or value == []:
                continue
            if is_top and name in {"name", "target", "targets"}:
                continue
            if name == "body" and isinstance(value, list):
                yield name, [child for child in value if not _is_docstring(child)]
            elif name == "keywords" and self._is_read_model:
                yield name, [child for child in value if child.arg != "version"]
            else:
                yield name, value

    def _write_name(self, name: str) -> str:
        if name in self._variables:
            return self._write_variable(name)
        definition = _find_origin(self._module, name)
        if definition == (self._module, name) and name not in _top_level_statements(self._module):
            return name if _is_builtin(name) or not self._depth else self._write_variable(name)
        return self._write_reference(definition)

    def _write_reference(self, definition: Definition) -> str:
        definition = _find_origin(*definition) if _is_ours(definition) else definition
        if definition[0] in ENGINE:
            return "engine"
        return f"ours{self._number(definition)}" if _is_ours(definition) else ".".join(definition)

    def _module_of(self, name: str) -> str | None:
        """The module of ours that a name stands for."""
        if name in self._variables:
            return None
        dotted = ".".join(_find_origin(self._module, name))
        return dotted if dotted.split(".")[0] in OURS and dotted in sys.modules else None

    def _write_variable(self, name: str) -> str:
        return f"variable{self._variables.setdefault(name, len(self._variables))}"


def _is_ours(definition: Definition) -> bool:
    return definition[0].split(".")[0] in OURS


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_builtin(name: str) -> bool:
    return hasattr(builtins, name)


def _find_origin(module: str, name: str) -> Definition:
    """Where it is defined, through as many imports as there are."""
    node = _top_level_statements(module).get(name, [None])[0]
    if node is None:
        packed = (
            star.module
            for star in _top_level_statements(module).get("*", [])
            if isinstance(star, ast.ImportFrom) and star.module
        )
        return next(
            (_find_origin(inner, name) for inner in packed if name in _top_level_statements(inner)), (module, name)
        )
    if isinstance(node, ast.Import):
        alias = next(alias for alias in node.names if (alias.asname or alias.name) == name)
        return alias.name, ""
    if isinstance(node, ast.ImportFrom) and node.module:
        alias = next(alias for alias in node.names if (alias.asname or alias.name) == name)
        if node.module.split(".")[0] in OURS and f"{node.module}.{alias.name}" not in sys.modules:
            return _find_origin(node.module, alias.name)
        return node.module, alias.name
    return module, name


def _nodes_of(module: str, name: str) -> Iterable[ast.AST]:
    """The statements that define it; none where it is a whole module."""
    return _top_level_statements(module).get(name, [])


@cache
def _top_level_statements(module: str) -> dict[str, list[ast.AST]]:
    """The statements at the top of a module, by the names that they define."""
    file = importlib.import_module(module).__file__
    statements: dict[str, list[ast.AST]] = {}
    for node in ast.parse(Path(file or "").read_text()).body:
        for name in _defined_by(node):
            statements.setdefault(name, []).append(node)
    return statements


def _defined_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
            yield node.name
        case ast.ImportFrom() | ast.Import():
            yield from (alias.asname or alias.name for alias in node.names)
        case ast.Assign():
            yield from (name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.AugAssign(target=ast.Name(id=name)):
            yield name


def read_digests() -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = json.loads(FILE.read_text())
    return entries


if __name__ == "__main__":
    FILE.write_text(json.dumps(digests(), indent=2) + "\n")
