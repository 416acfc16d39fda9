"""
The notary: a thread of the projector that keeps the trees of the log at its head, and signs checkpoints of them.

It signs every `every_s` seconds what has grown, and at once what somebody waits for. Before it signs it looks whether the
log is still the one that was signed before.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from threading import Event as Stop
from uuid import UUID

import psycopg
import structlog

from application.outage import Outage
from application.proof import log_key, signed_heads
from application.proof.log_key import CannotSign, LogKey
from application.proof.signed_heads import WAY_OUT, SignedHeads
from domain.proof.checkpoints import Head, origin_of
from processes import checkpoint_files
from processes.threads import run_beside
from processes.wakeup import Connection, Wakeup
from projections.proof import log_tree
from projections.proof.log_tree import WHOLE_LOG, SignedTree

POLL_S = 0.5  # longest wait for the next event
TROUBLE_S = 1.0  # pause after the database could not be reached
REMINDER_S = 60.0  # between two log lines that say why nothing is signed
SIGNED_AT_ONCE = 500  # trees in one transaction
NO_KEY = "ROUTINES_CHECKPOINT_DIR has no effect without ROUTINES_LOG_KEY_FILE, the key that signs checkpoints"

log = structlog.get_logger(process="projector")


class Notary:
    """Follows the log with its trees, and signs. Without a key file the trees grow, and nothing is signed."""

    def __init__(self, key_file: Path | None, every_s: float, directory: Path | None = None) -> None:
        self._key_file = key_file
        self._every_s = every_s
        self._directory = directory
        self._due_at = 0.0
        self._remind_at = 0.0
        self._refusal: str | None = None
        if directory is not None and key_file is None:
            log.warning("setting_ignored", why=NO_KEY)

    def step(self, conn: Connection) -> bool:
        """Grow the trees by a batch and sign what is due; return whether there may be more to do at once."""
        growth = log_tree.grow(conn)
        if self._key_file is not None:
            self._sign_if_due(conn, self._key_file, is_at_head=not growth)
        return bool(growth)

    def _sign_if_due(self, conn: Connection, key_file: Path, *, is_at_head: bool) -> None:
        now = time.monotonic()
        is_due = now >= self._due_at
        if not is_due and not (is_at_head and log_tree.is_checkpoint_wanted(conn)):
            return
        if is_due:
            self._due_at = now + self._every_s
        try:
            with signed_heads.open_heads(key_file) as heads:
                self._sign(conn, log_key.read(key_file), heads, is_due=is_due)
        except (CannotSign, OSError) as error:
            self._refuse(conn, str(error))

    def _refuse(self, conn: Connection, reason: str) -> None:
        self._due_at = max(self._due_at, time.monotonic() + TROUBLE_S)
        log_tree.refuse(conn, reason)
        if reason != self._refusal or time.monotonic() >= self._remind_at:
            self._remind_at = time.monotonic() + REMINDER_S
            log.critical("checkpoint_refused", reason=reason)
        self._refusal = reason

    def _sign(self, conn: Connection, key: LogKey, heads: SignedHeads, *, is_due: bool) -> None:
        """Sign the trees that have grown, the whole log's first. Raises CannotSign for a log that is not the signed one."""
        if not self._is_same_log(conn, heads.last()):
            return
        log_tree.refuse(conn, None)
        self._refusal = None
        log_tree.forget_checkpoints(conn, key.verifier_key(key.name))
        for trees in _unsigned_batches(conn, is_due=is_due):
            signed_roots = []
            for tree in trees:
                origin = origin_of(key.name, None if tree.id == WHOLE_LOG else tree.id)
                head = Head(size=tree.frontier.size, root=tree.frontier.root)
                if tree.id == WHOLE_LOG:
                    heads.note(head)
                checkpoint = key.sign(origin, head)
                if tree.id == WHOLE_LOG and self._directory is not None:
                    _write(self._directory, key.name, head.size, checkpoint)
                signed_roots.append(
                    SignedTree(id=tree.id, size=head.size, checkpoint=checkpoint, verifier_key=key.verifier_key(origin))
                )
            log_tree.sign(conn, signed_roots)
            if trees[0].id == WHOLE_LOG:
                log_tree.tell_signed(conn)
        log_tree.forget_served(conn)

    def _is_same_log(self, conn: Connection, last: Head | None) -> bool:
        """Return whether the log goes on from the last signed head; False while the tree has not reached that yet."""
        if last is None:
            return True
        if (end := log_tree.log_end(conn)) < last.size:
            raise CannotSign(
                f"The log ends at position {end}, and a checkpoint of {last.size} events is signed: the database has been "
                f"set back. {WAY_OUT}"
            )
        if log_tree.state_of(conn, WHOLE_LOG).size < last.size:
            return False
        if log_tree.tree(conn, WHOLE_LOG).root(last.size) != last.root:
            raise CannotSign(f"The first {last.size} events of the log are not those that are signed. {WAY_OUT}")
        return True


def _write(directory: Path, log_name: str, size: int, checkpoint: str) -> None:
    """Write a checkpoint into a directory. One that cannot be written now is followed by others that prove as much."""
    try:
        checkpoint_files.write(directory, log_name, size, checkpoint)
    except OSError as error:
        log.error("checkpoint_not_written", directory=str(directory), size=size, reason=str(error))  # noqa: TRY400


def _unsigned_batches(conn: Connection, *, is_due: bool) -> Iterator[list[log_tree.UnsignedTree]]:
    after: UUID | None = None
    while trees := log_tree.unsigned_trees(conn, SIGNED_AT_ONCE, after, is_due=is_due):
        yield trees
        after = trees[-1].id


def at_work(
    notary: Notary, connect: Callable[[], Connection], stop: Stop, outage: Outage
) -> AbstractContextManager[None]:
    """Have the notary at work in a thread until the end of the `with`, which stops the process."""
    return run_beside("notary", partial(_run, notary, connect, stop, outage), stop)


def _run(notary: Notary, connect: Callable[[], Connection], stop: Stop, outage: Outage) -> None:
    """Follow the log until stopped; wait for a database that is away, and try again whatever else happens."""
    wakeup = Wakeup(connect)
    while not stop.is_set():
        try:
            with connect() as conn:
                log_tree.begin(conn)
                while not stop.is_set():
                    is_more = notary.step(conn)
                    outage.note_success("notary")
                    if not is_more:
                        wakeup.wait(POLL_S, stop)
        except psycopg.Error as error:
            outage.note_failure("notary", error)
            stop.wait(TROUBLE_S)
        except Exception:
            log.exception("notary_failed")
            stop.wait(TROUBLE_S)
    wakeup.close()
