"""Writes a page to the file that a user named, whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def check_page(page: Path) -> None:
    """Refuse a file that cannot be written, before anything is computed for it.

    Raises:
        InputError: its folder is not there, or it is a folder itself.
    """
    if not page.parent.is_dir():
        raise InputError(
            f"{page} cannot be written: there is no folder {page.parent}. Create it, or name another file."
        )
    if page.is_dir():
        raise InputError(f"{page} cannot be written: it is a folder. Name a file in it.")


def write_page(page: Path, text: str) -> None:
    """Replace a file as a whole.

    Raises:
        InputError: as `check_page`.
    """
    check_page(page)
    unfinished = page.with_name(f"{page.name}.writing")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(page)
