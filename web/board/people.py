"""People and keys: the members of a company, its agents, and the keys of all of them."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from application.use_cases.board import sessions
from domain.board.access import READ_ONLY, USUAL
from domain.values import MemberRole
from web.board import conflicts, words
from web.board.api import ApiRefusal
from web.board.confirmations import Confirmation, pending_question
from web.board.conflicts import CONFLICT, Difference
from web.board.editing import budget_as_values, budget_of
from web.board.forms import Form
from web.board.routine import names_of_people
from web.board.visit import NEEDS, Visit

ASSIGNS = [("usual", "usual rights"), ("none", "may not assign work")]
LISTS = ("members", "agents", "keys", "own-keys")  # the lists of the page, of each of which the address has the place
KEEP_KEYS = ("keep_keys", "The keys of agents and of the collection that they issued here stay good")
ROLES = [(role, role) for role in get_args(MemberRole)]
BASE = "/board/companies/{company_id:str}/people"
Json = Mapping[str, Any]


@get(BASE, operation_id="boardPeople")
async def people(visit: NamedDependency[Visit]) -> Response[Any]:
    """Show the members, the agents, the company's keys to those who manage them, and the reader's own."""
    return await _show_page(visit, {}, {})


async def _show_page(
    visit: Visit,
    values: Mapping[str, str],
    errors: Mapping[str, str],
    theirs: Sequence[Difference] = (),
    subject: str = "",
) -> Response[Any]:
    members, agents, own_keys = [
        await visit.listed("people", name, path, is_shown)
        for name, path, is_shown in (
            ("members", visit.api_path("members"), None),
            ("agents", visit.api_path("agents"), None),
            ("own-keys", "/board-api-keys", lambda key: _is_of_interest(visit, key)),
        )
    ]
    company_keys = await visit.listed("people", "keys", visit.api_path("keys")) if visit.rights.manage else None
    issuers = [{"createdByUserId": key["issuedByUserId"]} for key in company_keys.rows] if company_keys else []
    return visit.show(
        "people.html",
        status=CONFLICT if theirs else 422 if errors else 200,
        here="people",
        members=[_with_base(one, _as_values(one)) for one in members.rows],
        agents=[_with_base(one, budget_as_values(one["budget"])) for one in agents.rows],
        lists={"members": members, "agents": agents, "keys": company_keys, "own-keys": own_keys},
        place=visit.parameters(LISTS),
        names=await names_of_people(visit, issuers),
        agent_names=await visit.names("agents") if company_keys else {},
        theirs=conflicts.in_words(theirs, {"assigns": ASSIGNS}),
        subject=subject,
        roles=[role for role in ROLES if role[0] != "owner" or visit.rights.manage_owners],
        assigns=ASSIGNS,
        read_only=READ_ONLY,
        values=values,
        errors=errors,
    )


def _with_base(item: Json, values: Mapping[str, str]) -> Json:
    """Return a member or an agent with the fields of its form, and with the digest that the form carries."""
    return {**item, **values, "base": conflicts.base_of(values)}


def _as_values(member: Json) -> dict[str, str]:
    """Return a member as the fields of their form have it."""
    role = member["membershipRole"]
    return {"role": role, "assigns": "usual" if role in READ_ONLY or member["permissions"] else "none"}


def _is_of_interest(visit: Visit, key: Json) -> bool:
    """Return whether a key is shown: all but sessions and links that have ended, of which there are many."""
    expires_at = words.parse(key["expiresAt"])
    has_ended = key["revokedAt"] is not None or (expires_at is not None and expires_at <= visit.now)
    return not has_ended or key["name"] not in (sessions.SESSION_NAME, sessions.LINK_NAME)


@post(f"{BASE}/members", operation_id="boardAddMember", opt={NEEDS: "manage"})
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
        return await _show_page(visit, values, {f"member_{name}": text for name, text in refusal.by_field().items()})
    return _show_token(visit, f"The first board key of {form.text('name')}", member["token"])


@post(f"{BASE}/members/{{user_id:str}}", operation_id="boardChangeMember", opt={NEEDS: "manage"})
async def change_member(visit: NamedDependency[Visit], user_id: FromPath[str]) -> Response[Any]:
    """Change the role and the rights of a member, both versions shown if others have; remove them; make a key for them."""
    form, position = visit.form, await visit.position()
    path = visit.api_path("members", user_id)
    if form.has("remove"):
        return await _remove_member(visit, user_id, path)
    if form.has("key"):
        key = await visit.api.post(f"{path}/keys")
        return _show_token(visit, "A further board key of the member", key["token"])
    role, assigns = form.text("role"), form.one_of("assigns", [key for key, _ in ASSIGNS])
    body = {
        "membershipRole": role,
        "permissions": USUAL if role not in READ_ONLY and assigns == "usual" else (),
    }
    values, errors = {"role": role, "assigns": assigns}, dict[str, str]()
    member = await _member(visit, user_id)
    present = _as_values(member)
    theirs = conflicts.differences(form, values, present)
    if not theirs:
        if member["permissions"] and not body["permissions"]:
            title, back = f"Take the right to assign work from {member['name']}?", _place(visit)
            consequence = "They issue no more keys, and the keys of agents and of the collection that they issued here are revoked."
            confirmation = Confirmation(title, consequence, "Take it", back, choice=KEEP_KEYS)
            if (question := pending_question(visit, confirmation)) is not None:
                return question
        try:
            with visit.api.unchanged_since(position):
                await visit.api.patch(path, body, _which_keys(form))
        except ApiRefusal as refusal:
            errors = {"": "; ".join(refusal.by_field().values())}
        else:
            return _back(visit, "member")
    values["base"] = conflicts.base_after(form, theirs, present)
    field_values = {f"{user_id}.{name}": value for name, value in values.items()}
    field_errors = {f"{user_id}.{name}": text for name, text in errors.items()}
    return await _show_page(visit, field_values, field_errors, theirs, member["name"])


async def _remove_member(visit: Visit, user_id: str, path: str) -> Response[Any]:
    member = await _member(visit, user_id)
    consequence = (
        "They may do nothing in the company from then on; the keys of agents and of the collection that they issued here "
        "are revoked with it. They can be added again."
    )
    title = f"Remove {member['name']} from the members?"
    confirmation = Confirmation(title, consequence, "Remove them", _place(visit), choice=KEEP_KEYS)
    if (question := pending_question(visit, confirmation)) is not None:
        return question
    try:
        await visit.api.delete(path, _which_keys(visit.form))
    except ApiRefusal as refusal:
        return await _show_page(visit, {}, {f"{user_id}.": "; ".join(refusal.by_field().values())})
    return _back(visit, "removed")


def _which_keys(form: Form) -> dict[str, str]:
    """Return what the API is told of the keys that a member has issued; they are revoked unless it is told so."""
    return {"revokeKeys": "false"} if form.has(KEEP_KEYS[0]) else {}


async def _member(visit: Visit, user_id: str) -> Json:
    """Return a member of the company. Raise ApiRefusal for somebody who is none."""
    path = visit.api_path("members")
    return await visit.one_of(path, lambda member: member["userId"] == user_id.lower(), "Member not found")


@post(f"{BASE}/agents", operation_id="boardAddAgent")
async def add_agent(visit: NamedDependency[Visit]) -> Response[Any]:
    """Create an agent."""
    form = visit.form
    try:
        await visit.api.post(visit.api_path("agents"), {"name": form.text("name")})
    except ApiRefusal as refusal:
        return await _show_page(
            visit,
            {"agent": form.text("name")},
            {f"agent_{name or 'name'}": text for name, text in refusal.by_field().items()},
        )
    return visit.go("people", done="added")


@post(f"{BASE}/agents/{{agent_id:str}}", operation_id="boardChangeAgent")
async def change_agent(visit: NamedDependency[Visit], agent_id: FromPath[str]) -> Response[Any]:
    """Pause or resume an agent, bound what its runs may cost, or make a key for it and show that, once."""
    form, position = visit.form, await visit.position()
    action = form.one_of("action", ("budget", "key", "pause", "resume"))
    agent = await visit.own("agents", agent_id)
    if action == "budget":
        return await _change_budget(visit, agent, position)
    if action == "key":
        key = await visit.api.post(f"/agents/{agent_id}/keys", {})
        return _show_token(visit, "A key of the agent", key["token"])
    await visit.api.post(f"/agents/{agent_id}/{action}", {"reason": "manual"} if action == "pause" else None)
    return _back(visit, "agent")


async def _change_budget(visit: Visit, agent: Json, position: int) -> Response[Any]:
    form, errors, id_ = visit.form, dict[str, str](), agent["id"]
    budget, values = budget_of(form, errors), {name: form.text(name) for name in ("maxCost", "windowSec")}
    present = budget_as_values(agent["budget"])
    theirs = conflicts.differences(form, values, present)
    if not errors and not theirs:
        try:
            with visit.api.unchanged_since(position):
                await visit.api.patch(f"/agents/{id_}", {"budget": budget})
        except ApiRefusal as refusal:
            errors = {name.removeprefix("budget."): message for name, message in refusal.by_field().items()}
            errors = {"maxCost" if name == "maxCostMicros" else name: message for name, message in errors.items()}
        else:
            return _back(visit, "agent")
    values["base"] = conflicts.base_after(form, theirs, present)
    field_values = {f"{id_}.{name}": value for name, value in values.items()}
    field_errors = {f"{id_}.{name}": message for name, message in errors.items()}
    return await _show_page(visit, field_values, field_errors, theirs, agent["name"])


@post(f"{BASE}/keys", operation_id="boardCreateKey")
async def create_key(visit: NamedDependency[Visit]) -> Response[Any]:
    """Make a further key of the reader and show it, once."""
    form = visit.form
    try:
        key = await visit.api.post("/board-api-keys", {"name": form.text("name")})
    except ApiRefusal as refusal:
        return await _show_page(
            visit,
            {"key": form.text("name")},
            {f"key_{name or 'name'}": text for name, text in refusal.by_field().items()},
        )
    return _show_token(visit, f"Your key “{key['name']}”", key["token"])


@post(f"{BASE}/keys/{{key_id:str}}/revoke", operation_id="boardRevokeKey")
async def revoke_key(visit: NamedDependency[Visit], key_id: FromPath[str]) -> Response[Any]:
    """Revoke a key of the reader, or of the company."""
    form = visit.form
    is_own = form.has("own")
    is_this_session = visit.user is not None and visit.user.key_id == key_id
    whose = "You are signed out then. " if is_this_session else ""
    consequence = (
        f"{whose}Whoever uses it is refused from then on. A key cannot be brought back, only replaced by a new one."
    )
    title = f"Revoke the key “{await _key_name(visit, key_id, is_own=is_own)}”?"
    if (question := pending_question(visit, Confirmation(title, consequence, "Revoke it", _place(visit)))) is not None:
        return question
    await visit.api.delete(f"/board-api-keys/{key_id}" if is_own else visit.api_path("keys", key_id))
    return _back(visit, "revoked")


def _place(visit: Visit) -> str:
    """Return the address of the page with the parts of its lists from which the reader came."""
    return visit.path("people", query=visit.parameters(LISTS))


def _back(visit: Visit, done: str) -> Response[Any]:
    return visit.go("people", done=done, **visit.parameters(LISTS))


async def _key_name(visit: Visit, key_id: str, *, is_own: bool) -> str:
    """Return the name of a key of the reader, or of the company. Raise ApiRefusal for any other."""
    path = "/board-api-keys" if is_own else visit.api_path("keys")
    return str((await visit.one_of(path, lambda key: key["id"] == key_id.lower(), "Key not found"))["name"])


def _show_token(visit: Visit, title: str, token: str | None) -> Response[Any]:
    if token is None:
        return visit.go("people", done="added")
    return visit.show("token.html", here="people", title=title, token=token)
