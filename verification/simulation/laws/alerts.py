"""A trouble is told once, not before its time, and is over once."""

from datetime import timedelta
from uuid import UUID

from domain.events import (
    AlertClosed,
    AlertFailing,
    AlertMissed,
    AlertOverdue,
    AlertRecovered,
    AlertStuck,
    AlertUntaken,
)
from domain.recorded import Recorded
from verification.simulation.laws.state import State


class AlertLaws:
    """The alerts that are open."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._alerts: dict[tuple[UUID, str], UUID] = {}  # the open alerts, by what is in trouble and how

    def raise_alert(
        self, recorded: Recorded, event: AlertFailing | AlertMissed | AlertOverdue | AlertUntaken | AlertStuck
    ) -> None:
        """Judge an alert: a trouble is told once, and not before its time."""
        subject = event.subject_id, recorded.name.removeprefix("alert.")
        if subject in self._alerts:
            self._state.report_violation("doubled", event.routine_id, f"{subject} is told again")
        self._alerts[subject] = recorded.stream_id
        if isinstance(event, AlertOverdue | AlertUntaken | AlertStuck):
            is_early = recorded.at < event.since + timedelta(seconds=event.bound_sec)
            if is_early:
                self._state.report_violation("early", event.routine_id, f"{subject} is told at {recorded.at}")
            if event.subject_id not in self._state.open[event.routine_id]:
                self._state.report_broken_rule(event.routine_id, f"{subject} is told of work that is over")

    def close_alert(self, recorded: Recorded, event: AlertRecovered | AlertClosed) -> None:
        kind = event.kind if isinstance(event, AlertClosed) else "failing"
        if self._alerts.pop((event.subject_id, kind), None) != recorded.stream_id:
            self._state.report_violation(
                "doubled", event.routine_id, f"{kind} of {event.subject_id} is over, and was not told"
            )
