"""`freehold capacity`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import click

from freehold.cli.show import json_option, show

_FILE = click.Path(path_type=Path, dir_okay=False)
_SERVING = ("input_tokens", "output_tokens", "concurrency")
_TUNING = (
    "method", "trained_tokens", "examples", "tokens_per_example", "epochs", "sequence_tokens", "micro_batch", "rank",
    "trainer", "recompute", "gpu_usd_per_hour", "as_of",
)  # fmt: skip
_SHAPE = ("sequence_tokens", "micro_batch", "rank", "trainer", "recompute", "precision")


@click.command("capacity")
@click.option("--model", help="A shipped model, its id on Hugging Face, or the path of a config.json.")
@click.option("--gpu", help="The machine: h100, a100-80gb, l40s, cpu-2vcpu and so on.")
@click.option("--gpus", type=int, default=1, show_default=True, help="Devices of one replica, tensor parallel.")
@click.option(
    "--precision",
    help="Of the weights: bf16, fp8, int8, int4, fp4  [default: as published]; of tuning: bf16, fp8.  [default: bf16]",
)
@click.option("--input-tokens", type=float, help="Of one call.")
@click.option("--output-tokens", type=float, help="Of one call.")
@click.option("--concurrency", type=float, help="Clients that wait and ask again.  [default: a batch job's most]")
@click.option("--points", type=_FILE, help="CSV with many rows: model, gpu, gpus, precision, isl, osl, concurrency.")
@click.option("--list", "names", is_flag=True, help="List the shipped models and machines, and stop.")
@click.option("--finetune", is_flag=True, help="What tuning the model takes, in place of serving it.")
@click.option("--method", help="Of tuning: qlora, lora or full.")
@click.option("--trained-tokens", type=float, help="Examples times their tokens times epochs.")
@click.option("--examples", type=float, help="In place of --trained-tokens, with --tokens-per-example.")
@click.option("--tokens-per-example", type=float, help="Prompt and answer together.")
@click.option("--epochs", type=float, help="How often each example is seen.  [default: 1]")
@click.option("--sequence-tokens", type=int, help="Length of a packed row.  [default: 2048]")
@click.option("--micro-batch", type=int, help="Rows on one device at a time.  [default: 1]")
@click.option("--rank", type=int, help="Of the adapter.  [default: 16]")
@click.option(
    "--trainer", help="eager (plain transformers), compiled (fused, Megatron) or typical.  [default: typical]"
)
@click.option(
    "--recompute/--keep-activations", default=None, help="Compute activations twice to save memory.  [default: yes]"
)
@click.option(
    "--gpu-usd-per-hour",
    "--usd-per-gpu-hour",
    "gpu_usd_per_hour",
    type=float,
    help="Of tuning: rent of one device; default: from the shipped table.",
)
@click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d"]), help="Of tuning: day of the rent; default: the newest known."
)
@json_option
def command(
    model: str | None,
    gpu: str | None,
    gpus: int,
    points: Path | None,
    names: bool,
    finetune: bool,
    as_json: bool,
    **options: Any,  # Any: numbers and words as click parsed them
) -> None:
    """What one replica delivers, or what tuning a model takes, on a machine, before either is rented.

    Rates come from data sheets and a handful of constants fitted to published measurements; `interval` says how far
    measurements lay from them.

    \b
    Examples:
      freehold capacity --model llama-3.1-8b --gpu h100 --precision fp8 --input-tokens 1000 --output-tokens 500
      freehold capacity --points points.csv --json
      freehold capacity --finetune --method qlora --model llama-3.1-8b --gpu h100 --trained-tokens 10000000
    """
    if names:
        _show_names(as_json=as_json)
        return
    given = {name: value for name, value in options.items() if value is not None}
    if points is not None:
        _refuse(given | ({"model": model} if model else {}) | ({"gpu": gpu} if gpu else {}), "--points")
        if finetune:
            raise click.UsageError("--points and --finetune answer different questions; leave one out.")
        _show_points(points, as_json=as_json)
        return
    missing = [name for name, value in (("--model", model), ("--gpu", gpu)) if not value]
    if missing or model is None or gpu is None:
        raise click.UsageError(f"Name {' and '.join(missing)}, or --points FILE.")
    if finetune:
        _refuse({name: given[name] for name in _SERVING if name in given}, "--finetune")
        _show_finetuning(model, gpu, gpus, given, as_json=as_json)
    else:
        _refuse({name: given[name] for name in _TUNING if name in given}, "serving; they belong to --finetune")
        _show_capacity(model, gpu, gpus, given, as_json=as_json)


def _refuse(given: dict[str, Any], context: str) -> None:
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise click.UsageError(f"{names} cannot be used with {context}.")


def _need(given: dict[str, Any], *names: str) -> None:
    missing = [f"--{name.replace('_', '-')}" for name in names if name not in given]
    if missing:
        raise click.UsageError(f"Give {', '.join(missing)}.")


def _show_capacity(model: str, gpu: str, gpus: int, given: dict[str, Any], *, as_json: bool) -> None:
    from freehold.cli.capacity_files import model_named, named_again, precision_for, whole_clients
    from freehold.economics.capacity import capacity
    from freehold.economics.facts import hardware
    from freehold.report.capacity_text import capacity_text

    _need(given, "input_tokens", "output_tokens")
    facts, machine = model_named(model), hardware(gpu)
    precision = precision_for(given.get("precision"), model, facts, machine)
    asked: dict[str, Any] = {name: given.get(name) for name in ("input_tokens", "output_tokens", "concurrency")}
    whole_clients("--concurrency", asked["concurrency"])
    found = capacity(facts, machine, gpus=gpus, precision=precision, **asked)
    record = {
        "schema": "freehold.capacity/1",
        "model": facts.name,
        "gpu": machine.name,
        "gpus": gpus,
        "precision": precision,
        **asked,
        **found.as_record(),
        "sources": [facts.source, machine.source],
    }
    devices = "" if gpus == 1 else f"{gpus}x"
    plan = quote(f"{named_again(model, facts)}@{devices}{machine.name}")
    lengths = f"--input-tokens {asked['input_tokens']:.15g} --output-tokens {asked['output_tokens']:.15g}"
    next_step = f"freehold breakeven --own {plan} --precision {precision} --rent MODEL --queries-per-month N {lengths}"
    show(record, capacity_text(record), as_json=as_json, next_step=next_step)


def _show_names(*, as_json: bool) -> None:
    from freehold.economics.facts import known_hardware, known_models

    record = {"schema": "freehold.capacity/1", "models": list(known_models()), "gpus": list(known_hardware())}
    text = "Models:\n  " + "\n  ".join(known_models()) + "\n\nMachines:\n  " + "\n  ".join(known_hardware())
    show(record, text, as_json=as_json, next_step="freehold capacity --model MODEL --gpu GPU, for one")


def _show_points(path: Path, *, as_json: bool) -> None:
    from freehold.cli.capacity_files import answered_points
    from freehold.report.capacity_text import points_text

    record = {"schema": "freehold.capacity/1", "rows": answered_points(path)}
    show(record, points_text(record), as_json=as_json, next_step="freehold capacity --model MODEL --gpu GPU, for one")


def _show_finetuning(model: str, gpu: str, gpus: int, given: dict[str, Any], *, as_json: bool) -> None:
    from freehold.cli.capacity_files import model_named
    from freehold.economics.facts import hardware
    from freehold.economics.finetune import finetuning
    from freehold.report.capacity_text import finetuning_text

    _need(given, "method")
    shape = {name: given[name] for name in _SHAPE if name in given}
    facts, machine = model_named(model), hardware(gpu)
    run = finetuning(facts, machine, method=given["method"].lower(), trained_tokens=_tokens(given), gpus=gpus, **shape)
    record = {
        "schema": "freehold.finetuning/1",
        "model": facts.name,
        "gpu": machine.name,
        **run.as_record(),
        **_dollars(machine.name, run.gpu_hours, run.interval, given),
        "sources": [facts.source, machine.source],
    }
    show(record, finetuning_text(record), as_json=as_json, next_step="freehold dataset build TASK")


def _tokens(given: dict[str, Any]) -> float:
    if "trained_tokens" in given:
        _refuse({name: given[name] for name in ("examples", "tokens_per_example", "epochs") if name in given},
                "--trained-tokens")  # fmt: skip
        return float(given["trained_tokens"])
    missing = [name for name in ("examples", "tokens_per_example") if name not in given]
    if missing:
        raise click.UsageError("Give --trained-tokens, or --examples and --tokens-per-example.")
    return float(given["examples"] * given["tokens_per_example"] * given.get("epochs", 1.0))


def _dollars(machine: str, hours: float, interval: tuple[float, float], given: dict[str, Any]) -> dict[str, Any]:
    """What the run's hours cost, and by whose price; null where no price is known."""
    from freehold.core.errors import InputError
    from freehold.economics.montecarlo import number
    from freehold.economics.rentals import rental

    source: str | None
    stated = given.get("gpu_usd_per_hour")
    if stated is not None:
        if not 0.0 <= stated < 1e6:
            raise InputError(f"--gpu-usd-per-hour is {stated!r}; it must be from 0 to 1,000,000.")
        price, source, as_of = stated, "stated", None
    else:
        try:
            row = rental(machine, None if "as_of" not in given else given["as_of"].date())
        except InputError as error:
            return {"usd": None, "usd_per_gpu_hour": None, "price_source": None, "price_as_of": None,
                    "reason": str(error)}  # fmt: skip
        price, source, as_of = row.usd_per_hour[1], row.source, str(row.as_of)
    low, high = interval
    amounts = {"p5": number(low * price), "typical": number(hours * price), "p95": number(high * price)}
    return {"usd": amounts, "usd_per_gpu_hour": number(price), "price_source": source, "price_as_of": as_of,
            "reason": None}  # fmt: skip
