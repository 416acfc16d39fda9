"""
The proofs of the log: signed checkpoints, the tiles of its Merkle trees, and the proof of one event (our addition).

They are served as C2SP's tlog-checkpoint, tlog-tiles and tlog-proof say, for verifiers that follow those: as texts and bytes,
below paths whose last part has several segments. OpenAPI has no words for such paths, so its description leaves them out;
docs/audit-proof.md names them.
"""

import re
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from threading import BoundedSemaphore
from typing import Any, TypeVar
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery

from application.access import Caller
from application.use_cases import log_proofs
from domain.errors import NotFound
from domain.proof.checkpoints import proof_text
from domain.proof.merkle import TILE_WIDTH
from projections.engine import positions
from projections.engine.positions import Lagging
from projections.engine.table import Connection
from projections.proof import log_tree, witnessing
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
T = TypeVar("T")


class ProvedLog:
    """The log of which a request asks for proofs: the whole one, or that of a company. Answers only who may have them."""

    def __init__(self, backend: Backend, tree_id: UUID, authorize: Callable[[], None]) -> None:
        self._backend = backend
        self._tree_id = tree_id
        self._authorize = authorize

    def tell(self, answer: Callable[[Backend, UUID], T]) -> T:
        """Return the answer. Raises Unauthenticated, Forbidden or NotFound for a caller who may not have it."""
        self._authorize()
        return answer(self._backend, self._tree_id)


def whole_log(backend: NamedDependency[Backend], caller: NamedDependency[Caller]) -> ProvedLog:
    """Return the whole log, for admins and auditors of the instance."""
    return ProvedLog(backend, WHOLE_LOG, partial(backend.authorize, caller, log_proofs.may_prove_whole_log))


def company_log(
    backend: NamedDependency[Backend], caller: NamedDependency[Caller], company_id: FromPath[CompanyId]
) -> ProvedLog:
    """Return the log of a company, for its members."""
    authorize = partial(backend.authorize, caller, log_proofs.may_prove_log_of, company_id)
    return ProvedLog(backend, company_id, authorize)


def _make_controller(noun: str, below: str, provide: Callable[..., ProvedLog]) -> type[Controller]:
    """
    Return the controller of the proofs of a log; its operations are named after the noun.

    The framework wraps a handler that blocks once for each place where it stands, so each log has handlers of its own.
    """

    class LogProofs(Controller):
        path = f"{below}/log"
        tags = ("log",)
        dependencies = {"proved_log": Provide(provide, sync_to_thread=False)}

        @get("/checkpoint", operation_id=f"get{noun}Checkpoint", media_type=TEXT, **UNLISTED)
        def checkpoint(
            self,
            proved_log: NamedDependency[ProvedLog],
            fresh: FromQuery[bool] = False,
            witnessed: FromQuery[bool] = False,
        ) -> Response[str]:
            """
            Returns the newest checkpoint, with the cosignatures that it has; with `fresh`, one that covers all that the log
            has held at the request; with `witnessed`, one that a witness has cosigned.
            """
            return _text_answer(proved_log.tell(partial(_read_checkpoint, fresh=fresh, witnessed=witnessed)))

        @get("/key", operation_id=f"get{noun}Key", media_type=TEXT, **UNLISTED)
        def key(self, proved_log: NamedDependency[ProvedLog]) -> Response[str]:
            """Returns the key by which checkpoints are verified."""
            return _text_answer(proved_log.tell(_read_key))

        @get("/tile/{tile:path}", operation_id=f"get{noun}Tile", media_type=BYTES, **UNLISTED)
        def tile(self, proved_log: NamedDependency[ProvedLog], tile: FromPath[str]) -> Response[bytes]:
            """Returns a tile of hashes, or a bundle of entries."""
            return Response(proved_log.tell(partial(_read_tile, path=tile)), media_type=BYTES)

        @get("/proofs/{position:str}", operation_id=f"get{noun}Proof", media_type=TEXT, **UNLISTED)
        def proof(self, proved_log: NamedDependency[ProvedLog], position: FromPath[str]) -> Response[str]:
            """Returns the proof that the event at a position is in the log of the newest checkpoint."""
            return _text_answer(proved_log.tell(partial(_prove_event, text=position)))

        @get("/consistency/{older:str}/{size:str}", operation_id=f"get{noun}Consistency", media_type=TEXT, **UNLISTED)
        def consistency(
            self, proved_log: NamedDependency[ProvedLog], older: FromPath[str], size: FromPath[str]
        ) -> Response[str]:
            """Returns the proof that the log of a size begins with that of an older size, a hash a line."""
            return _text_answer(proved_log.tell(partial(_prove_consistency, older_text=older, size_text=size)))

    return LogProofs


