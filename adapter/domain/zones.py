"""Time zones by name: the one place that reads time-zone data.

`zoneinfo` takes the data of the system, or else of the package `tzdata`. A name comes from the
other side of a trade, so only names of the shape of the tz database are looked up.
"""

import re
from datetime import UTC, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

CACHED_ZONES = 256
"""Names remembered, unknown ones too."""
MAX_NAME = 40
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
_NOT_PUBLIC = frozenset({"right", "posix", "localtime", "posixrules", "Factory"})
"""First parts that depend on the machine or count leap seconds."""


def find_zone(name: str) -> tzinfo | None:
    """Return the zone of an IANA name such as `Europe/Paris`; None for any other text."""
    return _find(name) if len(name) <= MAX_NAME else None


@lru_cache(maxsize=CACHED_ZONES)
def _find(name: str) -> tzinfo | None:
    if name == "UTC":
        return UTC  # also where there is no data at all
    if not _NAME.fullmatch(name) or name.partition("/")[0] in _NOT_PUBLIC:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; a file that is no zone; a folder
        return None
