"""Spans of the gateway put together: what they need, and the process that sends them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from freehold.core.errors import InputError, MissingExtra
from freehold.gateway.watch.span_names import SpanProvider

if TYPE_CHECKING:
    import socket

    from freehold.gateway.workers import Stop
    from freehold.state.settings import ProviderSection, Settings

_PACKAGE = "opentelemetry-exporter-otlp-proto-http"
_MODULES = ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def check_spans(endpoint: str) -> None:
    """Refuse what spans cannot be sent with.

    Raises:
        InputError: the address is none, or a package is missing.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InputError(f"[gateway.spans] endpoint {endpoint!r} is no address, such as http://127.0.0.1:4318.")
    try:
        is_there = all(find_spec(module) is not None for module in _MODULES)
    except ModuleNotFoundError:
        is_there = False
    if not is_there:
        raise MissingExtra("[gateway.spans]", _PACKAGE, "otel")


def export(reader: socket.socket, settings: Settings, stop: Stop) -> None:
    """Send spans until told to stop."""
    from freehold.gateway.watch.span_export import export_spans  # large, and for this process alone

    spans = settings.gateway.spans
    assert spans.endpoint is not None
    providers = {name: _provider(section) for name, section in settings.providers.items()}
    export_spans(reader, spans.endpoint, providers, sample=spans.sample, stop=stop)


def _provider(section: ProviderSection) -> SpanProvider:
    parts = urlsplit(section.base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return SpanProvider(section.dialect, parts.hostname, port)
