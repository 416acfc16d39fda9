"""
Keeping the last refused call of each webhook, for those who look at the trigger.

Anybody can make calls that are refused, so a process keeps one of a webhook and a status at most every QUIET_S seconds.
"""

import time
from collections import OrderedDict
from threading import Lock

import structlog
from eventsourcing.persistence import PersistenceError
from psycopg import Error as DatabaseError
from psycopg_pool import PoolTimeout

from application.use_cases import triggers, webhooks
from domain.errors import NotFound, Unauthenticated
from domain.webhooks.verification import WebhookRequest
from projections.routines import webhook_refusals
from web.http.backend import Backend
from web.http.errors import describe_error
from web.http.rate_limit import WebhookRateLimiter

QUIET_S = 5.0
LONGEST_REASON = 500  # characters
SERVER_ERROR = 500

log = structlog.get_logger(process="web")


class WebhookRefusals:
    """Keeps the last refusals. It never fails: what it cannot keep is lost. `rate_limiter` counts the refused calls."""

    def __init__(self, backend: Backend, rate_limiter: WebhookRateLimiter) -> None:
        self._backend = backend
        self.rate_limiter = rate_limiter
        self._kept: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._lock = Lock()

    def keep_error(self, public_id: str, sender: str, error: Exception, request: WebhookRequest) -> None:
        """Keep the refusal of a call of this address by an exception, with why the sender is not known."""
        status, reason, _ = describe_error(error)
        self.keep(public_id, sender, status, reason, request if isinstance(error, Unauthenticated) else None)

    def keep(
        self, public_id: str, sender: str, status: int, reason: str, unproven: WebhookRequest | None = None
    ) -> None:
        """Keep a refusal, unless it is a failure of ours or there is no such webhook."""
        if status >= SERVER_ERROR or not self._is_due(public_id, status):
            return
        try:
            trigger_id, why = self._backend.executor.query(
                lambda work: (
                    triggers.at_address(work, public_id)[0],
                    reason if unproven is None else webhooks.why_unproven(work, public_id, unproven),
                )
            )
            with self._backend.pool.connection() as conn:
                webhook_refusals.put(conn, trigger_id, status, why[:LONGEST_REASON], sender)
        except NotFound:
            pass
        except (DatabaseError, PersistenceError, PoolTimeout) as error:
            log.warning("webhook_refusal_not_kept", error=type(error).__name__)

    def _is_due(self, public_id: str, status: int) -> bool:
        now, name = time.monotonic(), (public_id, status)
        with self._lock:
            if now < self._kept.get(name, -QUIET_S) + QUIET_S:
                return False
            self._kept[name] = now
            self._kept.move_to_end(name)
            if len(self._kept) > self._backend.limits.max_webhook_counters:
                self._kept.popitem(last=False)
            return True
