"""
What the output of a command must not show: the worker's own tokens, and the secrets that are handed to the command.

The tokens are kept from the command as well, unless the operator passes them on.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

AGENT_TOKEN, COLLECTION_TOKEN = "ROUTINES_AGENT_TOKEN", "JETTY_API_TOKEN"
VARIABLES = (AGENT_TOKEN, COLLECTION_TOKEN)
COLLECTION_PREFIX = "mlc_"
MASK = "***"
SHORTEST = 8  # characters of what is masked; masking a shorter text would spoil what is printed
LINE_BREAK = re.compile(r"[\r\n]+")


class Tokens:
    """The tokens that a worker knows: the one it works with, and those of its environment."""

    def __init__(self, token: str, environment: Mapping[str, str] = os.environ, *, passed: bool = False) -> None:
        self._token = token
        self._environment = environment
        self._is_passed = passed
        known_tokens = {token, *(environment.get(name, "").strip() for name in VARIABLES)}
        self.secrets = [text for text in known_tokens if len(text) >= SHORTEST]

    @property
    def is_of_collection(self) -> bool:
        """Whether the worker's token is the key of a collection; otherwise it is an agent's."""
        return self._token.startswith(COLLECTION_PREFIX)

    def command_environment(self) -> dict[str, str]:
        """Return the worker's environment as its command gets it: without tokens, or with the worker's own if passed."""
        if self._is_passed:
            return {**self._environment, COLLECTION_TOKEN if self.is_of_collection else AGENT_TOKEN: self._token}
        return {
            name: value
            for name, value in self._environment.items()
            if name not in VARIABLES and value.strip() not in self.secrets
        }

    def secrets_with(self, *values: Any) -> list[str]:
        """
        Return what to mask in the output of a command that is handed these values: each text in them as it is and as JSON
        shows it, line by line. Shorter ones than SHORTEST are left out.
        """
        forms = {
            line.strip()
            for text in _texts_in(values)
            for form in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
            for line in LINE_BREAK.split(form)
        }
        return [*self.secrets, *sorted(form for form in forms if len(form) >= SHORTEST)]

    def mask(self, text: str) -> str:
        """Return the text with *** for each token in it."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text


def _texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts_in(value.values())
    elif isinstance(value, Iterable):
        for part in value:
            yield from _texts_in(part)
