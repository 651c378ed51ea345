"""What the admin API takes and gives, and its OpenAPI document, made of the same types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from freehold import __version__
from freehold.gateway.small_server import MOST_BODY_BYTES

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


def openapi() -> dict[str, Any]:  # Any: JSON
    """The OpenAPI document."""
    schemas, components = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    types = {kind.__name__: schema for kind, schema in zip(_TYPES, schemas, strict=True)}

    def operation(
        name: str,
        summary: str,
        gives: str,
        *,
        status: str = "200",
        takes: str | None = None,
        needs_body: bool = False,
        parameters: tuple[dict[str, Any], ...] = (),
    ) -> dict[str, Any]:
        responses = {status: _json(types[gives], summary)}
        responses |= {code: _json(types["Refusal"], told) for code, told in _ERRORS.items()}
        found: dict[str, Any] = {"operationId": name, "summary": summary, "responses": responses}
        if parameters:
            found["parameters"] = [*parameters]
        if takes is not None:
            found["requestBody"] = {**_json(types[takes], ""), "required": needs_body}
            del found["requestBody"]["description"]
        return found

    key = {"name": "key", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    every = {"name": "all", "in": "query", "required": False, "schema": {"type": "boolean"}}
    document = operation("getDocument", "This document.", "Refusal")
    document["responses"] = {"200": _json({"type": "object"}, "This document."), "405": document["responses"]["405"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Freehold gateway: admin API",
            "version": __version__,
            "description": "Keys, state and life of a gateway. On a port of its own, closed without a token.",
        },
        "security": [{"token": []}],
        "paths": {
            f"{BASE}/openapi.json": {"get": {**document, "security": []}},
            f"{BASE}/status": {"get": operation("getStatus", "How the gateway is.", "Status")},
            f"{BASE}/providers": {"get": operation("getProviders", "Circuit breakers of all providers.", "Providers")},
            f"{BASE}/reload": {"post": operation("reload", "Read the settings anew, unless they are wrong.", "Done")},
            f"{BASE}/drain": {
                "post": operation("drain", "Take no new calls, let the others end, and stop.", "Done", status="202")
            },
            f"{BASE}/keys": {
                "get": operation("listKeys", "Keys by name; all: revoked ones too.", "Keys", parameters=(every,)),
                "post": operation(
                    "createKey",
                    "Make a key; its secret is shown this once.",
                    "Key",
                    status="201",
                    takes="NewKey",
                    needs_body=True,
                ),
            },
            f"{BASE}/keys/{{key}}": {
                "parameters": [key],
                "get": operation("getKey", "One key, by its id or its name.", "Key"),
                "patch": operation("changeLimits", "Change limits.", "Key", takes="LimitsChange", needs_body=True),
            },
            f"{BASE}/keys/{{key}}/rotate": {
                "parameters": [key],
                "post": operation("rotateKey", "A new secret, shown this once.", "Key", takes="Rotation"),
            },
            f"{BASE}/keys/{{key}}/revoke": {
                "parameters": [key],
                "post": operation("revokeKey", "End a key with all its secrets.", "Key", takes="Revocation"),
            },
        },
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _json(schema: dict[str, Any], told: str) -> dict[str, Any]:
    return {"description": told, "content": {"application/json": {"schema": schema}}}
