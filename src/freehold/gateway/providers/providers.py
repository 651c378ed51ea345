"""Where models are asked: the providers of the settings, checked, with their keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

from freehold.core.errors import InputError
from freehold.gateway.http.headers import CREDENTIALS, Header, is_header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.state.settings import ProviderSection

Dialect = Literal["openai", "anthropic", "azure"]

_DEFAULT_PATH = "/v1"
_MOST_REMEMBERED = 1024
"""Addresses that are kept ready; clients choose the paths, so there must be an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider, ready to be asked."""

    name: str
    base_url: str
    """Without a slash at the end; with `/v1` where the settings named no path."""
    dialect: Dialect
    own_headers: tuple[Header, ...] = field(repr=False)
    """The credential and the configured headers. Never shown."""
    api_version: str | None
    models: Mapping[str, str]
    prefixes: tuple[str, ...]
    route: Literal["rent", "own"]
    retries: int
    connect_timeout_s: float
    idle_timeout_s: float
    timeout_s: float
    max_connections: int
    keep_alive_s: float
    ca_file: Path | None
    stream_usage: bool
    _urls: dict[tuple[str, str | None], str] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def names_model_in_path(self) -> bool:
        """Azure's addresses before its `/openai/v1`."""
        return self.dialect == "azure" and not self.base_url.endswith("/v1")

    def url(self, tail: str, query: str, model: str | None) -> str:
        """Address of an endpoint.

        Args:
            tail: The path after `/v1`, with its slash.
            query: As the client sent it.
            model: The provider's name of the model; Azure wants it in the path.
        """
        if query:
            return self._url(tail, query, model)
        known = (tail, model if self.dialect == "azure" else None)
        url = self._urls.get(known)
        if url is None:
            url = self._url(tail, query, model)
            if len(self._urls) < _MOST_REMEMBERED:
                self._urls[known] = url
        return url

    def _url(self, tail: str, query: str, model: str | None) -> str:
        parameters = [part for part in query.split("&") if part]
        if self.dialect != "azure":
            kept = [part for part in parameters if not part.startswith("api-version=")]
            return _address(self.base_url + tail, kept)
        if not any(part.startswith("api-version=") for part in parameters) and self.api_version:
            parameters.append(f"api-version={quote(self.api_version, safe='')}")
        if not self.names_model_in_path or model is None:
            return _address(self.base_url + tail, parameters)
        return _address(f"{self.base_url}/deployments/{quote(model, safe='')}{tail}", parameters)


def _address(path: str, parameters: list[str]) -> str:
    return f"{path}?{'&'.join(parameters)}" if parameters else path


def provider_of(name: str, section: ProviderSection, *, folder: Path, environment: Mapping[str, str]) -> Provider:
    """A provider from its settings.

    Args:
        name: As in `[providers.NAME]`.
        section: Its settings.
        folder: Relative files lie here.
        environment: Holds the keys.

    Raises:
        InputError: an address, a header, a key or a file cannot be used; all faults at once, keys never shown.
    """
    faults: list[str] = []
    base_url = _base_url(section, faults)
    own_headers = tuple(_own_headers(section, _key(section, folder, environment, faults), faults))
    ca_file = None if section.ca_file is None else folder / section.ca_file
    if ca_file is not None and not ca_file.is_file():
        faults.append(f"ca_file {str(ca_file)!r} is not there")
    if "/" in name or not name.strip():
        faults.append("its name holds a slash or is empty")
    if faults:
        raise InputError(f"[providers.{name}]: " + "; ".join(faults) + ".")
    return Provider(
        name=name,
        base_url=base_url,
        dialect=section.dialect,
        own_headers=own_headers,
        api_version=section.api_version,
        models=dict(section.models),
        prefixes=tuple(section.prefixes),
        route=section.route,
        retries=section.retries,
        connect_timeout_s=section.connect_timeout_s,
        idle_timeout_s=section.idle_timeout_s,
        timeout_s=section.timeout_s,
        max_connections=section.max_connections,
        keep_alive_s=section.keep_alive_s,
        ca_file=ca_file,
        stream_usage=section.stream_usage,
    )


def _base_url(section: ProviderSection, faults: list[str]) -> str:
    try:
        parts = urlsplit(section.base_url)
        _ = parts.port
    except ValueError as error:
        faults.append(f"base_url is no address ({error})")
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        faults.append("base_url must begin with http:// or https:// and name a host")
    if parts.username or parts.password:
        faults.append("base_url holds a credential; name its variable in api_key_env instead")
    if parts.query or parts.fragment:
        faults.append("base_url ends before '?' and '#'; Azure's version goes into api_version")
    path = parts.path.rstrip("/")
    if not path:
        path = "/openai" if section.dialect == "azure" else _DEFAULT_PATH
    return f"{parts.scheme}://{parts.netloc}{path}"


def _key(section: ProviderSection, folder: Path, environment: Mapping[str, str], faults: list[str]) -> str | None:
    if section.api_key_env is not None and section.api_key_file is not None:
        faults.append("api_key_env and api_key_file are both given; keep one")
        return None
    if section.api_key_env is not None:
        key = environment.get(section.api_key_env, "").strip()
        if not key:
            faults.append(f"the variable {section.api_key_env} (api_key_env) is not set")
        return key
    if section.api_key_file is None:
        return None
    file = folder / Path(section.api_key_file).expanduser()
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no text"
        faults.append(f"api_key_file {str(file)!r} cannot be read ({why})")
        return None
    if not key:
        faults.append(f"api_key_file {str(file)!r} is empty")
    return key


def _own_headers(section: ProviderSection, key: str | None, faults: list[str]) -> list[Header]:
    named = {name.lower(): value for name, value in section.headers.items()}
    if key:
        match section.dialect:
            case "openai":
                credential = ("authorization", f"Bearer {key}")
            case "anthropic":
                credential = ("x-api-key", key)
            case "azure":
                credential = ("api-key", key)
        if not is_header(*credential):
            faults.append("its key holds a line break or another character that no header may hold")
        named.setdefault(*credential)
    for name, value in named.items():
        if not is_header(name, value):
            shown = "a credential" if name.encode() in CREDENTIALS else repr(name)
            faults.append(f"header {shown} holds a character that no header may hold")
    return [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in named.items()]
