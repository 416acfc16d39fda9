"""
The arguments of handlers and of what they depend on, worked out from the framework's model when a route is made.

For each request the framework converts all arguments of each function to their types, resolves dependencies in task
groups, and keeps a stack of what is to be cleaned up. Ours need little of that: a dependency gives what its annotation
says, a body was read as its type, and the text of a header or of a query stays as it is. Only the ids of paths are made
from texts. A signature with anything else is left to the framework.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar._signature.model import MSGSPEC_CONSTRAINT_FIELDS as BOUNDS
from litestar.di import Dependency, Provide
from litestar.typing import FieldDefinition

from web.http.path_ids import PathId

TEXTS = (str, str | None)
RESERVED = ("data", "request")  # names of the framework: the body, which our requests read as its type, and the request
Extract = Callable[[dict[str, Any], Any], Any]


def provide_always(**values: object) -> dict[str, Provide]:
    """Return the dependencies by which handlers get these values at each request, by their names."""
    return {name: Provide(_make_constant(value)) for name, value in values.items()}


def _make_constant(value: object) -> Callable[[], Awaitable[Any]]:
    async def provide() -> Any:
        return value

    return provide


def work_out(model: Any, signature: Any) -> Any:
    """Return the model of a handler's arguments with the short ways in it. `signature` is the handler's."""
    dependencies = [one for batch in model.dependency_batches for one in batch]
    _shorten_signature(signature)
    for one in dependencies:
        _shorten_signature(one.provide.signature_model)
    if dependencies and not any(map(_is_special, dependencies)):
        model.extractors = [*model.extractors, _make_provider(dependencies)]
        model.dependency_batches = []
    return model


def _is_special(dependency: Any) -> bool:
    """Return whether the framework has to do more for a dependency than to await it."""
    provide = dependency.provide
    return bool(
        provide.has_sync_callable
        or provide.use_cache
        or provide.has_sync_generator_dependency
        or provide.has_async_generator_dependency
    )


def _make_provider(dependencies: list[Any]) -> Extract:
    """Return what adds the dependencies to the arguments, one after the other: none of ours waits for anything."""
    provided = [(one.key, one.provide.dependency, one.provide.signature_model) for one in dependencies]

    async def provide_all(values: dict[str, Any], connection: Any) -> None:
        for key, provide, signature in provided:
            arguments = signature.parse_values_from_connection_kwargs(connection=connection, kwargs=values)
            values[key] = await provide(**arguments)

    return provide_all


def _shorten_signature(signature: Any) -> None:
    """Let the values of a signature pass as they are, except for ids, if there is nothing to convert in it."""
    fields: dict[str, FieldDefinition] = signature._fields
    names = tuple(fields)
    ids = [(name, field.annotation) for name, field in fields.items() if field.is_subclass_of(PathId)]
    if not all(name in RESERVED or _is_plain(field) for name, field in fields.items()):
        return

    def pick(connection: Any, kwargs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 the framework passes it
        values = {name: kwargs[name] for name in names}
        for name, kind in ids:
            values[name] = kind(values[name])
        return values

    signature.parse_values_from_connection_kwargs = pick


def _is_plain(field: FieldDefinition) -> bool:
    """Return whether a field is an id of a path, or its value has its type already."""
    if any(isinstance(mark, Dependency) for mark in field.metadata):
        return not field.has_default
    if any(getattr(field.kwarg_definition, bound, None) is not None for bound in BOUNDS):
        return False
    return field.annotation in TEXTS or field.is_subclass_of(PathId)
