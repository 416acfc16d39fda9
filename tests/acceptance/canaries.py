"""Secrets by name, every form in which one might show, and the search for them in the files of a directory."""

import base64
import json
import os
import re
import secrets
import subprocess
from base64 import b64decode
from pathlib import Path
from urllib.parse import quote, quote_plus
from uuid import uuid4


class Canaries:
    """Secrets by name, and every form in which one might show."""

    def __init__(self):
        self.known = {}

    def plant(self, name):
        """A new secret that could be anybody's."""
        return self.add(name, secrets.token_urlsafe(24))

    def add(self, name, text):
        self.known[name] = text.encode()
        return text

    def map_needles(self):
        return {needle: name for name, secret in self.known.items() for needle in list_needles(secret)}


def list_needles(secret):
    """
    Half a secret in every form, for either half: whoever shows the whole shows that.

    The bytes that a text stands for are searched for, too. What `grep` cannot take as a pattern is left to the other
    forms.
    """
    meanings = {secret, *decode_secret(secret)}
    halves = {half for one in meanings for half in (one[: len(one) // 2], one[len(one) // 2 :])}
    return {
        form for half in halves for form in forms(half) if len(form) >= 10 and b"\n" not in form and b"\0" not in form
    }


def decode_secret(secret):
    text = secret.decode()
    if re.fullmatch(r"(?:[0-9a-f]{2}){16,}", text):
        yield bytes.fromhex(text)
    if re.fullmatch(r"whsec_[A-Za-z0-9+/]+=*", text):
        yield b64decode(text.removeprefix("whsec_"))


def forms(half):
    yield half
    yield half.hex().encode()
    yield half.hex().upper().encode()
    for before in range(3):  # base64 of a text it stands in, at any place
        core = base64.b64encode(b"\0" * before + half)[(0, 2, 3)[before] : (before + len(half)) * 8 // 6]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))
    text = half.decode("latin-1")
    yield from (one.encode() for one in (quote(half, safe=""), quote_plus(half), json.dumps(text)[1:-1]))
    yield json.dumps(text)[1:-1].replace("/", r"\/").encode()
    yield half[::-1]


def find_canaries(canaries, directory):
    """Which secrets are in the files of a directory, as (name, file)."""
    by_needle = canaries.map_needles()
    patterns = directory.parent / f"{uuid4().hex}.needles"
    patterns.write_bytes(b"\n".join(by_needle) + b"\n")
    argv = ["grep", "-r", "-a", "-o", "-Z", "-F", "-D", "skip", "-f", patterns, directory]
    done = subprocess.run(argv, capture_output=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    patterns.unlink()
    assert done.returncode in (0, 1), done.stderr
    hits = [line.split(b"\0", 1) for line in done.stdout.splitlines()]
    return {(by_needle[needle], Path(path.decode()).name) for path, needle in hits}
