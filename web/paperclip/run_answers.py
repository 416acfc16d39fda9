"""The answers of requests that fire a routine, which say so when they repeat the run of an earlier request."""

from collections.abc import Sequence
from typing import Any

from litestar import Response
from litestar.datastructures import ResponseHeader

from application.execute import CommitResult
from domain.events import RunFired
from domain.recorded import Recorded
from projections import responses
from projections.firing.run_documents import run_of, with_shortened_payload
from web.http.answers import Answer
from web.http.backend import POSITION_HEADER

REPEATED_HEADER = "X-Routines-Repeated"
REPEATED = (
    ResponseHeader(
        name=REPEATED_HEADER,
        documentation_only=True,
        description=(
            "Present if this is the run of an earlier request with the same key, as it is now: `same-body`, "
            "`other-body` if that request said something else, `unknown-body` for a run of version 0.1.0."
        ),
    ),
)


def run_answer(
    events: Sequence[Recorded], commit_result: CommitResult[Any], digest: str | None
) -> Response[responses.Run]:
    """
    Return the run of these events as it is now.

    `commit_result` is the use case that has found or recorded it, `digest` that of the request, by which an earlier one is known.
    """
    headers = {POSITION_HEADER: str(commit_result.position)}
    if events[0] not in commit_result.recorded:
        headers[REPEATED_HEADER] = _compare_repetition(events[0], digest)
    return Answer(with_shortened_payload(run_of(events)), status_code=202, headers=headers)


def _compare_repetition(first: Recorded, digest: str | None) -> str:
    earlier = first.event.request_digest if isinstance(first.event, RunFired) else None
    if earlier is None or digest is None:
        return "unknown-body"
    return "same-body" if earlier == digest else "other-body"
