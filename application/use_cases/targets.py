"""The addresses to which the service sends on behalf of a company: of endpoints, heartbeats, callbacks and probes."""

from application.event_store.unit_of_work import UnitOfWork
from domain.delivery import outbound_url


def check_target(work: UnitOfWork, url: str | None, field: str, old_url: str | None = None) -> None:
    """
    Raise InvalidField, which names the field, for a URL to which nothing would be sent.

    The URL that there is stays as it is: whoever changes or ends something else is not asked for another one.
    """
    if url is not None and url != old_url:
        outbound_url.must_be_url(url, field, allow_private=work.limits.allow_private_targets)
