"""The node's time: the system's, moved by `clock_file` on nodes that have one."""

import logging
import os
import re
import time
from decimal import Decimal
from pathlib import Path

_log = logging.getLogger(__name__)

_SECONDS = re.compile(rb"\s*([+-]?[0-9]{1,10}(?:\.[0-9]{1,9})?)\s*")
_MAX_FILE = 64


class SystemClock:
    """Implements `ports.Clock`. Nothing else reads the system's clock."""

    def __init__(self, clock_file: Path | None = None) -> None:
        """Take the file with the seconds to add; it may be absent, which counts as 0."""
        self._file = clock_file
        self._offset_us = 0

    def now_us(self) -> int:
        """Return microseconds since 1970, UTC."""
        now_us = time.time_ns() // 1_000
        return now_us if self._file is None else now_us + self._read_offset_us(self._file)

    def now_ms(self) -> int:
        """Return milliseconds since 1970, UTC."""
        return self.now_us() // 1_000

    def _read_offset_us(self, file: Path) -> int:
        """Return the offset in the file; while it cannot be read as a number, the last one."""
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._offset_us = 0
            return 0
        try:
            text = os.read(descriptor, _MAX_FILE)
        finally:
            os.close(descriptor)
        match = _SECONDS.fullmatch(text)
        if match is not None:
            self._offset_us = int(Decimal(match[1].decode()) * 1_000_000)
        elif text.strip():
            _log.warning("clock_file holds no number of seconds")
        return self._offset_us
