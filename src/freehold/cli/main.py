"""`freehold`: a table of commands, each imported only when it runs."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import TYPE_CHECKING

import click

from freehold import __version__
from freehold.core.errors import FreeholdError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "init": "Make a folder a workspace.",
    "doctor": "Say what this machine has and lacks.",
    "demo": "Walk the whole loop on the shipped sample: no key, no GPU, no network but for packages.",
    "import": "Bring existing logs and corrections into the ledger.",
    "tasks": "What the calls are for: found, named, put together, parted.",
    "audit": "What is spent, on which task.",
    "prices": "What models and machines cost to rent, on which day, and who says so.",
    "simulate": "Real arrivals on own replicas: how many are needed, and how long callers wait.",
    "capacity": "What a model delivers on a machine, and what tuning it there takes.",
    "breakeven": "Rent or own: what each costs, and where they cross.",
    "claims": "Claims about costs, computed again: verdict, arithmetic, and what would make them true.",
    "dataset": "Build, show and export training and test sets.",
    "tune": "Fine-tune an open model on a dataset.",
    "evaluate": "Own against rented on the same held-out cases.",
    "decide": "The signed verdict, and what would change it.",
    "models": "Base models, own models, and which one is champion.",
    "gateway": "Stand in front of all models: pass every call on, and record it.",
    "ledger": "Every call that was recorded: counted, checked, exported, kept small.",
    "purge": "Take calls out of the workspace for good: by task, key, end user or day.",
    "keys": "Who may call through the gateway, for what, and how much.",
    "serve": "Serve own models behind an OpenAI-compatible endpoint.",
}
_INTERRUPTED = 130
_USAGE = 2
_FULL_DATABASE = ("disk is full", "disk I/O error", "No space left on device")


class _Table(click.Group):
    """Lists commands from the table, so that `--help` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"freehold.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Table, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="freehold %(version)s")
def cli() -> None:
    """Rent or own your language models: measured on your own traffic, proved, and done.

    \b
    Start with:  freehold demo
    Your logs:   freehold init && freehold import logs.jsonl --task TASK && freehold audit

    Exit codes: 0 done (decide: own, hybrid), 1 failed, 2 wrong usage or input, 3 decide: keep renting,
    4 decide: undecided, 5 something upstream failed, 130 interrupted.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        result = cli.main(args=list(arguments), prog_name="freehold", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        result = _USAGE
    except FreeholdError as error:
        if _is_full_disk(error.__cause__):
            result = _full_disk(error.__cause__)
        else:
            click.echo(f"Error: {error}", err=True)
            result = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. Run the same command again to go on.", err=True)
        result = _INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        result = 1
    except Exception as error:
        if _is_full_disk(error):
            result = _full_disk(error)
        elif isinstance(error, OSError) and error.filename:
            click.echo(f"Error: {error.filename}: {error.strerror}. Nothing is left half written.", err=True)
            result = 1
        else:
            raise
    return result if isinstance(result, int) else 0


def _is_full_disk(error: BaseException | None) -> bool:
    """A file or the database could not be written for want of space."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    from_database = type(error).__module__.startswith("sqlalchemy")
    return from_database and any(words in str(error) for words in _FULL_DATABASE)


def _full_disk(error: BaseException | None) -> int:
    where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
    click.echo(f"Error: the disk is full{where}. Free some space and run the same command again.", err=True)
    return 1


def main() -> None:
    """Entry point of the `freehold` script."""
    # Threads of one computation shall sleep while they wait for each other. Spinning, they keep a busy
    # machine from running the very thread they wait for: tuning beside other work took several times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
