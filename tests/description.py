"""The served description of the API, asked what it says of an answer."""

import re
from typing import Any

import httpx

Json = dict[str, Any]

OURS = {
    "x-routines-position",
    "x-routines-repeated",
    "x-next-cursor",
    "link",
    "etag",
    "retry-after",
    "www-authenticate",
}


class Description:
    def __init__(self, document: Json) -> None:
        self.document = document
        self.operations: list[tuple[str, str, Json]] = [
            (path, method, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]
        by_placeholders = sorted(self.operations, key=lambda operation: operation[0].count("{"))
        self._routes = [
            (method, re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) + "/?"), operation)
            for path, method, operation in by_placeholders
        ]

    def resolved(self, part: Json) -> Json:
        """What a reference leads to; what is none, as it is."""
        at: Any = self.document
        for step in part["$ref"].removeprefix("#/").split("/") if "$ref" in part else ():
            at = at[step]
        return at if "$ref" in part else part

    def check(self, response: httpx.Response) -> None:
        """Fails if the operation that was asked does not name the status and the headers that it answered with."""
        method, path = response.request.method, response.request.url.raw_path.decode().partition("?")[0]
        wanted = "get" if method == "HEAD" else method.lower()
        operation = next((one for verb, route, one in self._routes if verb == wanted and route.fullmatch(path)), None)
        if operation is None:
            return
        response_description = operation["responses"].get(str(response.status_code))
        assert response_description is not None, f"{method} {path} answered {response.status_code}"
        headers = {name.lower(): one for name, one in self.resolved(response_description).get("headers", {}).items()}
        required = {name for name, one in headers.items() if one.get("required")}
        assert required <= response.headers.keys() & OURS <= headers.keys(), f"{method} {path}: {response.headers}"
