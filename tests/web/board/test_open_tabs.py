"""Many tabs are open while their web process is killed and started again: each comes back, and none misses a position."""

import asyncio
import os
import re
import socket
from contextlib import contextmanager
from html import unescape

import httpx

from tests.waiting import wait_for
from tests.web.board.conftest import Browser
from verification.faults.forked import Forked

TABS = 20
COME_BACK_S = 0.05  # a browser waits longer


class WebProcess:
    """A web process of its own over the database of the API."""

    def __init__(self, database_url, log):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._env, self._log = os.environ | {"ROUTINES_DATABASE_URL": database_url}, log

    def start(self):
        self.process = Forked(["web", "--port", str(self.port)], self._env, self._log)
        wait_for(self._is_answering, 60)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def _is_answering(self):
        try:
            return httpx.get(f"{self.url}/api/health").status_code < 600
        except httpx.TransportError:
            return False


class Tab:
    """What EventSource does: it comes back whenever it is cut off, after the last position that it has had."""

    def __init__(self, client, address):
        self._client, self._address = client, address
        self.position, self.positions, self.connections = None, [], 0

    async def follow(self):
        while True:
            try:
                await self._read()
            except httpx.TransportError:
                await asyncio.sleep(COME_BACK_S)

    async def _read(self):
        headers = {} if self.position is None else {"Last-Event-ID": self.position}
        async with self._client.stream("GET", self._address, headers=headers) as response:
            async for line in response.aiter_lines():
                field, _, value = line.partition(": ")
                match field:
                    case "retry":
                        self.connections += 1
                    case "id":
                        self.position = value
                    case "data":
                        self.positions.append(int(self.position))


@contextmanager
def web_process(api, log):
    process = WebProcess(api.system.settings.database_url, log)
    process.start()
    try:
        yield process
    finally:
        process.kill()


async def keep_open(process, api, company, many):
    """Open many tabs, let things change before, while and after the process is away, and return the tabs."""
    browser = Browser(process.url)
    await asyncio.to_thread(browser.sign_in, api.token)
    page = await asyncio.to_thread(browser.get, f"/board/companies/{company}")
    address = unescape(re.search('data-live="([^"]+)"', page.html)[1])
    limits = httpx.Limits(max_connections=many)
    cookies = dict(browser.client.cookies)

    async def change():
        await asyncio.to_thread(api.post, f"/companies/{company}/goals", {"title": "Grow"})
        return api.system.store.head()

    async def all_told(position):
        await asyncio.to_thread(
            wait_for, lambda: all(tab.positions and tab.positions[-1] >= position for tab in tabs), 60
        )

    async with (
        httpx.AsyncClient(base_url=process.url, timeout=60, limits=limits, cookies=cookies) as client,
        asyncio.TaskGroup() as tasks,
    ):
        tabs = [Tab(client, address) for _ in range(many)]
        following = [tasks.create_task(tab.follow()) for tab in tabs]
        await asyncio.to_thread(wait_for, lambda: all(tab.connections for tab in tabs), 60)
        await all_told(await change())
        process.kill()
        position = await change()
        await asyncio.to_thread(process.start)
        await all_told(position)
        await all_told(await change())
        for task in following:
            task.cancel()
    browser.client.close()
    return tabs


def test_tabs_come_back_to_a_process_that_was_killed_and_none_misses_a_position(api, company, tmp_path):
    with web_process(api, tmp_path / "web.log") as process:
        tabs = asyncio.run(keep_open(process, api, company, TABS))

    assert {2} == {tab.connections for tab in tabs}
    assert {3} == {len(set(tab.positions)) for tab in tabs}  # the three changes, and nothing twice
    assert [] == [tab.positions for tab in tabs if tab.positions != sorted(set(tab.positions))]
