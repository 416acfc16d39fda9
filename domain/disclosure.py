"""
The one rule about who is shown addresses, wherever they occur.

An address may be a secret in itself: whoever knows where a webhook without a signature is called can call it, and the
URL of a receiver often holds its token. So an address is shown to whoever may change it; everybody else, and every
receiver of events, gets the same answer with a mask in its place. A field that is empty stays empty.
"""

from typing import Any, TypeVar, cast

import msgspec

MASK = "***"  # shown in place of an address; a client that sends it back leaves the address as it is
ADDRESSES = frozenset(  # names of fields, in any event, value or answer
    {
        "adapter_config",  # how an agent's host reaches it; the names of its settings stay visible
        "email",
        "heartbeat_url",
        "public_id",  # of a webhook: its address, and with the signing mode `none` its only secret
        "url",  # of a webhook endpoint or a callback
        "webhook_url",
    }
)
T = TypeVar("T")


def mask_addresses(value: T) -> T:
    """Return the same event, value or answer (or a list or mapping of those) with its addresses masked."""
    return cast("T", _mask_value(value))


def mask_unless(value: T, *, addresses: bool) -> T:
    """Return the value as it is when `addresses` is true (to whoever may change them), otherwise masked."""
    return value if addresses else mask_addresses(value)


def _mask_value(value: Any) -> Any:
    match value:
        case msgspec.Struct():
            return msgspec.structs.replace(
                value, **{name: _masked_field(value, name) for name in value.__struct_fields__}
            )
        case list() | tuple():
            return type(value)(_mask_value(item) for item in value)
        case dict():  # JSON from clients holds no structs, so it stays as it is
            return {key: _mask_value(item) if isinstance(item, msgspec.Struct) else item for key, item in value.items()}
        case _:
            return value


def _masked_field(value: msgspec.Struct, name: str) -> Any:
    content = getattr(value, name)
    return _hide_text(content) if name in ADDRESSES else _mask_value(content)


def _hide_text(value: Any) -> Any:
    match value:
        case str():
            return MASK
        case dict():
            return dict.fromkeys(value, MASK)
        case _:
            return value