WholeLogProofs = _make_controller("Log", "", whole_log)
CompanyLogProofs = _make_controller("CompanyLog", "/companies/{company_id:str}", company_log)


def _text_answer(content: str) -> Response[str]:
    return Response(content, media_type=TEXT)


def _read_state(backend: Backend, tree_id: UUID) -> TreeState:
    with backend.pool.connection() as conn:
        return log_tree.state_of(conn, tree_id)


def _read_checkpoint(backend: Backend, tree_id: UUID, *, fresh: bool, witnessed: bool) -> str:
    """Return the newest checkpoint. Raise NotFound if there is none, and Lagging if a fresh one does not come in time."""
    size = _await_signed(backend, tree_id) if fresh else 0
    if witnessed:
        return _witnessed_checkpoint(backend, tree_id, size)
    with backend.pool.connection() as conn:
        newest = witnessing.checkpoint(conn) if tree_id == WHOLE_LOG else log_tree.state_of(conn, tree_id).checkpoint
    if newest is None:
        raise NotFound("Nothing of this log is signed yet")
    return newest


def _witnessed_checkpoint(backend: Backend, tree_id: UUID, size: int) -> str:
    """Return the newest checkpoint that a witness has cosigned; wait for one of at least this size."""
    if tree_id != WHOLE_LOG:
        raise NotFound("Witnesses cosign checkpoints of the whole log; those of a company have no cosignatures")
    with backend.pool.connection() as conn:
        if not witnessing.statuses(conn):
            raise NotFound("This log has no witnesses (ROUTINES_WITNESSES)")
    _await_events(backend, lambda conn: size - witnessing.cosigned_size(conn))
    with backend.pool.connection() as conn:
        if (newest := witnessing.newest_witnessed(conn)) is None:
            raise NotFound("No witness has cosigned a checkpoint of this log yet")
        return newest.checkpoint


def _await_signed(backend: Backend, tree_id: UUID) -> int:
    """Wait until all that the tree holds now is signed; return its size."""
    with backend.pool.connection() as conn:
        end = log_tree.log_end(conn)
    _await_events(backend, lambda conn: end - log_tree.state_of(conn, WHOLE_LOG).size)
    with backend.pool.connection() as conn:
        if not (size := log_tree.state_of(conn, tree_id).size):
            return 0
        log_tree.want_checkpoint(conn, tree_id, size)
    _await_events(backend, lambda conn: size - log_tree.state_of(conn, tree_id).signed_size)
    return size


def _await_events(backend: Backend, missing: Callable[[Connection], int]) -> None:
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


def _read_key(backend: Backend, tree_id: UUID) -> str:
    if (key := _read_state(backend, tree_id).verifier_key) is None:
        raise NotFound("Nothing of this log is signed yet")
    return key + "\n"


def _read_tile(backend: Backend, tree_id: UUID, path: str) -> bytes:
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
            parts = log_tree.entries(conn, tree_id, first, width)
        else:
            parts = log_tree.hashes(conn, tree_id, int(match[1]), first, width) if int(match[1]) <= MOST_LEVEL else []
    if len(parts) < width:
        raise NotFound("Tile not found")
    if match[1] == "entries":
        # Only somebody who wrote to the log past the service can have made so long a name.
        if max(map(len, parts)) > MOST_ENTRY:
            raise NotFound("An entry of this bundle is longer than tlog-tiles has room for")
        return b"".join(len(entry).to_bytes(2, "big") + entry for entry in parts)
    return b"".join(parts)


def _prove_event(backend: Backend, tree_id: UUID, text: str) -> str:
    position = parse_whole_number(text, "position", 1, 1, MOST_POSITION)
    with backend.pool.connection() as conn:
        place = log_tree.place_of(conn, tree_id, position)
        covering = None if place is None else witnessing.checkpoint_covering(conn, tree_id, place)
        if place is None or covering is None:
            raise NotFound("No signed checkpoint of this log covers an event at this position")
        hashes = log_tree.tree(conn, tree_id).prove_inclusion(place, covering.size)
    return proof_text(place, hashes, covering.checkpoint)


def _prove_consistency(backend: Backend, tree_id: UUID, older_text: str, size_text: str) -> str:
    size = parse_whole_number(size_text, "size", 1, 0, MOST_POSITION)
    older = parse_whole_number(older_text, "older", 1, 0, MOST_POSITION)
    with backend.pool.connection() as conn:
        if not older <= size <= log_tree.state_of(conn, tree_id).size:
            raise NotFound("This log has not had these sizes, one after the other")
        hashes = log_tree.tree(conn, tree_id).prove_consistency(older, size)
    return "".join(b64encode(digest).decode() + "\n" for digest in hashes)
