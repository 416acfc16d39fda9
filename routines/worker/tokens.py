"""The worker's own tokens: kept from its command unless the operator passes them on, and masked in what it prints."""

import os
from collections.abc import Mapping

AGENT_TOKEN, COLLECTION_TOKEN = "ROUTINES_AGENT_TOKEN", "JETTY_API_TOKEN"
VARIABLES = (AGENT_TOKEN, COLLECTION_TOKEN)
COLLECTION_PREFIX = "mlc_"
MASK = "***"
SHORTEST = 8  # characters of a token; masking a shorter text would spoil what is printed


class Tokens:
    """The tokens that a worker knows: the one it works with, and those of its environment."""

    def __init__(self, token: str, environment: Mapping[str, str] = os.environ, *, passed: bool = False) -> None:
        self._token = token
        self._environment = environment
        self._passed = passed
        known = {token, *(environment.get(name, "").strip() for name in VARIABLES)}
        self.secrets = tuple(sorted((text for text in known if len(text) >= SHORTEST), key=len, reverse=True))

    @property
    def is_of_collection(self) -> bool:
        """Whether the worker's token is the key of a collection; otherwise it is an agent's."""
        return self._token.startswith(COLLECTION_PREFIX)

    def command_environment(self) -> dict[str, str]:
        """Return the worker's environment as its command gets it: without tokens, or with the worker's own if passed."""
        if self._passed:
            return {**self._environment, COLLECTION_TOKEN if self.is_of_collection else AGENT_TOKEN: self._token}
        return {
            name: value
            for name, value in self._environment.items()
            if name not in VARIABLES and value.strip() not in self.secrets
        }

    def masked(self, text: str) -> str:
        """Return the text with *** for each token in it."""
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return text
