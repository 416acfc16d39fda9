"""
Looking at the board in Debian's Chromium, with axe-core. `make install-browser install-clients`.

A script or style that the policy of the pages refuses is an error in the console, and fails the test that caused it.
"""

from pathlib import Path

import pytest

from development.browser import find_chromium

CHROMIUM = find_chromium()
AXE = Path(__file__).parents[4] / "development/clients/node_modules/axe-core/axe.min.js"
NEEDS_CHROMIUM_AND_AXE = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's Chromium: make install-browser"),
    pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: make install-clients"),
]
ALL_RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PHONE = 360
UNBROKEN = "W" * 200  # a word that is wider than any screen


def open_window(api, chromium, **options):
    window = chromium.new_context(base_url=api.url, **options)
    window.set_default_timeout(10_000)
    return window


def watch_errors(page, errors):
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return page


def find_faults(page, rules):
    result = page.evaluate("rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", rules)
    return [(fault["id"], [node["html"][:160] for node in fault["nodes"][:3]]) for fault in result["violations"]]


def find_faults_in_both_schemes(page):
    page.evaluate(AXE.read_text())
    faults = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        faults += [(scheme, *fault) for fault in find_faults(page, ALL_RULES)]
    return faults
