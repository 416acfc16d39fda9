"""Whether the read models are what the log gives: all of them at its head, no event passed over, the same rows."""

from projections import catalogue
from projections.engine import verification
from routines import bootstrap
from verification.faults.environment import Database, wait_for

BEHIND = "SELECT name FROM read_models.positions p JOIN log.head h ON p.position < h.position ORDER BY name"
ISOLATED = "SELECT read_model, position, reason FROM read_models.isolated_events ORDER BY position, read_model LIMIT 5"


def find_defects(database: Database, limit_s: float) -> list[str]:
    """Wait until a projector has brought all models to the head, and compare them with the log."""
    with database.superuser() as conn:
        try:
            wait_for(lambda: not conn.execute(BEHIND).fetchall(), limit_s)
        except TimeoutError:
            return [f"read models stay behind: {', '.join(name for (name,) in conn.execute(BEHIND))}"]
        isolated = [
            f"{name} has passed over event {position}: {reason}" for name, position, reason in conn.execute(ISOLATED)
        ]
    with bootstrap.system(database.settings()) as system, bootstrap.connect(system.settings) as session:
        return isolated + [
            str(difference)
            for model in catalogue.ALL
            for difference in verification.verify(session, model, system.store.after)
        ]
