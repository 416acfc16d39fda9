"""The environment of the company: variables by name, whose values only workers and agents get."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency

from domain.disclosure import MASK
from domain.jetty import environment
from web.board.api import ApiRefusal
from web.board.confirmations import Confirmation, pending_question
from web.board.tasks import BASE, collection_of, not_repeated
from web.board.visit import NEEDS, Visit


@get(f"{BASE}/variables", operation_id="boardVariables")
async def variables(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the names of the company's variables."""
    return await _show_page(visit, {}, {})


@post(f"{BASE}/variables", operation_id="boardChangeVariables", opt={NEEDS: "administer"})
async def change(visit: NamedDependency[Visit]) -> Response[Any]:
    """Set the value of a variable, or delete one."""
    form, collection = visit.form, await collection_of(visit)
    is_deletion = form.has("delete")
    consequence = "Work that begins from now on does not get it, and its value cannot be brought back."
    title = f"Delete the variable “{form.text('delete')}”?"
    confirmation = Confirmation(title, consequence, "Delete it", visit.path("variables"))
    if is_deletion and (question := pending_question(visit, confirmation)) is not None:
        return question
    name = form.text("delete") if is_deletion else form.text("name").strip()
    value = None if is_deletion else form.text("secret_value")
    errors = {} if is_deletion else _find_errors(name, value or "")
    if not errors:
        try:
            await visit.api.patch(collection.of("collections") + "/environment", {environment.FIELD: {name: value}})
        except ApiRefusal as refusal:
            if refusal.status in (401, 403, 404):
                raise
            errors = {"name": "; ".join(refusal.by_field().values())}
        else:
            return visit.go("variables", done="environment")
    return await _show_page(visit, {"name": name}, errors | not_repeated(form, ("secret_value",), errors))


def _find_errors(name: str, value: str) -> dict[str, str]:
    """Return what is missing: a mask would keep the present value, and so change nothing."""
    missing = {} if name else {"name": "This has to be filled in."}
    return missing | ({"secret_value": "This would keep the present value."} if value == MASK else {})


async def _show_page(visit: Visit, values: Mapping[str, str], errors: Mapping[str, str]) -> Response[Any]:
    return visit.show(
        "variables.html",
        status=422 if errors else 200,
        here="variables",
        names=await names_of(visit),
        values=values,
        errors=errors,
    )


async def names_of(visit: Visit) -> list[str]:
    """Return the names of the company's variables."""
    collection = await collection_of(visit)
    answer = await visit.api.get(collection.of("collections") + "/environment")
    return sorted(answer["environment_variables"])
