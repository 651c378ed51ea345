"""Settings of a workspace: `freehold.toml`, over which the environment has the last word."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Literal

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
    overrides: str | None = None
    """YAML file of dated prices of your own, relative to the workspace's folder; they come before the catalogue."""


class ProviderSection(_Section):
    """`[providers.NAME]`: one place where models are asked."""

    base_url: str
    """With the path that stands before `/chat/completions`; without a path it is `/v1`."""
    dialect: Literal["openai", "anthropic", "azure"] = "openai"
    api_key_env: str | None = None
    """Variable of the environment that holds the key."""
    api_key_file: str | None = None
    """File that holds the key and nothing else; relative to the settings file."""
    api_version: str | None = None
    """Azure's `api-version`, for clients that name none."""
    headers: dict[str, str] = {}
    """Sent with each request, over what the client sent."""
    models: dict[str, str] = {}
    """Name that clients use -> the provider's own name of the model."""
    prefixes: list[str] = []
    """Models whose names begin like this are served here."""
    route: Literal["rent", "own"] = "rent"
    """How the ledger counts its calls."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Further attempts after one that failed safely."""
    connect_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    idle_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """Longest silence between two bytes of an answer."""
    timeout_s: Annotated[float, Field(gt=0)] = 900.0
    """Of a call as a whole, retries included."""
    max_connections: Annotated[int, Field(ge=1)] = 1000
    """Per worker."""
    keep_alive_s: Annotated[float, Field(ge=0)] = 15.0
    """An idle connection is used again within this time."""
    ca_file: str | None = None
    """Certificates in PEM that its TLS certificate must come from; None: those of the system."""
    stream_usage: bool = True
    """Ask for the usage of streams. Switch it off for a server that refuses `stream_options`."""


