"""Fills the templates of the pages: all extend `page.html`, which fetches nothing and lets nothing run."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from freehold import __version__


def rendered(template: str, **values: Any) -> str:  # Any: whatever the template writes
    """A page of a template; what it does not know is an error, and what it writes is escaped."""
    environment = Environment(
        loader=PackageLoader("freehold.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=__version__, **values)


def _unbroken(value: Any) -> Any:  # Any: whatever a template writes
    """Text in which no number parts from its percent sign at the end of a line."""
    return value.replace(" %", "\u00a0%") if isinstance(value, str) else value
