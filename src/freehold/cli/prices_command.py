"""`freehold prices`."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import json_option, show

if TYPE_CHECKING:
    from datetime import date

    from freehold.economics.catalogue import Tariff

TARIFF_NAMES = ("list", "batch", "flex", "priority")
_FILE = click.Path(path_type=Path, dir_okay=False)

as_of_option = click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d"]), help="Day of the prices, UTC; default: today, which is then stated."
)
overrides_option = click.option(
    "--overrides", type=_FILE, help="Your own dated prices; default: [prices] overrides of the workspace."
)
provider_option = click.option("--provider", help="Who sells it, as the catalogue calls them: openai, azure, aws, …")


class _Usd(click.ParamType[Decimal]):
    """An amount as it was typed, without the detour over a binary fraction."""

    name = "usd"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            self.fail(f"{value!r} is no amount of US dollars.", param, ctx)
        if not amount.is_finite():
            self.fail(f"{value!r} is no amount of US dollars.", param, ctx)
        return amount


@click.group("prices")
def command() -> None:
    """What models and machines cost to rent, on which day, and who says so.

    Prices come from a catalogue inside the installation (no network) and from your own dated rows. A price that
    is not dated for the day is refused, or the answer says what was assumed.
    """


@command.command("list")
@provider_option
@click.option("--search", help="Only models whose name contains this.")
@click.option("--gpus", is_flag=True, help="Rent of machines instead of models.")
@as_of_option
@overrides_option
@json_option
def list_all(
    provider: str | None,
    search: str | None,
    gpus: bool,
    as_of: datetime | None,
    overrides: Path | None,
    as_json: bool,
) -> None:
    """List models with their prices, or machines with their rents.

    \b
    Examples:
      freehold prices list --provider anthropic --as-of 2026-06-15
      freehold prices list --gpus
    """
    if gpus:
        _list_gpus(None if as_of is None else as_of.date(), as_json=as_json)
        return
    from freehold.cli.price_files import own_prices
    from freehold.cli.price_records import list_record
    from freehold.report.price_tables import price_list_text

    day, _ = _day(as_of)
    record = list_record(own_prices(overrides).overrides, day, provider=provider, search=search)
    show(record, price_list_text(record), as_json=as_json, next_step="freehold prices show MODEL --as-of DATE")


@command.command("show")
@click.argument("model")
@as_of_option
@click.option("--tariff", type=click.Choice(TARIFF_NAMES), default="list", show_default=True)
@provider_option
@overrides_option
@json_option
def show_one(
    model: str, as_of: datetime | None, tariff: Tariff, provider: str | None, overrides: Path | None, as_json: bool
) -> None:
    """Show the price of MODEL on a day: rates, long calls, cached input, batch, flex and priority, source.

    A tariff that has no price dated for that day is an error, never the list price.

    \b
    Examples:
      freehold prices show gpt-5.4 --as-of 2026-06-15
      freehold prices show azure/gpt-5.4 --as-of 2026-11-01 --json
      freehold prices show claude-opus-4-8 --as-of 2026-11-01 --tariff batch
    """
    from freehold.cli.price_files import own_prices
    from freehold.cli.price_records import price_record
    from freehold.report.price_tables import price_text

    day, assumed = _day(as_of)
    record = price_record(model, day, own_prices(overrides), tariff=tariff, provider=provider, assumed=assumed)
    named = model if provider is None else f"{provider}/{model.removeprefix(f'{provider}/')}"
    own = "" if overrides is None else f" --overrides {quote(str(overrides))}"
    volume = "--queries-per-month 100000 --input-tokens 1000 --output-tokens 500"
    next_step = f"freehold breakeven --rent {quote(named)} --as-of {day} {volume}{own}"
    show(record, price_text(record), as_json=as_json, next_step=next_step)


@command.command("override")
@click.argument("model")
@click.option("--input", "input_usd", type=_Usd(), required=True, help="US dollars per million input tokens.")
@click.option("--output", "output_usd", type=_Usd(), help="Per million output tokens.")
@click.option("--cache-read", type=_Usd(), help="Per million input tokens read from a cache.")
@click.option("--cache-write", type=_Usd(), help="Per million input tokens written to a cache.")
@click.option("--valid-from", type=click.DateTime(["%Y-%m-%d"]), required=True, help="First day of this price.")
@click.option("--source", required=True, help="Where it is written: a contract and its page, an address.")
@click.option("--tariff", type=click.Choice(TARIFF_NAMES), default="list", show_default=True)
@provider_option
@overrides_option
@json_option
def override(
    model: str,
    input_usd: Decimal,
    output_usd: Decimal | None,
    cache_read: Decimal | None,
    cache_write: Decimal | None,
    valid_from: datetime,
    source: str,
    tariff: Tariff,
    provider: str | None,
    overrides: Path | None,
    as_json: bool,
) -> None:
    """Add a dated price of your own for MODEL; from its first day on it comes before the catalogue.

    The row is appended to the file of --overrides or of [prices] overrides in freehold.toml, which is written
    whole or not at all. An earlier price is never changed: a new price is a new row.

    \b
    Example:
      freehold prices override our-gateway --input 2.10 --output 12.60 --valid-from 2026-09-01 \\
          --source "contract of 2026-08-14, page 3" --overrides prices.yaml
    """
    from freehold.cli.price_files import add_override, overrides_file
    from freehold.core.errors import InputError

    file = overrides or overrides_file()
    if file is None:
        raise InputError('Name a file: --overrides FILE, or overrides = "prices.yaml" under [prices] in freehold.toml.')
    values = {
        "model": model,
        "provider": provider,
        "tariff": tariff,
        "valid_from": valid_from.date(),
        "input_usd_per_mtok": input_usd,
        "output_usd_per_mtok": output_usd,
        "cache_read_usd_per_mtok": cache_read,
        "cache_write_usd_per_mtok": cache_write,
        "source": source,
    }
    rows = add_override(file, values)
    stated = {key: float(value) if isinstance(value, Decimal) else value for key, value in values.items()}
    record = {
        "schema": "freehold.override/1",
        "file": str(file),
        "rows": len(rows),
        **stated,
        "valid_from": valid_from.date().isoformat(),
    }
    text = f"{file} has {len(rows)} rows; the new one: {model} ({tariff}) from {valid_from.date()} on."
    show(record, text, as_json=as_json, next_step=f"freehold prices show {quote(model)} --as-of {valid_from.date()}")


@command.command("check")
@click.option("--against", type=_FILE, required=True, help="LiteLLM's price file (JSON), or JSON Lines per million.")
@click.option("--provider", help="Only this provider of the other list.")
@click.option("--kind", multiple=True, help="Only differences of this kind; can be repeated.")
@as_of_option
@json_option
def check(against: Path, provider: str | None, kind: tuple[str, ...], as_of: datetime | None, as_json: bool) -> None:
    """Compare the catalogue with LiteLLM's price list, model by model; every difference has a kind and a reason.

    \b
    Example:
      freehold prices check --against model_prices_and_context_window.json --as-of 2026-11-23 --kind rate
    """
    from freehold.cli.price_files import read_text
    from freehold.cli.price_records import check_record
    from freehold.economics.litellm_prices import parse_listed
    from freehold.report.price_tables import price_check_text

    day, assumed = _day(as_of)
    listed = parse_listed(read_text(against), str(against))
    record = check_record(listed, day, provider=provider, only=kind, assumed=assumed)
    show(record, price_check_text(record), as_json=as_json, next_step="freehold prices override MODEL --help")


@command.command("price")
@click.option("--usages", type=_FILE, required=True, help="Recorded bodies: a JSON list, or JSON Lines.")
@click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d"]), help="Day of the prices of bodies without a day; default: today."
)
@click.option("--tariff", type=click.Choice(TARIFF_NAMES), help="Of bodies that do not say; default: list.")
@overrides_option
@json_option
def price(usages: Path, as_of: datetime | None, tariff: Tariff | None, overrides: Path | None, as_json: bool) -> None:
    """Price recorded bodies of providers, one by one, each as of its own day where it has one.

    A row of the file is {"provider": …, "model": …, "body": {…}}, or has "usage" in the place of "body". What
    cannot be priced stays without a price and says why. Where the file holds results of genai-prices
    ("extracted"), each is compared with ours.

    \b
    Example:
      freehold prices price --usages bodies.jsonl --as-of 2026-08-21 --json
    """
    from freehold.cli.price_files import own_prices, read_bodies
    from freehold.cli.price_records import bodies_record
    from freehold.economics.bodies import Terms
    from freehold.report.price_tables import bodies_text

    day, assumed = _day(as_of)
    own = own_prices(overrides)
    bodies, recorded = read_bodies(usages)
    terms = Terms(as_of=day, aliases=own.aliases, overrides=own.overrides, tariff=tariff)
    record = bodies_record(bodies, recorded, terms, assumed=assumed)
    show(record, bodies_text(record), as_json=as_json, next_step="freehold import logs.jsonl --task TASK")


def _list_gpus(day: date | None, *, as_json: bool) -> None:
    from freehold.cli.price_records import rentals_record
    from freehold.report.price_tables import rentals_text

    record = rentals_record(day)
    next_step = "freehold breakeven --own MODEL@MACHINE --as-of DATE"
    show(record, rentals_text(record), as_json=as_json, next_step=next_step)


def _day(as_of: datetime | None) -> tuple[date, tuple[str, ...]]:
    """The day asked for, and what has to be said when nobody asked for one."""
    if as_of is not None:
        return as_of.date(), ()
    today = datetime.now(UTC).date()
    return today, (f"no --as-of was given: prices are those of today, {today}",)
