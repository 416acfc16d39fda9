"""The browser that shows the board to its tests, and to whoever takes its pictures: Debian's Chromium (make install-browser)."""

from pathlib import Path

# The first one has no windows, and does without much that they need: the tests cost it a third less of the processor.
PLACES = ("/usr/bin/chromium-headless-shell", "/usr/bin/chromium")


def find_chromium() -> Path | None:
    """Return the program, or None where it is not installed."""
    return next((path for path in map(Path, PLACES) if path.exists()), None)
