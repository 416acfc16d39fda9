"""
The catalogue of events in the forms of standards: a JSON Schema (2020-12) of every kind, and an AsyncAPI 3 document of the
feeds. Both are made from the classes of `domain/events`, whose names and fields are promises.
"""

from functools import cache
from inspect import getdoc
from typing import Any

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from domain.events import STORED_NAMES
from web.events.formats import SCHEMA_PATH, Event
from web.http.media_types import JSON
from web.monitoring.health import VERSION

Json = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI_PATH = "/api/events/asyncapi"
SCHEMA_JSON, ASYNCAPI_JSON = "application/schema+json", "application/vnd.aai.asyncapi+json"
ENVELOPE: Json = {  # of an event as the log keeps it, without what the columns beside it hold
    "type": "object",
    "description": "An event as the log keeps it.",
    "required": ["at", "actor", "event"],
    "properties": {
        "at": {"type": "string", "format": "date-time", "description": "The moment of the decision, in UTC."},
        "actor": {
            "type": "string",
            "description": "Who decided: `user:<id>`, `agent:<id>`, `scheduler`, `system`, ...",
        },
        "company_id": {"type": ["string", "null"], "format": "uuid"},
        "cause": {"type": ["string", "null"], "description": "What led to it, such as an agent's work session."},
        "event": {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in STORED_NAMES]},
    },
}


@cache
def event_schema(address: str) -> Json:
    """Return the JSON Schema of every kind of event. `address` is that at which clients reach the API."""
    return {
        "$schema": DIALECT,
        "$id": f"{address}{SCHEMA_PATH}",
        "title": "Events of Routines",
        **ENVELOPE,
        "$defs": definitions("#/$defs/{name}"),
    }


def definitions(reference: str) -> Json:
    """Return the schema of each kind of event by its stored name, and of the values in them by the names of their classes."""
    _, components = msgspec.json.schema_components(
        [*STORED_NAMES.values(), Event], ref_template=reference, schema_hook=_any_json_schema
    )
    for schema in components.values():
        _leave_out_discriminators(schema)  # they are OpenAPI's, and AsyncAPI has others
    kinds = {name: components.pop(kind.__name__) for name, kind in STORED_NAMES.items()}
    for name, schema in kinds.items():
        schema["title"] = name
        schema["description"] = " ".join((getdoc(STORED_NAMES[name]) or "").split())
    return {**kinds, **components}


@cache
def asyncapi(address: str) -> Json:
    """Return the AsyncAPI document of the feeds. `address` is that at which clients reach the API."""
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    messages = {name: _event_message(name) for name in STORED_NAMES}
    feeds = {
        "companyEvents": (
            "/api/companies/{companyId}/events",
            "The events of a company.",
            {"companyId": {"description": "A company's id."}},
        ),
        "allEvents": ("/api/events", "The events of the whole installation.", {}),
    }
    return {
        "asyncapi": "3.0.0",
        "id": f"{address}{ASYNCAPI_PATH}",
        "info": {
            "title": "Events of Routines",
            "version": VERSION,
            "tags": [{"name": "events"}],
            "description": "What happens, as it happens: Server-Sent Events whose id is the position in the log. `Last-Event-ID` "
            f"resumes without gap or repeat. Pages of the same feeds are in the OpenAPI description ({address}/api/openapi.json).",
        },
        "defaultContentType": JSON,
        "servers": {
            "api": {
                "host": host,
                "protocol": scheme,
                **({"pathname": f"/{path}"} if slash else {}),
                "security": [{"$ref": "#/components/securitySchemes/bearer"}],
            }
        },
        "channels": {
            channel: {
                "address": place,
                "description": text,
                "servers": [{"$ref": "#/servers/api"}],
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                **({"parameters": parameters} if parameters else {}),
            }
            for channel, (place, text, parameters) in feeds.items()
        },
        "operations": {
            f"send{channel[0].upper()}{channel[1:]}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{channel}"},
                "summary": text,
                "description": "Sends each event once, in the order of the log, after the position of `Last-Event-ID`.",
                "bindings": {"http": {"method": "GET", "bindingVersion": "0.3.0"}},
            }
            for channel, (_, text, _) in feeds.items()
        },
        "components": {
            "messages": messages,
            "schemas": definitions("#/components/schemas/{name}"),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _any_json_schema(_kind: type) -> Json:
    """Return the schema of JSON that a client has sent: of whatever shape."""
    return {"description": "Any JSON."}


def _event_message(name: str) -> Json:
    reference = "#/components/schemas/{}"
    own = {"kind": {"const": name}, "data": {"$ref": reference.format(name)}}
    return {
        "name": name,
        "title": name,
        "summary": " ".join((getdoc(STORED_NAMES[name]) or "").split()),
        "payload": {"allOf": [{"$ref": reference.format("Event")}, {"type": "object", "properties": own}]},
    }


def _leave_out_discriminators(schema: Any) -> None:
    match schema:
        case dict():
            if isinstance(schema.get("discriminator"), dict):
                del schema["discriminator"]
            for part in schema.values():
                _leave_out_discriminators(part)
        case list():
            for part in schema:
                _leave_out_discriminators(part)


@get("/events/schema", include_in_schema=False)
async def event_schema_page(public_url: NamedDependency[str]) -> Response[bytes]:
    """Return the JSON Schema of every kind of event. Everybody may read it."""
    return Response(msgspec.json.encode(event_schema(public_url.rstrip("/"))), media_type=SCHEMA_JSON)


@get("/events/asyncapi", include_in_schema=False)
async def asyncapi_page(public_url: NamedDependency[str]) -> Response[bytes]:
    """Return the AsyncAPI document of the feeds. Everybody may read it."""
    return Response(msgspec.json.encode(asyncapi(public_url.rstrip("/"))), media_type=ASYNCAPI_JSON)
