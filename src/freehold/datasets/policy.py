"""What may train and how much is held out: the choices that a person makes when a dataset is built."""

from __future__ import annotations

from dataclasses import dataclass

from freehold.core.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of one build. They are written into the manifest."""

    test_share: float = 0.25
    """Share of the distinct cases with a human's word that is held out, unless a test set was imported."""
    validation_share: float = 0.10
    """Share of the rest that chooses between candidates."""
    allow_rented_output: bool = False
    """Whether a rented model's answer that no human checked may train. Many providers' terms forbid it."""

    def __post_init__(self) -> None:
        for name in ("test_share", "validation_share"):
            share = getattr(self, name)
            if not 0 < share < 1:
                raise InputError(f"{name} is {share!r}; it must lie between 0 and 1, for example 0.25.")

    def as_dict(self) -> dict[str, float | bool]:
        """The policy as the manifest keeps it."""
        return {
            "test_share": self.test_share,
            "validation_share": self.validation_share,
            "allow_rented_output": self.allow_rented_output,
        }
