"""A trained version, the base it stands on, and what is known of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.tuning.merge import MergedArrays, MergedWeights

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.tuning.bases import BaseModel
    from freehold.tuning.card import Card


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What an artefact is made from."""

    id: str
    sha256: str
    folder: Path
    """Its PEFT folder, or its Hugging Face folder if every weight was trained. Its files were verified."""
    base: BaseModel
    card: Card
    """All that is known of it; the form's own facts are added."""

    @property
    def is_whole(self) -> bool:
        """It is no adapter but a model of its own."""
        return (self.folder / "config.json").is_file()

    @property
    def source(self) -> Path:
        """Folder with the configuration, the tokenizer and the weights to start from."""
        return self.folder if self.is_whole else self.base.folder

    def weights(self) -> MergedWeights:
        """Its weights, an adapter's added to those of the base."""
        return MergedWeights(self.source, None if self.is_whole else self.folder)

    def arrays(self) -> MergedArrays:
        """The same for numpy."""
        return MergedArrays(self.weights())
