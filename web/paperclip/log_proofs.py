"""
The proofs of the log: signed checkpoints, the tiles of its Merkle trees, and the proof of one event (our addition).

They are served as C2SP's tlog-checkpoint, tlog-tiles and tlog-proof say, for verifiers that follow those: as texts and bytes,
below paths whose last part has several segments. OpenAPI has no words for such paths, so its description leaves them out;
docs/audit-proof.md names them.
"""

import re
from base64 import b64encode
from collections.abc import Callable
from threading import BoundedSemaphore
from typing import Any
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from application.access import Caller
from application.use_cases import log_proofs
from domain.errors import NotFound
from domain.proof.checkpoints import proof_text
from domain.proof.merkle import TILE_WIDTH
from projections.engine import positions
from projections.engine.positions import Lagging
from projections.engine.read_model import Connection
from projections.proof import log_tree
from projections.proof.log_tree import WHOLE_LOG, TreeState
from web.http.backend import Backend
from web.http.path_ids import CompanyId
from web.http.requests import parse_whole_number
from web.http.routing import get

TEXT, BYTES = "text/plain", "application/octet-stream"  # the framework says the charset of texts
TILE = re.compile(r"/(entries|0|[1-9]\d?)/((?:x\d{3}/)*\d{3})(?:\.p/([1-9]\d{0,2}))?", re.ASCII)
MOST_LEVEL, MOST_SEGMENTS = 63, 7
MOST_POSITION = 2**63 - 1
MOST_ENTRY = 2**16 - 1  # bytes
MOST_PLACE = 2**53  # that a tile may begin with
TREES = ("log_tree",)
FRESH_S = 5.0  # the longest wait for a fresh checkpoint
_WAITS = BoundedSemaphore(2)  # requests that may wait for one, so that threads stay for others
UNLISTED: Any = {"include_in_schema": False}


class WholeLogProofs(Controller):
    """The proofs of the whole log, for instance admins."""

    path = "/log"
    tags = ("log",)

    @get("/checkpoint", operation_id="getLogCheckpoint", media_type=TEXT, **UNLISTED)
    def checkpoint(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], fresh: FromQuery[bool] = False
    ) -> Response[str]:
        """Returns the newest checkpoint; with `fresh`, one that covers all that the log has held at the request."""
        backend.authorize(caller, log_proofs.may_prove_whole_log)
        return _text(_checkpoint(backend, WHOLE_LOG, fresh=fresh))

    @get("/key", operation_id="getLogKey", media_type=TEXT, **UNLISTED)
    def key(self, backend: NamedDependency[Backend], caller: NamedDependency[Caller]) -> Response[str]:
        """Returns the key by which checkpoints are verified."""
        backend.authorize(caller, log_proofs.may_prove_whole_log)
        return _text(_key(backend, WHOLE_LOG))

    @get("/tile/{tile:path}", operation_id="getLogTile", media_type=BYTES, **UNLISTED)
    def tile(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], tile: FromPath[str]
    ) -> Response[bytes]:
        """Returns a tile of hashes, or a bundle of entries."""
        backend.authorize(caller, log_proofs.may_prove_whole_log)
        return _bytes(_tile(backend, WHOLE_LOG, tile))

    @get("/proofs/{position:str}", operation_id="getLogProof", media_type=TEXT, **UNLISTED)
    def proof(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], position: FromPath[str]
    ) -> Response[str]:
        """Returns the proof that the event at a position is in the log of the newest checkpoint."""
        backend.authorize(caller, log_proofs.may_prove_whole_log)
        return _text(_proof(backend, WHOLE_LOG, position))

    @get("/consistency/{older:str}/{size:str}", operation_id="getLogConsistency", media_type=TEXT, **UNLISTED)
    def consistency(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        older: FromPath[str],
        size: FromPath[str],
    ) -> Response[str]:
        """Returns the proof that the log of a size begins with that of an older size, a hash a line."""
        backend.authorize(caller, log_proofs.may_prove_whole_log)
        return _text(_consistency(backend, WHOLE_LOG, older, size))


class CompanyLogProofs(Controller):
    """The proofs of a company's log, for its members."""

    path = "/companies/{company_id:str}/log"
    tags = ("log",)

    @get("/checkpoint", operation_id="getCompanyLogCheckpoint", media_type=TEXT, **UNLISTED)
    def checkpoint(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        fresh: FromQuery[bool] = False,
    ) -> Response[str]:
        """Returns the newest checkpoint; with `fresh`, one that covers all that the log has held at the request."""
        backend.authorize(caller, log_proofs.may_prove_log_of, company_id)
        return _text(_checkpoint(backend, company_id, fresh=fresh))

    @get("/key", operation_id="getCompanyLogKey", media_type=TEXT, **UNLISTED)
    def key(
        self, backend: NamedDependency[Backend], caller: NamedDependency[Caller], company_id: FromPath[CompanyId]
    ) -> Response[str]:
        """Returns the key by which checkpoints are verified."""
        backend.authorize(caller, log_proofs.may_prove_log_of, company_id)
        return _text(_key(backend, company_id))

    @get("/tile/{tile:path}", operation_id="getCompanyLogTile", media_type=BYTES, **UNLISTED)
    def tile(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        tile: FromPath[str],
    ) -> Response[bytes]:
        """Returns a tile of hashes, or a bundle of entries."""
        backend.authorize(caller, log_proofs.may_prove_log_of, company_id)
        return _bytes(_tile(backend, company_id, tile))

    @get("/proofs/{position:str}", operation_id="getCompanyLogProof", media_type=TEXT, **UNLISTED)
    def proof(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        position: FromPath[str],
    ) -> Response[str]:
        """Returns the proof that the event at a position is in the log of the newest checkpoint."""
        backend.authorize(caller, log_proofs.may_prove_log_of, company_id)
        return _text(_proof(backend, company_id, position))

    @get("/consistency/{older:str}/{size:str}", operation_id="getCompanyLogConsistency", media_type=TEXT, **UNLISTED)
    def consistency(
        self,
        backend: NamedDependency[Backend],
        caller: NamedDependency[Caller],
        company_id: FromPath[CompanyId],
        older: FromPath[str],
        size: FromPath[str],
    ) -> Response[str]:
        """Returns the proof that the log of a size begins with that of an older size, a hash a line."""
        backend.authorize(caller, log_proofs.may_prove_log_of, company_id)
        return _text(_consistency(backend, company_id, older, size))


