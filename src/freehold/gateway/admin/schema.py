"""What the admin API takes and gives, and its OpenAPI document, made of the same types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from freehold import __version__
from freehold.gateway.admin.server import MOST_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE = "/admin/v1"
_LONGEST_S = 3650 * 86_400
_Name = Annotated[str, Meta(pattern=r"^(?!key-|fh-)[A-Za-z0-9]([A-Za-z0-9 _.:@-]{0,98}[A-Za-z0-9])?$")]
_TaskName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9 _.:@-]{0,98}[A-Za-z0-9])?$")]
_Glob = Annotated[str, Meta(pattern=r"^[!-~]([ -~]{0,198}[!-~])?$")]
_Globs = Annotated[list[_Glob], Meta(max_length=100)]
_Reason = Annotated[str, Meta(pattern=r"^[ -~]{0,500}$")]
_Count = Annotated[int, Meta(ge=1, le=4_000_000_000_000_000_000)]
_Dollars = Annotated[float, Meta(ge=0.000001, le=4_000_000_000)]


class NewLimits(Struct, forbid_unknown_fields=True, omit_defaults=True, rename=lambda name: name.replace("_", "/")):
    """Most of each measure in each minute, day or month of the calendar in UTC; null: no such limit."""

    requests_minute: _Count | UnsetType | None = UNSET
    requests_day: _Count | UnsetType | None = UNSET
    requests_month: _Count | UnsetType | None = UNSET
    tokens_minute: _Count | UnsetType | None = UNSET
    tokens_day: _Count | UnsetType | None = UNSET
    tokens_month: _Count | UnsetType | None = UNSET
    usd_minute: _Dollars | UnsetType | None = UNSET
    usd_day: _Dollars | UnsetType | None = UNSET
    usd_month: _Dollars | UnsetType | None = UNSET


class NewKey(Struct, forbid_unknown_fields=True):
    """A key that is to be made."""

    name: _Name
    task: _TaskName | None = None
    tasks: _Globs = []
    models: _Globs = []
    limits: NewLimits = msgspec.field(default_factory=NewLimits)
    expires_in_s: Annotated[int, Meta(ge=1, le=_LONGEST_S)] | None = None


class LimitsChange(Struct, forbid_unknown_fields=True):
    """Limits that are named change; others stay."""

    limits: NewLimits


class Rotation(Struct, forbid_unknown_fields=True):
    """How long the old secrets stay valid."""

    grace_s: Annotated[int, Meta(ge=0, le=_LONGEST_S)] = 86_400


class Revocation(Struct, forbid_unknown_fields=True):
    """Why; it is kept in the audit trail."""

    reason: _Reason | None = None


class KeyLimit(Struct):
    """A limit, and what is used of it in the window that runs."""

    measure: Literal["requests", "tokens", "usd"]
    period: Literal["minute", "day", "month"]
    amount: float
    spent: float


class KeySecret(Struct):
    """What may be known of a secret."""

    prefix: str
    created_at: str
    expires_at: str | None


class Key(Struct):
    """A key. `secret` is there once, when it is made."""

    id: str
    name: str
    is_usable: bool
    task: str | None
    tasks: list[str]
    models: list[str]
    limits: list[KeyLimit]
    secrets: list[KeySecret]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    secret: str | UnsetType = UNSET


class Keys(Struct):
    """Keys by name."""

    keys: list[Key]


class ProviderState(Struct):
    """A provider, as the worker sees it that knows the worst of it."""

    name: str
    state: Literal["closed", "open", "half-open"]
    """open: it failed several times in a row and is left alone; half-open: one call tries whether it is back."""
    failures: int
    rests_s: float
    workers: int
    resting: int
    """Workers that leave it alone."""


class Providers(Struct):
    """All providers."""

    providers: list[ProviderState]


class Process(Struct):
    """A process of the gateway."""

    name: str
    pid: int
    memory_mib: float | None


class Status(Struct):
    """How the gateway is."""

    version: str
    at: float
    attempts: int
    requests_in_progress: int
    refused: dict[str, int]
    providers: list[ProviderState]
    processes: list[Process]


class Done(Struct):
    """What was asked for has happened, or begins."""

    status: Literal["reloaded", "draining"]


class Fault(Struct):
    """Why not."""

    message: str
    type: str
    param: str | None
    code: str


class Refusal(Struct):
    """An error, in the shape of OpenAI's."""

    error: Fault