class AdminSection(_Section):
    """`[gateway.admin]`: who may watch and steer the gateway, and where. Off without a token."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8401
    """Of the admin API, apart from the calls."""
    token_env: str | None = None
    """Variable of the environment that holds the token."""
    token_file: str | None = None
    """File that holds the token and nothing else; relative to the settings file."""


class SpansSection(_Section):
    """`[gateway.spans]`: OpenTelemetry spans of calls, without content. Off without an endpoint."""

    endpoint: str | None = None
    """Address of a collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`."""
    sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of calls that become spans; which ones follows from their trace."""


class GatewaySection(_Section):
    """`[gateway]`."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8400
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    default_provider: str | None = None
    """Serves what no other rule places; None: the only provider there is, or none."""
    models: dict[str, str | list[str]] = {}
    """Model or `prefix*` -> `provider` or `provider/model`; of a list, the next is asked when one fails."""
    durability: Literal["process", "power"] = "process"
    """What a completed call survives: the death of the process, or of the machine."""
    max_body_mb: Annotated[float, Field(gt=0)] = 64.0
    client_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest silence of a client that sends a request."""
    max_connections: Annotated[int, Field(ge=1)] = 4096
    """Of clients, per worker; more are told to come back."""
    drain_s: Annotated[float, Field(ge=0)] = 30.0
    """Time that calls under way have when the gateway stops."""
    housekeeping: bool = True
    """A process beside the workers turns what they record into the ledger's files, every five seconds."""
    log_calls: bool = False
    """One line per call on standard error, without content."""
    admin: AdminSection = AdminSection()
    spans: SpansSection = SpansSection()


class TaskLedgerSection(_Section):
    """`[ledger.tasks.NAME]`: what is kept of one task's calls; what is not said here is as in `[ledger]`."""

    bodies: Literal["keep", "mask", "none"] | None = None
    sample: Annotated[float, Field(ge=0, le=1)] | None = None
    bodies_days: Annotated[int, Field(ge=1)] | None = None
    rows_days: Annotated[int, Field(ge=1)] | None = None


class LedgerSection(_Section):
    """`[ledger]`."""

    bodies: Literal["keep", "mask", "none"] = "keep"
    """Bodies of calls: kept, kept with personal data masked, or not kept at all."""
    sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of calls whose bodies are kept."""
    bodies_days: Annotated[int, Field(ge=1)] | None = None
    """Days after which bodies are removed; None: never."""
    rows_days: Annotated[int, Field(ge=1)] | None = None
    """Days after which rows are removed, daily sums excepted; None: never."""
    hot_days: Annotated[int, Field(ge=1)] = 30
    """Days that the index of calls reaches back."""
    segment_mib: Annotated[int, Field(ge=1, le=4096)] = 64
    """A worker begins a new segment beyond this."""
    segment_age_s: Annotated[float, Field(ge=1)] | None = None
    """Or after this time: raw bodies of masked tasks lie in segments for so long. None: 300, or 30 if a task masks."""
    backlog_mib: Annotated[int, Field(ge=1)] | None = None
    """No new calls while the segments hold more than this; None: no limit."""
    min_free_mib: Annotated[int, Field(ge=0)] = 256
    """No new calls while the disk has less than this left."""
    tasks: dict[str, TaskLedgerSection] = {}
    """Task -> what differs from the above."""


class TaskRule(_Section):
    """`[[tasks.rules]]`: calls that fit all that is said here belong to the task."""

    task: str
    model: str | None = None
    """Glob of the model that the client names."""
    path: str | None = None
    """Glob of the request's path, e.g. `/v1/embeddings`."""
    system_regex: str | None = None
    """Pattern that is found in the first 1,024 characters of the system message."""
    system_fingerprint: str | None = None
    """Beginning (12 hexadecimal digits or more) of the system message's fingerprint."""
    headers: dict[str, str] = {}
    """Name of a header -> glob of its value."""


class TasksSection(_Section):
    """`[tasks]`."""

    default: str = "default"
    """Task of calls for which nothing else names one."""
    rules: list[TaskRule] = []
    """The first one that fits decides."""


_INNER: dict[tuple[int | str, ...], type[_Section]] = {
    ("gateway", "admin"): AdminSection,
    ("gateway", "spans"): SpansSection,
}


class Settings(BaseSettings):
    """All settings; unknown names are errors."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="FREEHOLD_", env_nested_delimiter="__")

    workspace: WorkspaceSection = WorkspaceSection()
    state: StateSection = StateSection()
    decide: DecideSection = DecideSection()
    prices: PricesSection = PricesSection()
    providers: dict[str, ProviderSection] = {}
    gateway: GatewaySection = GatewaySection()
    ledger: LedgerSection = LedgerSection()
    tasks: TasksSection = TasksSection()


def load_settings(workspace: Workspace, file: Path | None = None) -> Settings:
    """The settings of a workspace, from its own file or from another one.

    Raises:
        InputError: the file is no TOML, or values are unknown or not allowed; all faults at once.
    """
    file = file or workspace.settings_file
    try:
        return _settings_from(file)
    except ValidationError as error:
        faults = [_describe(fault["loc"], fault["msg"], fault["type"]) for fault in error.errors()]
        raise InputError(f"{file}: " + "; ".join(faults)) from error
    except SettingsError as error:
        raise InputError(f"A FREEHOLD_… variable of the environment cannot be used: {error}.") from error
    except (ValueError, OSError) as error:
        raise InputError(f"{file}: cannot be read as TOML ({error}).") from error


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
    known = _names_beside(location)
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"{name}: there is no such setting; {hint}"


def _names_beside(location: tuple[int | str, ...]) -> list[str]:
    """What may stand where an unknown name stood."""
    if len(location) == 1:
        return list(Settings.model_fields)
    if location[0] == "providers":
        return list(ProviderSection.model_fields)
    if location[:2] == ("tasks", "rules"):
        return list(TaskRule.model_fields)
    if location[:2] in _INNER:
        return list(_INNER[location[:2]].model_fields)
    section = Settings.model_fields[str(location[0])].annotation
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []
