"""When a schedule runs: cron expressions in the wall time of a zone, their limits, and what clock changes do to them."""
