"""Read models rebuilt as the projector does it, at once and in the test's own thread."""

from threading import Event as Stop

from structlog.testing import capture_logs

from processes.rebuilder import Rebuilder


def rebuild_outdated(conn, models, read):
    """Rebuild the outdated models; return the names of those that were rebuilt, in that order."""
    with capture_logs() as lines:
        Rebuilder(models, read, Stop()).rebuild(conn)
    return [line["read_model"] for line in lines if line["event"] == "read_model_rebuilt"]
