"""`freehold gateway`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from freehold.state.workspace import Workspace


@click.command("gateway")
@click.option("--port", type=click.IntRange(0, 65535), help="0: any free port. Default: gateway.port.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes. Default: gateway.workers.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings file; its folder is the workspace. Default: freehold.toml here or above.",
)
@click.option("--host", help="Address to listen on. Default: gateway.host, which is 127.0.0.1.")
def command(port: int | None, workers: int | None, config: Path | None, host: str | None) -> None:
    """Stand in front of all models: pass every call on, and record it.

    Point any OpenAI or Anthropic client at it. Providers stand in freehold.toml. A completed call is on disk
    before its last byte is answered. SIGTERM lets calls under way end, SIGHUP reads the settings anew.

    \b
    Examples:
      freehold gateway
      freehold gateway --port 9000 --workers 4 --config /etc/freehold/freehold.toml
      curl localhost:8400/v1/chat/completions -H 'content-type: application/json' \\
        -H 'x-freehold-task: support' -d '{"model": "gpt-5.4-mini", "messages": []}'
    """
    from freehold.cli.gateway_settings import Reading

    workspace, file = _place(config)
    reading = Reading(workspace, file)
    from freehold.cli.gateway_worker import Blueprint  # meanwhile

    blueprint = Blueprint.of(workspace, reading.result(), file, port=port, workers=workers, host=host)
    url, admin = blueprint.listen()
    for warning in blueprint.warnings():
        click.echo(f"Warning: {warning}", err=True)
    click.echo(f"Gateway at {url}, {blueprint.workers} worker{'s' * (blueprint.workers > 1)}", err=True)
    click.echo(f"Live page: {url}/ui" + ("" if admin is None else f"; admin API: {admin}/admin/v1"), err=True)
    click.echo(f"Next: use base_url={url + '/v1'!r} in your client, then: freehold ledger stats", err=True)
    click.get_current_context().exit(blueprint.run())


def _place(config: Path | None) -> tuple[Workspace, Path]:
    from freehold.state.workspace import Workspace, find_workspace

    workspace = find_workspace() if config is None else Workspace(config.resolve().parent)
    file = workspace.settings_file if config is None else config.resolve()
    return workspace, file
