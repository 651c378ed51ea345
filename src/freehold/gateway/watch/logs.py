"""Logs of the gateway: one JSON object a line on standard error, never with a body, a header or a key in it."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "taskName"}


class JsonLines(logging.Formatter):
    """Time, level, what, and the fields that were passed as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        value: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **{name: field for name, field in record.__dict__.items() if name not in _OWN},
        }
        if record.exc_info:
            value["traceback"] = self.formatException(record.exc_info)
        return json.dumps(value, ensure_ascii=False, default=str)


def start_logging(level: int = logging.INFO) -> None:
    """Send the logs of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("freehold").setLevel(level)
    # What asyncio says of an exception in a task quotes its repr; ours hold no content.
    logging.captureWarnings(True)
