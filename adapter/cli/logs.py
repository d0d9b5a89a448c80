"""Logs of a node: one JSON object per line on stderr.

A record's own text, then only the fields named here: no bodies, keys, tokens or personal data.
Source: style, rule 19; quality targets, S19.
"""

import logging
import os
import sys
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as _quoted

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

    def __init__(self) -> None:
        """Begin without a second."""
        super().__init__()
        self._second = -1
        self._second_text = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, put together by hand: a node writes one for each message."""
        second, ms = divmod(int(record.created * 1_000), 1_000)
        if second != self._second:
            self._second_text = datetime.fromtimestamp(second, UTC).isoformat()[:-6]
            self._second = second
        message = record.getMessage()[:MAX_TEXT]
        parts = [
            f'{{"time": "{self._second_text}.{ms:03d}Z", "level": "{record.levelname}"',
            f'"pid": {os.getpid()}, "logger": {_quoted(record.name)}',
            f'"message": {_quoted(message)}',
        ]
        given = record.__dict__
        for name in FIELDS:
            value = given.get(name)
            if value is not None:
                text = str(int(value)) if isinstance(value, int) else _quoted(str(value)[:MAX_TEXT])
                parts.append(f'"{name}": {text}')
        if record.exc_info:
            parts.append(f'"exception": {_quoted(self.formatException(record.exc_info))}')
        return ", ".join(parts) + "}"


def set_up_logs(level: str = "INFO") -> None:
    """Send every record of this process to stderr as JSON lines; uvicorn's too."""
    # A line names neither file nor thread nor task, and to look for them costs more than the line.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if sys.version_info >= (3, 12):
        logging.logAsyncioTasks = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
