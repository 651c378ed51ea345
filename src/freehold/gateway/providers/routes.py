"""Which provider answers a model, and under which name it knows it."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.gateway.providers.providers import Provider, provider_of
from freehold.gateway.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from freehold.state.settings import Settings

_MOST_REMEMBERED = 4096
"""Model names whose providers are kept ready; clients choose the names, so there must be an end."""


@dataclass(frozen=True, slots=True)
class Target:
    """One provider that can answer, and its own name of the model."""

    provider: Provider
    model: str | None
    """None: the name that the client used."""


class Routes:
    """The way from a model's name to its providers. Nothing changes after it is made: a reload makes another one."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        *,
        models: Mapping[str, Sequence[Target]],
        default_provider: str | None,
    ) -> None:
        """Take the providers by name, the table of `[gateway.models]`, and who serves the rest."""
        self.providers = dict(providers)
        self._exact = {name: tuple(targets) for name, targets in models.items() if not name.endswith("*")}
        patterns = [(name[:-1], tuple(targets)) for name, targets in models.items() if name.endswith("*")]
        for provider in providers.values():
            for served, own in provider.models.items():
                self._exact.setdefault(served, ())
                if served not in models:  # the table has the last word; without it the order of the file counts
                    self._exact[served] += (Target(provider, own if own != served else None),)
            patterns += [(prefix, (Target(provider, None),)) for prefix in provider.prefixes]
        self._patterns = sorted(patterns, key=lambda pair: -len(pair[0]))
        self._default = self._provider_for_the_rest(default_provider)
        self._known: dict[tuple[str | None, bool], tuple[Target, ...]] = {}

    @property
    def names(self) -> list[str]:
        """Models that the settings name, sorted."""
        return sorted(self._exact)

    @property
    def sole(self) -> Provider | None:
        """The only provider, or None if there are several."""
        return next(iter(self.providers.values())) if len(self.providers) == 1 else None

    def targets(self, model: str | None, *, is_anthropic: bool) -> tuple[Target, ...]:
        """Who can answer, in the order in which they are asked.

        Args:
            model: As the client names it; None if it names none.
            is_anthropic: The client speaks Anthropic's dialect.

        Raises:
            Refused: 404, no rule places the model.
        """
        found = self._known.get((model, is_anthropic))
        if found is None:
            found = self._find(model, is_anthropic)
            if len(self._known) < _MOST_REMEMBERED:
                self._known[model, is_anthropic] = found
        return found

    def _find(self, model: str | None, is_anthropic: bool) -> tuple[Target, ...]:
        if model is not None:
            if model in self._exact:
                return self._exact[model]
            name, _, rest = model.partition("/")
            if rest and name in self.providers:
                return (Target(self.providers[name], rest),)
            for prefix, targets in self._patterns:
                if model.startswith(prefix):
                    return targets
        if self._default is not None:
            return (Target(self._default, None),)
        speaking = [one for one in self.providers.values() if (one.dialect == "anthropic") == is_anthropic]
        if len(speaking) == 1:
            return (Target(speaking[0], None),)
        raise self._unknown(model)

    def _provider_for_the_rest(self, name: str | None) -> Provider | None:
        return self.sole if name is None else self.providers[name]

    def _unknown(self, model: str | None) -> Refused:
        if model is None:
            message = "The request names no model, and no default_provider is set for such requests."
        else:
            near = difflib.get_close_matches(model[:100], self.names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else " The gateway's settings place it with no provider."
            message = f"The model {model[:100]!r} does not exist here.{hint}"
        return Refused(404, message, code="model_not_found", param="model")


def routes_of(settings: Settings, folder: Path, environment: Mapping[str, str] = os.environ) -> Routes:
    """The routes that the settings describe.

    Args:
        settings: With at least one provider.
        folder: Relative files of the settings lie here.
        environment: Holds the providers' keys.

    Raises:
        InputError: no provider, a provider that cannot be used, or a rule that names none; all faults at once.
    """
    if not settings.providers:
        raise InputError(
            "No provider is set. Add to freehold.toml:\n"
            '[providers.openai]\nbase_url = "https://api.openai.com/v1"\napi_key_env = "OPENAI_API_KEY"'
        )
    faults: list[str] = []
    providers: dict[str, Provider] = {}
    for name, section in settings.providers.items():
        try:
            providers[name] = provider_of(name, section, folder=folder, environment=environment)
        except InputError as error:
            faults.append(str(error))
    gateway = settings.gateway
    table = {
        model: _targets(model, [rule] if isinstance(rule, str) else rule, providers, settings.providers, faults)
        for model, rule in gateway.models.items()
    }
    if gateway.default_provider is not None and gateway.default_provider not in settings.providers:
        faults.append(f"[gateway]: default_provider {gateway.default_provider!r} is not one of the providers.")
    if faults:
        raise InputError("\n".join(faults))
    return Routes(providers, models=table, default_provider=gateway.default_provider)


def _targets(
    model: str,
    rules: Sequence[str],
    providers: Mapping[str, Provider],
    known: Iterable[str],
    faults: list[str],
) -> list[Target]:
    targets = []
    for rule in rules:
        name, _, own = rule.partition("/")
        if name not in known:
            faults.append(f"[gateway.models] {model!r}: {name!r} is not one of the providers {sorted(known)}.")
        elif name in providers:
            targets.append(Target(providers[name], own or None))
    if not rules:
        faults.append(f"[gateway.models] {model!r}: names no provider.")
    return targets
