"""What the tests of the service's state share."""

import pytest

from web.monitoring import checkup
from web.monitoring.checkup import KeptFinding


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is found out anew, whatever an earlier test has found; and so is what is found here by a later one."""
    monkeypatch.setattr(KeptFinding, "is_outdated", True)
    monkeypatch.setattr(checkup, "KEPT_S", 0.0)
