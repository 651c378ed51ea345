"""Does a value obey a JSON Schema? The keywords that answers of language models are asked for, no more."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
}


def obeys(value: Any, schema: Any) -> bool:  # noqa: PLR0911 -- one line per keyword; Any: JSON
    """Whether `value`, numbers parsed as Decimal, is what `schema` describes.

    Known: type, enum, const, anyOf, properties, required, additionalProperties (true or false), items.
    Other keywords are not checked.
    """
    if not isinstance(schema, Mapping):
        return schema is not False
    types = schema.get("type")
    names = [types] if isinstance(types, str) else types
    if names is not None and not any(_is_of_type(value, name) for name in names):
        return False
    if "enum" in schema and not any(_is_same(value, allowed) for allowed in schema["enum"]):
        return False
    if "const" in schema and not _is_same(value, schema["const"]):
        return False
    if "anyOf" in schema and not any(obeys(value, choice) for choice in schema["anyOf"]):
        return False
    if isinstance(value, dict):
        return _object_obeys(value, schema)
    if isinstance(value, list) and "items" in schema:
        return all(obeys(item, schema["items"]) for item in value)
    return True


def _object_obeys(value: dict[str, Any], schema: Mapping[str, Any]) -> bool:  # Any: JSON
    properties = schema.get("properties", {})
    if not all(name in value for name in schema.get("required", ())):
        return False
    if schema.get("additionalProperties") is False and not all(name in properties for name in value):
        return False
    return all(obeys(item, properties[name]) for name, item in value.items() if name in properties)


def _is_of_type(value: Any, name: str) -> bool:  # Any: JSON
    if name in ("number", "integer"):
        return isinstance(value, Decimal) and (name == "number" or _is_whole(value))
    return isinstance(value, _PYTHON_TYPES.get(name, ()))


def _is_whole(value: Decimal) -> bool:
    # A large exponent is never expanded: such a number is whole by its form.
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and (exponent >= 0 or value == value.to_integral_value())


def _is_same(value: Any, allowed: Any) -> bool:  # Any: JSON
    if isinstance(value, bool) or isinstance(allowed, bool):
        return value is allowed
    if isinstance(value, Decimal) and isinstance(allowed, int | float):
        return value == Decimal(str(allowed))
    return bool(value == allowed)
