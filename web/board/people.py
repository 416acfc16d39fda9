"""People and keys: the members of a company, its agents, and the keys of all of them."""

from collections.abc import Mapping
from typing import Any, get_args

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from application.use_cases.board import sessions
from domain.board.access import READ_ONLY, USUAL
from domain.values import MemberRole
from web.board import words
from web.board.api import ApiRefusal
from web.board.editing import budget_as_values, budget_of
from web.board.visit import Visit

ASSIGNS = [("usual", "usual rights"), ("none", "may not assign work")]
ROLES = [(role, role) for role in get_args(MemberRole)]
BASE = "/board/companies/{company_id:str}/people"
Json = Mapping[str, Any]


@get(BASE, operation_id="boardPeople")
async def people(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the members, the agents, the company's keys to those who manage them, and the reader's own."""
    return await _page(visit, {}, {})


async def _page(visit: Visit, values: Mapping[str, str], errors: Mapping[str, str]) -> Response[Any]:
    members = await visit.api.get(visit.api_path("members"))
    return visit.show(
        "people.html",
        status=422 if errors else 200,
        here="people",
        members=members,
        agents=[
            {**agent, **budget_as_values(agent["budget"])} for agent in await visit.api.get(visit.api_path("agents"))
        ],
        company_keys=await visit.api.get(visit.api_path("keys")) if visit.rights.manage else [],
        own_keys=[key for key in await visit.api.get("/board-api-keys") if _is_of_interest(visit, key)],
        names={member["userId"]: member["name"] for member in members},
        roles=[role for role in ROLES if role[0] != "owner" or visit.rights.manage_owners],
        assigns=ASSIGNS,
        read_only=READ_ONLY,
        values=values,
        errors=errors,
    )


def _is_of_interest(visit: Visit, key: Json) -> bool:
    """Return whether a key is shown: all but sessions and links that have ended, of which there are many."""
    expires_at = words.parse(key["expiresAt"])
    has_ended = key["revokedAt"] is not None or (expires_at is not None and expires_at <= visit.now)
    return not has_ended or key["name"] not in (sessions.SESSION_NAME, sessions.LINK_NAME)


@post(f"{BASE}/members", operation_id="boardAddMember")
async def add_member(visit: NamedDependency[Visit]) -> Response[Any]:
    """Add a new user as a member and show their first key, once."""
    form = visit.form
    body = {"name": form.given("name"), "membershipRole": form.text("role")} | (
        {"email": form.given("email")} if form.given("email") else {}
    )
    try:
        member = await visit.api.post(visit.api_path("members"), body)
    except ApiRefusal as refusal:
        values = {name: form.text(name) for name in ("name", "email", "role")}
        return await _page(visit, values, {f"member_{name}": text for name, text in refusal.by_field().items()})
    return _token(visit, f"The first board key of {form.text('name')}", member["token"])


@post(f"{BASE}/members/{{user_id:str}}", operation_id="boardChangeMember")
async def change_member(visit: NamedDependency[Visit], user_id: FromPath[str]) -> Response[Any]:
    """Change the role and the permissions of a member, or remove them."""
    form = visit.form
    path = visit.api_path("members", user_id)
    if form.has("remove"):
        await visit.api.delete(path)
        return visit.go("people", done="removed")
    body: dict[str, Any] = {"membershipRole": (role := form.text("role"))}
    if form.has("assigns"):
        may_assign = role not in READ_ONLY and form.one_of("assigns", [key for key, _ in ASSIGNS]) == "usual"
        body["permissions"] = USUAL if may_assign else ()
    await visit.api.patch(path, body)
    return visit.go("people", done="member")


@post(f"{BASE}/agents", operation_id="boardAddAgent")
async def add_agent(visit: NamedDependency[Visit]) -> Response[Any]:
    """Create an agent."""
    form = visit.form
    try:
        await visit.api.post(visit.api_path("agents"), {"name": form.text("name")})
    except ApiRefusal as refusal:
        return await _page(
            visit, {"agent": form.text("name")}, {f"agent_{name}": text for name, text in refusal.by_field().items()}
        )
    return visit.go("people", done="added")


@post(f"{BASE}/agents/{{agent_id:str}}", operation_id="boardChangeAgent")
async def change_agent(visit: NamedDependency[Visit], agent_id: FromPath[str]) -> Response[Any]:
    """Pause or resume an agent, bound what its runs may cost, or make a key for it and show that, once."""
    form = visit.form
    action = form.one_of("action", ("budget", "key", "pause", "resume"))
    if action == "budget":
        return await _change_budget(visit, agent_id)
    if action == "key":
        key = await visit.api.post(f"/agents/{agent_id}/keys", {})
        return _token(visit, "A key of the agent", key["token"])
    await visit.api.post(f"/agents/{agent_id}/{action}", {"reason": "manual"} if action == "pause" else None)
    return visit.go("people", done="agent")


async def _change_budget(visit: Visit, agent_id: str) -> Response[Any]:
    form, errors = visit.form, dict[str, str]()
    budget = budget_of(form, errors)
    if not errors:
        try:
            await visit.api.patch(f"/agents/{agent_id}", {"budget": budget})
        except ApiRefusal as refusal:
            errors = {name.removeprefix("budget."): message for name, message in refusal.by_field().items()}
            errors = {"maxCost" if name == "maxCostMicros" else name: message for name, message in errors.items()}
        else:
            return visit.go("people", done="agent")
    typed = {f"{agent_id}.{name}": form.text(name) for name in ("maxCost", "windowSec")}
    return await _page(visit, typed, {f"{agent_id}.{name}": message for name, message in errors.items()})


@post(f"{BASE}/keys", operation_id="boardCreateKey")
async def create_key(visit: NamedDependency[Visit]) -> Response[Any]:
    """Make a further key of the reader and show it, once."""
    form = visit.form
    try:
        key = await visit.api.post("/board-api-keys", {"name": form.text("name")})
    except ApiRefusal as refusal:
        return await _page(
            visit, {"key": form.text("name")}, {f"key_{name}": text for name, text in refusal.by_field().items()}
        )
    return _token(visit, f"Your key “{key['name']}”", key["token"])


@post(f"{BASE}/keys/{{key_id:str}}/revoke", operation_id="boardRevokeKey")
async def revoke_key(visit: NamedDependency[Visit], key_id: FromPath[str]) -> Response[Any]:
    """Revoke a key of the reader, or of the company."""
    form = visit.form
    is_own = form.has("own")
    await visit.api.delete(f"/board-api-keys/{key_id}" if is_own else visit.api_path("keys", key_id))
    return visit.go("people", done="revoked")


def _token(visit: Visit, title: str, token: str | None) -> Response[Any]:
    if token is None:
        return visit.go("people", done="added")
    return visit.show("token.html", here="people", title=title, token=token)