_TYPES = (NewKey, LimitsChange, Rotation, Revocation, Key, Keys, Providers, Status, Done, Refusal)
_ERRORS = {
    "400": "The request is not as this document has it.",
    "401": "The admin token is missing or wrong.",
    "404": "There is no such key or path.",
    "405": "The path has no such method.",
    "409": "It contradicts what is there; nothing was changed.",
    "413": f"The body has more than {MOST_BODY_BYTES} bytes.",
    "415": "The body is not called application/json.",
    "503": "The state database, or the gateway, does not answer.",
}


Json = dict[str, Any]  # Any: JSON
_KEY = {"name": "key", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_ALL = {"name": "all", "in": "query", "required": False, "schema": {"type": "boolean"}}


def openapi() -> Json:
    """The OpenAPI document."""
    schemas, components = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    types = {kind.__name__: schema for kind, schema in zip(_TYPES, schemas, strict=True)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Freehold gateway: admin API",
            "version": __version__,
            "description": "Keys, state and life of a gateway. On a port of its own, closed without a token.",
        },
        "security": [{"token": []}],
        "paths": {f"{BASE}{path}": item for path, item in _paths(types).items()},
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _paths(types: Mapping[str, Json]) -> dict[str, Json]:
    def operation(name: str, summary: str, gives: str, *, status: str = "200", **more: Any) -> Json:
        responses = {status: _json(types[gives], summary)}
        responses |= {code: _json(types["Refusal"], told) for code, told in _ERRORS.items()}
        return {"operationId": name, "summary": summary, "responses": responses, **more}

    def takes(kind: str, *, is_needed: bool) -> Json:
        return {"required": is_needed, "content": {"application/json": {"schema": types[kind]}}}

    document = operation("getDocument", "This document.", "Refusal", security=[])
    document["responses"] = {"200": _json({"type": "object"}, "This document."), "405": document["responses"]["405"]}
    reload = operation("reload", "Read the settings anew, unless they are wrong.", "Done")
    drain = operation("drain", "Take no new calls, let the others end, and stop.", "Done", status="202")
    create = operation(
        "createKey",
        "Make a key; its secret is shown this once.",
        "Key",
        status="201",
        requestBody=takes("NewKey", is_needed=True),
    )
    change = operation("changeLimits", "Change limits.", "Key", requestBody=takes("LimitsChange", is_needed=True))
    rotation, revocation = takes("Rotation", is_needed=False), takes("Revocation", is_needed=False)
    rotate = operation("rotateKey", "A new secret, shown this once.", "Key", requestBody=rotation)
    revoke = operation("revokeKey", "End a key with all its secrets.", "Key", requestBody=revocation)
    return {
        "/openapi.json": {"get": document},
        "/status": {"get": operation("getStatus", "How the gateway is.", "Status")},
        "/providers": {"get": operation("getProviders", "Circuit breakers of all providers.", "Providers")},
        "/reload": {"post": reload},
        "/drain": {"post": drain},
        "/keys": {
            "get": operation("listKeys", "Keys by name; all: revoked ones too.", "Keys", parameters=[_ALL]),
            "post": create,
        },
        "/keys/{key}": {
            "parameters": [_KEY],
            "get": operation("getKey", "One key, by its id or its name.", "Key"),
            "patch": change,
        },
        "/keys/{key}/rotate": {"parameters": [_KEY], "post": rotate},
        "/keys/{key}/revoke": {"parameters": [_KEY], "post": revoke},
    }


def _json(schema: Json, told: str) -> Json:
    return {"description": told, "content": {"application/json": {"schema": schema}}}
