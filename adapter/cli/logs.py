"""Logs of a node: one JSON object per line on stderr.

A record's own text, then only the fields named here: no bodies, keys, tokens or personal data.
Source: style, rule 19; quality targets, S19.
"""

import json
import logging
import sys
from datetime import UTC, datetime

FIELDS = (
    "transaction_id",
    "message_id",
    "action",
    "code",
    "sender",
    "peer",
    "http_status",
    "attempts",
    "path",
)
"""What a record may carry besides time, level, logger and message, in this order."""
MAX_TEXT = 1_000
"""Characters kept of one field, so that a peer cannot fill the disk with one record."""


class JsonFormatter(logging.Formatter):
    """One line per record; control characters inside are escaped by JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage()[:MAX_TEXT],
        }
        for name in FIELDS:
            value = getattr(record, name, None)
            if value is not None:
                line[name] = value if isinstance(value, int) else str(value)[:MAX_TEXT]
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def set_up_logs(level: str = "INFO") -> None:
    """Send every record of this process to stderr as JSON lines; uvicorn's too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
