"""What tests run beside them does not keep them waiting once it has ended."""

import pytest

from routines.web_server import Server
from tests.running import serving


def test_a_server_that_cannot_start_fails_with_its_error(system, monkeypatch):
    async def serve(_server, **_):
        raise OSError("no room")

    monkeypatch.setattr(Server, "serve", serve)
    with pytest.raises(RuntimeError, match="before it had started") as failure, serving(system):
        pass

    assert "no room" == str(failure.value.__cause__)


def test_a_server_whose_application_refuses_to_start_fails(system):
    async def refuse(_scope, _receive, send):
        await send({"type": "lifespan.startup.failed", "message": "no room"})

    with pytest.raises(RuntimeError, match="before it had started"), serving(system, refuse):
        pass
