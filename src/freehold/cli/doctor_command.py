"""`freehold doctor`."""

from __future__ import annotations

import click

from freehold.cli.show import json_option, show


@click.command("doctor")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Say what this machine has and lacks. Exit code 1 if something that Freehold needs is missing.

    \b
    Example:
      freehold doctor --json
    """
    from freehold.cli.machine import examine

    findings = examine()
    ok = all(finding.ok or not finding.is_needed for finding in findings)
    record = {
        "schema": "freehold.doctor/1",
        "ok": ok,
        "findings": [
            {"name": one.name, "ok": one.ok, "needed": one.is_needed, "detail": one.detail, "do": one.remedy}
            for one in findings
        ],
    }
    lines = [
        f"{'ok     ' if one.ok else 'MISSING' if one.is_needed else 'absent '}  {one.name:<18} {one.detail}"
        + (f"\n{'':28}{one.remedy}" if one.remedy and not one.ok else "")
        for one in findings
    ]
    show(record, "\n".join(lines), as_json=as_json, next_step="freehold demo" if ok else "mend what is MISSING")
    ctx.exit(0 if ok else 1)
