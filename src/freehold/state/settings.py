"""Settings of a workspace: `freehold.toml`, over which the environment has the last word."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.state.workspace import Workspace


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkspaceSection(_Section):
    """`[workspace]`."""

    name: str = "workspace"


class StateSection(_Section):
    """`[state]`."""

    url: str | None = None
    """SQLAlchemy URL; None is SQLite in the workspace."""


class DecideSection(_Section):
    """`[decide]`."""

    margin_points: Annotated[float, Field(ge=0, le=50)] = 2.0
    """Points by which the own model may be worse and still count as good enough."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """Of each interval."""


class PricesSection(_Section):
    """`[prices]`."""

    alias: dict[str, str] = {}
    """Model name in the log -> `provider/model` of the price catalogue: an assumption that reports name."""


class Settings(BaseSettings):
    """All settings; unknown names are errors."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="FREEHOLD_", env_nested_delimiter="__")

    workspace: WorkspaceSection = WorkspaceSection()
    state: StateSection = StateSection()
    decide: DecideSection = DecideSection()
    prices: PricesSection = PricesSection()


def load_settings(workspace: Workspace) -> Settings:
    """The settings of a workspace.

    Raises:
        InputError: the file is no TOML, or values are unknown or not allowed; all faults at once.
    """
    try:
        return _settings_from(workspace.settings_file)
    except ValidationError as error:
        faults = [_describe(fault["loc"], fault["msg"], fault["type"]) for fault in error.errors()]
        raise InputError(f"{workspace.settings_file}: " + "; ".join(faults)) from error
    except SettingsError as error:
        raise InputError(f"A FREEHOLD_… variable of the environment cannot be used: {error}.") from error
    except (ValueError, OSError) as error:
        raise InputError(f"{workspace.settings_file}: cannot be read as TOML ({error}).") from error


def _settings_from(file: Path) -> Settings:
    class _FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del init_settings, dotenv_settings, file_secret_settings
            return env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)

    return _FromFile()


def _describe(location: tuple[int | str, ...], message: str, kind: str) -> str:
    name = ".".join(map(str, location))
    if kind != "extra_forbidden":
        return f"{name}: {message}"
    section = Settings.model_fields.get(str(location[0]))
    known = list(Settings.model_fields) if section is None or len(location) == 1 else []
    if section is not None and isinstance(section.annotation, type) and issubclass(section.annotation, BaseModel):
        known = list(section.annotation.model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"{name}: there is no such setting; {hint}"
