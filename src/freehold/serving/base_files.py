"""Base models as the CPU engine reads them, made once and kept beside the adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.core.identity import content_hash
from freehold.serving.gguf_export import export_base

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.core.progress import Progress
    from freehold.serving.gguf_export import GgufType


def base_gguf(
    source: Path, name: str, folder: Path, *, kind: GgufType, is_immutable: bool, progress: Progress | None = None
) -> Path:
    """The GGUF file of a model folder, written if it is not there.

    Half precision answers as the evaluation did; fewer bits differ now and then.

    Args:
        source: Hugging Face folder of the base, or of a whole model.
        name: What the file is called after.
        folder: Where such files lie.
        kind: How its matrices are stored.
        is_immutable: The folder never changes; otherwise its file is made anew when sizes or times of its files do.
        progress: Is told of the bytes.

    Raises:
        InputError: the model cannot be written as GGUF.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if is_immutable:
        target = folder / f"{name}-{kind}.gguf"
    else:
        files = [*sorted(source.glob("model*.safetensors")), *sorted(source.glob("*.json"))]
        state = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
        target = folder / f"{name}-{content_hash({'state': state})[:8]}-{kind}.gguf"
    if not target.exists():
        export_base(source, target, kind=kind, progress=progress)
    return target
