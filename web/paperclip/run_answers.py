"""The answers of requests that fire a routine, which say so when they repeat the run of an earlier request."""

from collections.abc import Sequence

from litestar import Response
from litestar.datastructures import ResponseHeader

from application.execute import Done
from domain.events import RunFired
from domain.recorded import Recorded
from projections import responses
from projections.firing.run_history import run_of
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


def run_answer(done: Done[Sequence[Recorded]], digest: str | None) -> Response[responses.Run]:
    """Return a run as it is now. `digest` is that of the request, which tells whether it repeats an earlier one."""
    headers = {POSITION_HEADER: str(done.position)}
    if done.result[0] not in done.recorded:
        headers[REPEATED_HEADER] = _repetition(done.result[0], digest)
    return Response(run_of(done.result), status_code=202, headers=headers)


def _repetition(first: Recorded, digest: str | None) -> str:
    earlier = first.event.request_digest if isinstance(first.event, RunFired) else None
    if earlier is None or digest is None:
        return "unknown-body"
    return "same-body" if earlier == digest else "other-body"
