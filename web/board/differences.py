"""What one revision of a routine changed against the one before it."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from web.board import environment, words

Json = Mapping[str, Any]
LEFT_OUT = ("id", "companyId", "publicId")
ENVIRONMENT = "env"
NOTHING: tuple[object, ...] = (None, [], {}, "")


class Change(NamedTuple):
    """A field that changed: its name, and its values before and after; None where there was or is none."""

    field: str
    before: str | None
    after: str | None


def changes_between(before: Json | None, after: Json) -> list[Change]:
    """Return what a revision changed; for the first one, what it began with."""
    old = before["snapshot"] if before else {"routine": {}, "triggers": []}
    new = after["snapshot"]
    changes = list(_changed_fields("", old["routine"], new["routine"], is_first=before is None))
    olds, news = ({trigger["id"]: trigger for trigger in one["triggers"]} for one in (old, new))
    for id_ in [*olds, *(id_ for id_ in news if id_ not in olds)]:
        name = _name_trigger(news.get(id_) or olds[id_])
        if id_ not in news:
            changes.append(Change(name, _schedule(olds[id_]), None))
        elif id_ not in olds:
            changes.append(Change(name, None, _schedule(news[id_])))
        else:
            changes += _changed_fields(f"{name}: ", olds[id_], news[id_], is_first=False)
    return changes


def _changed_fields(prefix: str, old: Json, new: Json, *, is_first: bool) -> Iterator[Change]:
    for field in [*new, *(field for field in old if field not in new)]:
        before, after = old.get(field), new.get(field)
        if field in LEFT_OUT or before == after or (is_first and after in NOTHING):
            continue
        yield Change(prefix + field, in_words(field, before) or None, in_words(field, after) or None)


def _name_trigger(trigger: Json) -> str:
    return f"trigger {trigger['label'] or trigger['kind']}"


def _schedule(trigger: Json) -> str:
    if trigger["kind"] != "schedule":
        return str(trigger["kind"])
    return f"{trigger['cronExpression'] or trigger['runAt']} {trigger['timezone']}"


def in_words(field: str, value: Any) -> str:
    """Return the value of a setting as people read it; nothing for none."""
    if field == ENVIRONMENT:
        return "; ".join(f"{name}: {holds}" for name, holds in environment.in_words(value))
    return _text_of_value(value)


def _text_of_value(value: Any) -> str:
    match value:
        case str():
            return value
        case dict():
            return ", ".join(
                f"{words.spell_field(name)} {_text_of_value(one)}" for name, one in value.items() if one not in NOTHING
            )
        case list():
            return ("; " if any(isinstance(one, dict) for one in value) else ", ").join(map(_text_of_value, value))
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)
