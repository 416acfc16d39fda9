"""The routes of collections, their environment, and API keys (Jetty contract 7)."""

from functools import partial
from typing import Any

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody

from application.access import BoardUser, Caller, Principal
from application.request_bodies.jetty import ApiKeyCreate, CollectionCreate, EnvironmentChange
from application.use_cases import read_access
from application.use_cases.jetty import collections as use_cases
from domain.errors import NotFound
from projections.engine.documents import Part
from projections.engine.table import Connection
from projections.jetty import collections
from projections.jetty.responses import ApiKey, Collection, CollectionEnvironment, NewApiKey
from web.http.backend import Backend
from web.http.errors import RESPONSES
from web.http.media_types import JSON
from web.http.paging import NEXT, Paging, cursor_only, read_page
from web.http.path_ids import KeyId
from web.http.validation import must_be_future
from web.jetty.responses import Message
from web.jetty.routing import delete, get, patch, post

MODELS = ("collections",)
ONLY_JSON = {"media_types": (JSON,)}  # generated clients do not take a required body in two types


class Collections(Controller):
    """Collections, which are companies that have a name, and their environment variables."""

    path = "/collections"
    tags = ("collections",)
    dependencies = {"paging": Provide(cursor_only)}

    @get(operation_id="listCollections", response_headers=NEXT)
    def list_(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], paging: NamedDependency[Paging]
    ) -> Response[list[Collection]]:
        """Returns the collection of the key; for board users, those of their companies."""
        principal = backend.authorize(caller, read_access.anyone)
        read = partial(_visible_collections, principal=principal)
        return read_page(backend, paging, "collections", (*MODELS, "directory"), read)

    @post(operation_id="createCollection", status_code=200, opt={"taken": 400})
    def create(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], data: JSONBody[CollectionCreate]
    ) -> Response[Collection]:
        """Creates a collection, which is a company that is known by this name. Only instance admins may do this."""
        changed = backend.change(caller, MODELS, use_cases.create, data)
        return changed.answer(lambda conn: collections.one(conn, changed.result))

    @get("/{collection:str}", operation_id="getCollection")
    def detail(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], collection: FromPath[str]
    ) -> Collection:
        """Returns the collection."""
        company_id = backend.authorize(caller, use_cases.enter, collection)
        with backend.consistent_read(*MODELS) as conn:
            if (resource := collections.one(conn, company_id)) is None:
                raise NotFound
            return resource

    @get("/{collection:str}/environment", operation_id="getEnvironment")
    def environment(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], collection: FromPath[str]
    ) -> CollectionEnvironment:
        """Returns the names of the collection's variables. Only workers get their values."""
        company_id = backend.authorize(caller, use_cases.enter, collection)
        with backend.consistent_read(*MODELS) as conn:
            if (resource := collections.environment(conn, company_id)) is None:
                raise NotFound
            return resource

    @patch("/{collection:str}/environment", operation_id="updateEnvironment", opt=ONLY_JSON)
    def change_environment(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        collection: FromPath[str],
        data: JSONBody[EnvironmentChange],
    ) -> Response[CollectionEnvironment]:
        """
        Merges these variables with the existing ones. A variable that is null is deleted; null instead of the
        variables deletes all of them.

        A name has up to 128 letters, digits and underscores, and does not begin with a digit. Our worker does not pass
        on variables that change how programs run (PATH, LD_PRELOAD, NODE_OPTIONS ...), unless its operator allows it.
        """
        changed = backend.change(caller, MODELS, use_cases.change_environment, collection, data)
        return changed.answer(lambda conn: collections.environment(conn, changed.result))


class ApiKeys(Controller):
    """API keys, each of which is bound to one collection."""

    path = "/api-keys"
    tags = ("api keys",)
    dependencies = {"paging": Provide(cursor_only)}

    @post(operation_id="createApiKey", status_code=200, responses={404: RESPONSES[404]})
    def create(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], data: JSONBody[ApiKeyCreate]
    ) -> Response[NewApiKey]:
        """
        Issues a key that is bound to one collection. It is shown in this answer and never again. Only board users may
        do this.

        It is valid for as long as the key that requests it, or until `expires_at` (null: for ever), and never for
        longer than the key that requests it (our addition).
        """
        now = backend.executor.clock()
        must_be_future(data.expires_at, "expires_at", now)
        changed = backend.change(caller, MODELS, use_cases.create_key, data)
        answer = changed.answer(lambda conn: collections.key(conn, changed.result.key_id, now))
        key = NewApiKey(
            **{name: getattr(answer.content, name) for name in ApiKey.__struct_fields__}, api_key=changed.result.token
        )
        return Response(key, headers=answer.headers)

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
        """Returns the keys of the collection, newest first, without their secrets. Only board users may do this."""
        company_id = backend.authorize(caller, use_cases.may_list_keys, collection)
        read = partial(collections.keys, company_id=company_id, now=backend.executor.clock())
        return read_page(backend, paging, f"keys of {company_id}", MODELS, read, newest_first=True)

    @delete("/collection/{collection:str}/{key_id:str}", operation_id="revokeApiKey", status_code=200)
    def revoke(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        collection: FromPath[str],
        key_id: FromPath[KeyId],
    ) -> Message:
        """Revokes the key, which is unknown from the next request on (our addition)."""
        backend.executor.execute(caller, use_cases.revoke_key, collection, key_id)
        return Message(message="API key revoked")


def _visible_collections(conn: Connection, principal: Principal, **page: Any) -> Part[Collection]:
    if (own := use_cases.own_company(principal)) is not None:
        return Part(collection for collection in [collections.one(conn, own)] if collection is not None)
    if use_cases.is_admin(principal):
        return collections.all_collections(conn, **page)
    return collections.of_user(conn, principal.user_id, **page) if isinstance(principal, BoardUser) else Part()
