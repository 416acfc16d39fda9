"""Collections, their environment, and API keys (Jetty contract 7)."""

from functools import partial
from typing import Any

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody

from application.access import BoardUser, Caller, Principal
from application.jetty_request_bodies import ApiKeyCreate, CollectionCreate, EnvironmentChange
from application.use_cases import read_access
from application.use_cases.jetty import collections as use_cases
from domain.errors import NotFound
from projections.engine.read_model import Connection, Part
from projections.jetty import collections
from projections.jetty.responses import ApiKey, Collection, CollectionEnvironment, NewApiKey
from web.http.backend import Backend
from web.http.errors import RESPONSES
from web.http.paging import NEXT, Paging, cursor_only, read_page
from web.http.requests import identified
from web.jetty.responses import Message
from web.jetty.routing import delete, get, patch, post
from web.paperclip.keys import check_expiry

MODELS = ("collections",)


class Collections(Controller):
    path = "/collections"
    tags = ("collections",)
    dependencies = {"paging": Provide(cursor_only)}

    @get(operation_id="listCollections", response_headers=NEXT)
    def list_(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], paging: NamedDependency[Paging]
    ) -> Response[list[Collection]]:
        """The one of a key; for board users, those of their companies."""
        principal = backend.authorize(caller, read_access.anyone)
        read = partial(_visible, principal=principal)
        return read_page(backend, paging, "collections", (*MODELS, "directory"), read, shape=int)

    @post(operation_id="createCollection", status_code=200, opt={"taken": 400})
    def create(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], data: JSONBody[CollectionCreate]
    ) -> Response[Collection]:
        """A company that is known by this name. For instance admins."""
        changed = backend.change(caller, MODELS, use_cases.create, data)
        return changed.answer(lambda conn: collections.one(conn, changed.result))

    @get("/{collection:str}", operation_id="getCollection")
    def detail(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], collection: FromPath[str]
    ) -> Collection:
        company_id = backend.authorize(caller, use_cases.enter, collection)
        with backend.consistent_read(*MODELS) as conn:
            if (found := collections.one(conn, company_id)) is None:
                raise NotFound
            return found

    @get("/{collection:str}/environment", operation_id="getEnvironment")
    def environment(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], collection: FromPath[str]
    ) -> CollectionEnvironment:
        """The names of its variables; their values are told to workers only."""
        company_id = backend.authorize(caller, use_cases.enter, collection)
        with backend.consistent_read(*MODELS) as conn:
            if (found := collections.environment(conn, company_id)) is None:
                raise NotFound
            return found

    @patch("/{collection:str}/environment", operation_id="updateEnvironment")
    def change_environment(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        collection: FromPath[str],
        data: JSONBody[EnvironmentChange],
    ) -> Response[CollectionEnvironment]:
        """
        Merges; null deletes a variable, or all of them.

        A name is up to 128 letters, digits and underscores, and begins with no digit. Our worker gives its command no
        variable that programs take for an order (PATH, LD_PRELOAD, NODE_OPTIONS ...), unless its operator allows it.
        """
        changed = backend.change(caller, MODELS, use_cases.change_environment, collection, data)
        return changed.answer(lambda conn: collections.environment(conn, changed.result))


class ApiKeys(Controller):
    path = "/api-keys"
    tags = ("api keys",)
    dependencies = {"paging": Provide(cursor_only)}

    @post(operation_id="createApiKey", status_code=200)
    def create(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], data: JSONBody[ApiKeyCreate]
    ) -> Response[NewApiKey]:
        """
        A key that is bound to one collection; it is shown here and never again. For board users.

        It is good for as long as the key that asks for it, or until `expires_at` (null: for ever), and never for
        longer than the key that asks (ours).
        """
        check_expiry(data.expires_at, "expires_at", backend.executor.clock())
        changed = backend.change(caller, MODELS, use_cases.create_key, data)
        shown = changed.answer(lambda conn: collections.key(conn, changed.result.key_id))
        key = NewApiKey(
            **{name: getattr(shown.content, name) for name in ApiKey.__struct_fields__}, api_key=changed.result.token
        )
        return Response(key, headers=shown.headers)

    @get(
        "/collection/{collection:str}",
        operation_id="listApiKeys",
        responses={403: RESPONSES[403]},
        response_headers=NEXT,
    )
    def list_(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        paging: NamedDependency[Paging],
        collection: FromPath[str],
    ) -> Response[list[ApiKey]]:
        """Newest first, without the keys themselves. For board users."""
        company_id = backend.authorize(caller, use_cases.may_list_keys, collection)
        read = partial(collections.keys, company_id=company_id)
        return read_page(backend, paging, f"keys of {company_id}", MODELS, read)

    @delete("/collection/{collection:str}/{key_id:str}", operation_id="revokeApiKey", status_code=200)
    def revoke(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        collection: FromPath[str],
        key_id: FromPath[str],
    ) -> Message:
        """The key is unknown from the next request on (ours)."""
        backend.executor.execute(caller, use_cases.revoke_key, collection, identified(key_id, "Key"))
        return Message(message="API key revoked")


def _visible(conn: Connection, principal: Principal, **page: Any) -> Part[Collection]:
    if (own := use_cases.own(principal)) is not None:
        return Part(found for found in [collections.one(conn, own)] if found is not None)
    if use_cases.is_admin(principal):
        return collections.every(conn, **page)
    return collections.of_user(conn, principal.user_id, **page) if isinstance(principal, BoardUser) else Part()
