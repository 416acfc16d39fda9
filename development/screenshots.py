"""Makes the pictures of the board in docs/images: a fresh system, some made-up work, and Debian's Chromium (make screenshots)."""

import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, sync_playwright

from development.browser import find_chromium
from routines.local.listening import free_port

IMAGES = Path(__file__).parent.parent / "docs/images"
WIDTH, HEIGHT = 1200, 900
READY_S = 120
ROUTINES = (
    ("Weekly CEO briefing", "Scout", "0 9 * * 1", "Europe/Amsterdam"),
    ("Nightly dependency audit", "Auditor", "30 2 * * *", "America/New_York"),
    ("Regression of the SQL agent", "Auditor", "0 9 * * 1-5", "UTC"),
    ("Invoice reminders", "Ledger", "15 8 * * 1-5", "Europe/Amsterdam"),
    ("Search index health", "Scout", "*/30 9-17 * * *", "Asia/Tokyo"),
)


class Board:
    """A running system, asked as its first user."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=f"{url}/api", headers={"Authorization": f"Bearer {token}"}, timeout=30)

    def send(self, method: str, path: str, body: object = None) -> Any:
        """Return the JSON of an answer. Raise HTTPStatusError for a refusal."""
        answer = self._client.request(method, path, json=body or {})
        answer.raise_for_status()
        return answer.json()

    def link(self) -> str:
        """Return a link that signs in."""
        headers = self._client.headers
        return httpx.post(f"{self.url}/board/sign-in-links", headers={"Authorization": headers["Authorization"]}).text


def main() -> None:
    """Start a system, let things happen in it, and write the pictures."""
    port = free_port("127.0.0.1", 0)
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "routines", "up", "--port", str(port), "--data-dir", directory]
        system = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            board = _wait_until_ready(Path(directory), system)
            company, triage = _let_happen(board)
            _take_pictures(board, company, triage)
        finally:
            system.terminate()
            system.wait()


def _wait_until_ready(directory: Path, system: "subprocess.Popen[bytes]") -> Board:
    until = time.monotonic() + READY_S
    while not (directory / "up.json").exists():
        if system.poll() is not None or time.monotonic() > until:
            raise SystemExit("The system did not start")
        time.sleep(0.2)
    url = json.loads((directory / "up.json").read_text())["url"]
    return Board(url, (directory / "board.token").read_text().strip())


def _let_happen(board: Board) -> tuple[str, str]:
    """Make a company with routines, and half a day of one of them. Return the ids of the two."""
    company = board.send("POST", "/companies", {"name": "Acme"})["id"]
    names = ("Scout", "Auditor", "Triage", "Ledger")
    agents = {name: board.send("POST", f"/companies/{company}/agents", {"name": name})["id"] for name in names}
    for title, agent, cron, zone in ROUTINES:
        routine = _create_routine(board, company, agents[agent], title, cron, zone)
        for number in range(6):
            _end(
                board,
                board.send("POST", f"/routines/{routine}/run"),
                "cancelled" if number == len(title) % 7 else "done",
            )
    triage = _create_routine(board, company, agents["Triage"], "Inbox triage", "*/30 * * * *", "Europe/Amsterdam")
    trigger = board.send("GET", f"/routines/{triage}")["triggers"][0]["id"]
    board.send("PATCH", f"/routines/{triage}", {"concurrencyPolicy": "skip_if_active", "priority": "high"})
    begin = datetime.now(UTC) - timedelta(hours=12)
    for number in range(12):
        period = [(begin + timedelta(hours=hour)).isoformat() for hour in (number, number + 0.99)]
        body = {"from": period[0], "to": period[1], "overlap": "policy"}
        backfill = board.send("POST", f"/routine-triggers/{trigger}/backfills", body)
        while board.send("GET", f"/routine-backfills/{backfill['id']}")["status"] not in ("completed", "cancelled"):
            time.sleep(0.1)
        if number not in (4, 11):
            for run in board.send("GET", f"/routines/{triage}/runs?status=issue_created"):
                _end(board, run, "cancelled" if number == 8 else "done")  # noqa: PLR2004 one of them fails
    return company, triage


def _create_routine(board: Board, company: str, agent: str, title: str, cron: str, zone: str) -> str:  # noqa: PLR0913, PLR0917
    trigger = {"kind": "schedule", "cronExpression": cron, "timezone": zone}
    body = {"title": title, "assigneeAgentId": agent, "triggers": [trigger]}
    return str(board.send("POST", f"/companies/{company}/routines", body)["id"])


def _end(board: Board, run: Any, status: str) -> None:
    reason = {"failureReason": "exit status 3: the lockfile is stale"} if status == "cancelled" else {}
    board.send("PATCH", f"/issues/{run['linkedIssueId']}", {"status": status, **reason})


def _take_pictures(board: Board, company: str, routine: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(board.link())
        page.get_by_role("button", name="Sign in").click()
        page.goto(f"{board.url}/board/companies/{company}")
        page.locator("#week svg").wait_for()
        _take_picture(page, "home", full=True)
        page.goto(f"{board.url}/board/companies/{company}/routines/{routine}")
        _take_picture(page, "routine", full=False)
        browser.close()


def _take_picture(page: Page, name: str, *, full: bool) -> None:
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path, full_page=full)
    print(f"{path.relative_to(IMAGES.parent.parent)}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
