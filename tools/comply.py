"""Runs the suites of `llm-comply` through a gateway, in front of a provider that answers as the documentation says.

    .venv/bin/python -m tools.comply                                   # a gateway of its own
    .venv/bin/python -m tools.comply --base-url http://127.0.0.1:8080/v1 --model gpt-5-mini

Exit code 1 if a single check fails. The suites look at the shape of each answer against the published schemas, at the
order of the events of each stream, and at refusals.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.gateway.provider import faithful
from tests.gateway.upstream import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITES = {
    "openai-chat": ["--model", "gpt-5-mini"],
    "open-responses": ["--model", "gpt-5-mini"],
    "anthropic": ["--model", "claude-sonnet-4-5", "--auth-header", "x-api-key", "--no-bearer",
                  "--header", "anthropic-version:2023-06-01"],
}  # fmt: skip


@contextmanager
def gateway(folder: Path, provider: ScriptedUpstream) -> Iterator[str]:
    """`freehold gateway` in front of one provider of both dialects; its address."""
    base = f"http://127.0.0.1:{provider.port}"
    file = folder / "freehold.toml"
    file.write_text(
        f'[providers.openai]\nbase_url = "{base}/v1"\n'
        f'[providers.anthropic]\nbase_url = "{base}"\ndialect = "anthropic"\nprefixes = ["claude-"]\n'
        '[gateway]\ndefault_provider = "openai"\nhousekeeping = false\n',
        encoding="utf-8",
    )
    program = "from freehold.cli.main import main; main()"
    command = [sys.executable, "-c", program, "gateway", "--port", "0", "--config", str(file)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603 (our own words)
    assert child.stderr is not None
    try:
        address = next((line for line in child.stderr if line.startswith("Gateway at ")), None)
        if address is None:
            raise RuntimeError("the gateway did not start")
        yield address.removeprefix("Gateway at ").partition(",")[0].strip()
    finally:
        child.terminate()
        child.communicate(timeout=30)


def comply(base_url: str, suite: str, *more: str) -> dict[str, Any]:  # Any: JSON
    """What one suite found."""
    command = [sys.executable, "-m", "llm_comply.cli", "run", "--base-url", base_url, "--api-key", "none", "--json",
               "--format", suite, *SUITES[suite], *more]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603 (our own words)
    if not done.stdout.strip():
        raise RuntimeError(done.stderr[-800:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> int:
    """Run all suites, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", help="A gateway that runs already; otherwise one is started.")
    parser.add_argument("--model", help="For --base-url: a model that it knows.")
    parser.add_argument("--suite", choices=sorted(SUITES), action="append")
    options = parser.parse_args()
    failed = 0
    with ExitStack() as stack:
        base_url = options.base_url
        if base_url is None:
            provider = stack.enter_context(ScriptedUpstream([faithful]))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            base_url = stack.enter_context(gateway(folder, provider)) + "/v1"
        for suite in options.suite or SUITES:
            found = comply(base_url, suite, *(["--model", options.model] if options.model else []))
            print(f"{suite}: {json.dumps(found['summary'])}")
            for one in found["results"]:
                told = "; ".join(one.get("errors") or one.get("warnings") or ())
                print(f"  {one['status']:8} {one['id']}{': ' if told else ''}{told}")
            failed += found["summary"]["failed"]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