def _text(content: str) -> Response[str]:
    return Response(content, media_type=TEXT)


def _bytes(content: bytes) -> Response[bytes]:
    return Response(content, media_type=BYTES)


def _state(backend: Backend, tree_id: UUID) -> TreeState:
    with backend.pool.connection() as conn:
        return log_tree.state_of(conn, tree_id)


def _checkpoint(backend: Backend, tree_id: UUID, *, fresh: bool) -> str:
    """Return the newest checkpoint. Raise NotFound if there is none, and Lagging if a fresh one does not come in time."""
    if fresh:
        _await_fresh(backend, tree_id)
    if (checkpoint := _state(backend, tree_id).checkpoint) is None:
        raise NotFound("Nothing of this log is signed yet")
    return checkpoint


def _await_fresh(backend: Backend, tree_id: UUID) -> None:
    with backend.pool.connection() as conn:
        end = log_tree.log_end(conn)
    _await(backend, lambda conn: end - log_tree.state_of(conn, WHOLE_LOG).size)
    with backend.pool.connection() as conn:
        if not (size := log_tree.state_of(conn, tree_id).size):
            return
        log_tree.want_checkpoint(conn, tree_id, size)
    _await(backend, lambda conn: size - log_tree.state_of(conn, tree_id).signed_size)


def _await(backend: Backend, missing: Callable[[Connection], int]) -> None:
    def behind_by() -> int:
        with backend.pool.connection() as conn:
            return max(missing(conn), 0)

    if not (behind := behind_by()):
        return
    if not _WAITS.acquire(blocking=False):
        raise Lagging(TREES, behind)
    try:
        behind = positions.poll_until(behind_by, FRESH_S)
    finally:
        _WAITS.release()
    if behind:
        raise Lagging(TREES, behind)


def _key(backend: Backend, tree_id: UUID) -> str:
    if (key := _state(backend, tree_id).verifier_key) is None:
        raise NotFound("Nothing of this log is signed yet")
    return key + "\n"


def _tile(backend: Backend, tree_id: UUID, path: str) -> bytes:
    """Return what tlog-tiles serves at a path below `tile`. Raise NotFound for what is not there (yet)."""
    match = TILE.fullmatch(path)
    segments = match[2].split("/") if match else []
    width = int(match[3] or TILE_WIDTH) if match else 0
    if match is None or len(segments) > MOST_SEGMENTS or width > TILE_WIDTH or (match[3] and width == TILE_WIDTH):
        raise NotFound("Tile not found")
    first = int("".join(segment.removeprefix("x") for segment in segments)) * TILE_WIDTH
    if first > MOST_PLACE:
        raise NotFound("Tile not found")
    with backend.pool.connection() as conn:
        if match[1] == "entries":
            found = log_tree.entries(conn, tree_id, first, width)
        else:
            found = log_tree.hashes(conn, tree_id, int(match[1]), first, width) if int(match[1]) <= MOST_LEVEL else []
    if len(found) < width:
        raise NotFound("Tile not found")
    if match[1] == "entries":
        if max(map(len, found)) > MOST_ENTRY:  # a writer who went round the service has named an event so
            raise NotFound("An entry of this bundle is longer than tlog-tiles has room for")
        return b"".join(len(entry).to_bytes(2, "big") + entry for entry in found)
    return b"".join(found)


def _proof(backend: Backend, tree_id: UUID, text: str) -> str:
    position = parse_whole_number(text, "position", 1, 1, MOST_POSITION)
    with backend.pool.connection() as conn:
        state = log_tree.state_of(conn, tree_id)
        place = log_tree.place_of(conn, tree_id, position)
        if place is None or state.checkpoint is None or place >= state.signed_size:
            raise NotFound("No signed checkpoint of this log covers an event at this position")
        hashes = log_tree.tree(conn, tree_id).prove_inclusion(place, state.signed_size)
    return proof_text(place, hashes, state.checkpoint)


def _consistency(backend: Backend, tree_id: UUID, older_text: str, size_text: str) -> str:
    size = parse_whole_number(size_text, "size", 1, 0, MOST_POSITION)
    older = parse_whole_number(older_text, "older", 1, 0, MOST_POSITION)
    with backend.pool.connection() as conn:
        if not older <= size <= log_tree.state_of(conn, tree_id).size:
            raise NotFound("This log has not had these sizes, one after the other")
        hashes = log_tree.tree(conn, tree_id).prove_consistency(older, size)
    return "".join(b64encode(digest).decode() + "\n" for digest in hashes)
