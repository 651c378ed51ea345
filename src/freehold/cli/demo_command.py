"""`freehold demo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freehold.cli.show import json_option, quiet_option, show

if TYPE_CHECKING:
    from freehold.cli.demo_steps import Step


@click.command("demo")
@click.option("--quick", is_flag=True, help="One of the two tasks.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default="freehold-demo",
    show_default=True,
    help="Workspace of the demo.",
)
@click.option("--recipe", default="smollm2-135m-cpu", show_default=True, help="A shipped recipe, or a YAML file.")
@click.option("--base", help="Another base model: a Hugging Face folder.")
@click.option("--seed", default=0, show_default=True, help="Of intervals and simulations.")
@json_option
@quiet_option
def command(quick: bool, folder: Path, recipe: str, base: str | None, seed: int, as_json: bool, quiet: bool) -> None:
    """Walk the whole loop on the sample of an invented bank's support desk, in about ten minutes.

    A log goes in; it is audited and costed; a dataset is built from it and from what the desk corrected;
    a small open model is tuned on this machine, compared with the recorded rented model and with trivial
    baselines, judged, and served behind an OpenAI-compatible endpoint that is asked one question per task.
    Interrupted, the same command goes on; after a finished walk it starts anew.

    \b
    Examples:
      freehold demo
      freehold demo --quick --json
    """
    from freehold.cli.demo_steps import Demo
    from freehold.core.errors import FreeholdError
    from freehold.report.progress import TerminalProgress
    from freehold.report.text import demo_text

    def announce(step: Step, left_s: float) -> None:
        if not quiet:
            minutes = f"about {left_s / 60:.0f} min left" if left_s >= 90 else f"about {left_s:.0f} s left"
            click.echo(f"[{step.number}/{step.of}] {step.what} ({minutes})", err=True)

    with TerminalProgress(quiet=quiet) as progress:
        demo = Demo(folder, recipe=recipe, base=base, is_quick=quick, seed=seed, progress=progress, announce=announce)
        try:
            record = demo.walk()
        except FreeholdError:
            if as_json:
                failed = {"schema": "freehold.demo/1", "verdicts": [], "steps": demo.steps, "report": None}
                click.echo(json.dumps(failed))
            raise
    show(record, demo_text(record), as_json=as_json, next_step=f"open {record['report']}")
