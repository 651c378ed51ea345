"""A workspace: a folder with `freehold.toml`, and beside it `.freehold` with all that Freehold writes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from freehold.core.errors import InputError

SETTINGS_FILE = "freehold.toml"
DATA_FOLDER = ".freehold"

_FIRST_SETTINGS = Path(__file__).with_name("first_settings.toml")


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where everything of one workspace lies."""

    root: Path

    @property
    def settings_file(self) -> Path:
        """`freehold.toml`."""
        return self.root / SETTINGS_FILE

    @property
    def data(self) -> Path:
        """Everything that Freehold writes."""
        return self.root / DATA_FOLDER

    @property
    def events(self) -> Path:
        """The ledger: what gateways write, and what is made of it."""
        return self.data / "events"

    @property
    def segments(self) -> Path:
        """What gateways' workers have recorded and nobody has ingested yet."""
        return self.events / "segments"

    @property
    def calls(self) -> Path:
        """The ledger's Parquet files, by day."""
        return self.events / "calls"

    @property
    def datasets(self) -> Path:
        """A folder per dataset version."""
        return self.data / "datasets"

    @property
    def models(self) -> Path:
        """A folder per model version."""
        return self.data / "models"

    @property
    def runs(self) -> Path:
        """Checkpoints of training runs that have not finished."""
        return self.data / "runs"

    @property
    def evaluations(self) -> Path:
        """Cached answers of contenders and finished evaluation records."""
        return self.data / "evaluations"

    @property
    def decisions(self) -> Path:
        """Verdicts: JSON record, signature and HTML page."""
        return self.data / "decisions"

    @property
    def artefacts(self) -> Path:
        """Model versions in the forms that others read, a folder per version."""
        return self.data / "artefacts"

    @property
    def serving(self) -> Path:
        """Adapters in the engine's format, and the engine's log: all of it can be made again."""
        return self.data / "serving"

    @property
    def signing_key(self) -> Path:
        """Ed25519 private key, PEM, readable by its owner alone."""
        return self.data / "workspace.key"

    @property
    def subject_key(self) -> Path:
        """Secret with which end users are hashed, readable by its owner alone."""
        return self.data / "subject.key"

    @property
    def default_state_url(self) -> str:
        """SQLite beside the data."""
        return f"sqlite:///{self.data / 'state.db'}"


def create_workspace(root: Path) -> tuple[Workspace, bool]:
    """Make `root` a workspace; what is there stays untouched.

    Returns:
        The workspace, and whether it is new.

    Raises:
        InputError: the folder cannot be written.
    """
    workspace = Workspace(root.resolve())
    is_new = not workspace.settings_file.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        workspace.data.mkdir(mode=0o700, exist_ok=True)  # it holds what customers wrote
        if is_new:
            name = workspace.root.name.replace("\\", "").replace('"', "")
            text = _FIRST_SETTINGS.read_text(encoding="utf-8").replace("@name@", name)
            workspace.settings_file.write_text(text, encoding="utf-8")
        ignore = workspace.data / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{workspace.root}: a workspace cannot be written here ({error.strerror}). "
            "Choose a folder that you may write to: freehold init FOLDER"
        ) from error
    return workspace, is_new


def find_workspace(start: Path | None = None) -> Workspace:
    """The workspace that `start` lies in: the folder itself or the nearest one above.

    Without `start` it is looked for from FREEHOLD_FOLDER, or else from the current folder.

    Raises:
        InputError: there is none.
    """
    chosen = os.environ.get("FREEHOLD_FOLDER")
    first = (start or Path(chosen or ".")).resolve()
    for folder in (first, *first.parents):
        if (folder / SETTINGS_FILE).is_file():
            return Workspace(folder)
    raise InputError(f"{first} is not in a workspace: no {SETTINGS_FILE} here or above. Make one with: freehold init")
