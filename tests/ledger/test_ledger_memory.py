"""The process that ingests for months stays small, however much there is to ingest at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROWS = 12_000
SCRIPT = """
import os, random, sys
from pathlib import Path
from freehold.ledger.records import CloseRecord, OpenRecord, new_call_id
from freehold.ledger.segments import SegmentWriter

events, rows = Path(sys.argv[1]), int(sys.argv[2])
if os.fork() == 0:
    chance = random.Random(3)
    writer = SegmentWriter(events / "segments", worker="w0", min_free_bytes=0)
    for number in range(rows):
        call_id, text = new_call_id(), chance.randbytes(800).hex()
        head = OpenRecord(task="t", started_at_us=1_790_000_000_000_000 + number, dialect="openai-chat")
        writer.opened(call_id, head, b'{"messages":[{"role":"user","content":"%s"}]}' % text.encode())
        writer.closed(call_id, CloseRecord(status=200), b'{"id":"c","choices":[],"x":"%s"}' % text.encode())
    writer.seal()
    os._exit(0)
os.wait()

from freehold.ledger.ingest import ingest
from freehold.ledger.memory import give_back, use_little

def own_mib():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["RssAnon"].split()[0]) >> 10

from freehold.ledger import ingest as module

anon, publish = [], module.publish

def watched(*given, **more):
    anon.append(own_mib())
    publish(*given, **more)
    anon.append(own_mib())

module.publish = watched
use_little()
before = own_mib()
assert ingest(events).calls == rows
give_back()
print(own_mib() - before, max(anon) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told by Linux")
def test_what_a_backlog_needed_is_given_back_and_a_batch_is_bounded(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "events"), str(ROWS)], capture_output=True, text=True, check=True
    )
    kept, most = map(int, done.stdout.split())
    assert most < 90, f"{most} MiB were needed for {ROWS} rows"
    assert kept < 50, f"{kept} MiB stayed after {ROWS} rows"
