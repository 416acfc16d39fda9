"""Receipts of runs: the events of a run with the proofs that the log has held them, in one file."""

import json
from base64 import b64encode
from collections.abc import Sequence
from uuid import UUID

from application.audit.log_reader import Row
from domain.values import Value

FORMAT = "routines-receipt/1"


class ProvedEvent(Value, frozen=True):
    """
    An event, its leaf in the tree of the log, and the proof that the leaf is there (C2SP tlog-proof).

    `key` opens what is sealed of this event, and of no other; None where nothing is, or it is erased.
    """

    row: Row
    leaf: bytes
    proof: str
    key: bytes | None = None

    def __repr__(self) -> str:
        return f"ProvedEvent({self.row.position})"


def receipt(run_id: UUID, events: Sequence[ProvedEvent]) -> str:
    """Return the text of a receipt; `routines audit check` reads it."""
    entries = [
        {
            "leaf": b64encode(event.leaf).decode(),
            "body": event.row.body.decode(),
            **({} if event.key is None else {"key": b64encode(event.key).decode()}),
            "proof": event.proof,
        }
        for event in events
    ]
    return json.dumps({"format": FORMAT, "run": str(run_id), "events": entries}, indent=1) + "\n"
