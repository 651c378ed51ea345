"""`freehold claims`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import all_option, json_option, show

if TYPE_CHECKING:
    from datetime import datetime

    from freehold.economics.claims.claim import ClaimsBook

_DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.command("claims")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--as-of", type=_DAY, help="Day of the prices (default: the day that FILE names).")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Also write the audit as one HTML page.")
@click.option("--formulas", is_flag=True, help="List the formulas that a claim can name, and stop.")
@all_option
@json_option
def command(
    file: Path | None, as_of: datetime | None, page: Path | None, formulas: bool, everything: bool, as_json: bool
) -> None:
    """Compute claims about costs again: verdict, arithmetic, and what would make each true.

    FILE is YAML: claims with their inputs, units and sources. Without it, the claims of the
    article that Freehold began with are audited.

    \b
    Examples:
      freehold claims
      freehold claims --all
      freehold claims --html audit.html
      freehold claims vendor-pitch.yaml --as-of 2026-06-15 --json
      freehold claims --formulas
    """
    from freehold.cli.page_file import check_page
    from freehold.economics.claims.audit import audit
    from freehold.economics.claims.reading import shipped_claims
    from freehold.report.claims_text import claims_text

    if page is not None:
        check_page(page)
    if formulas:
        _show_formulas(as_json=as_json)
        return
    book = shipped_claims() if file is None else _book(file)
    record = audit(book, as_of=None if as_of is None else as_of.date()).as_record()
    next_step = "freehold claims --html audit.html"
    if page is not None:
        _write(page, record)
        record["page"] = str(page)
        next_step = f"open {quote(str(page))}"
    show(record, claims_text(record, everything=everything), as_json=as_json, next_step=next_step)


def _book(file: Path) -> ClaimsBook:
    from freehold.core.errors import InputError
    from freehold.economics.claims.reading import MOST_BYTES, claims_book

    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}. Name a YAML file of claims.") from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(content) > MOST_BYTES:
            text = content.decode("utf-8", errors="replace")  # its size is what is wrong with it
        else:
            raise InputError(f"{file}: byte {error.start + 1} is not UTF-8. Save the file as UTF-8.") from error
    return claims_book(text, name=str(file))


def _write(page: Path, record: dict[str, Any]) -> None:  # Any: JSON
    from freehold.cli.page_file import write_page
    from freehold.report.claims_page import claims_page

    write_page(page, claims_page(record))


def _show_formulas(*, as_json: bool) -> None:
    from freehold.economics.claims.formulas import formulas_record
    from freehold.report.claims_text import formulas_text

    record = formulas_record()
    show(record, formulas_text(record), as_json=as_json, next_step="freehold claims FILE.yaml")
