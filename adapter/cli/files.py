"""Which files a command reads, and how much of them."""

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from adapter.cli.output import misuse

STANDARD_INPUT = "-"


def message_files(paths: Iterable[str]) -> list[str]:
    """Return the files that the arguments name; folders give their *.json in name order.

    Ends with exit code 2 when an argument is neither a file nor a folder with such files.
    """
    found: list[str] = []
    for path in paths:
        if path == STANDARD_INPUT:
            found.append(path)
        elif _is_folder(path):
            found += _in_folder(path)
        else:
            _check_regular(path)
            found.append(path)
    return found


def read_bounded(path: str, most: int) -> bytes:
    """Return the bytes of a file, or of standard input for `-`, but at most `most` + 1.

    Raises:
        OSError: it cannot be read.
    """
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read(most + 1)
    with Path(path).open("rb") as file:
        return file.read(most + 1)


def shown_name(path: str) -> str:
    """Return a file name as text that any encoder takes."""
    return os.fsencode(path).decode("utf-8", "replace")


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False  # such as a name that is too long; reading it will say why


def _in_folder(path: str) -> list[str]:
    inside = [file for file in Path(path).rglob("*.json") if not file.is_dir()]
    if not inside:
        misuse(f"{path}: no *.json in this folder")
    for file in inside:
        _check_regular(str(file))
    return [str(file) for file in sorted(inside)]


def _check_regular(path: str) -> None:
    """Refuse what does not exist and what may never end, such as a device or a pipe."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError) as error:
        misuse(f"{path}: {getattr(error, 'strerror', None) or 'no such file or folder'}")
    if not stat.S_ISREG(mode):
        misuse(f"{path}: neither a file nor a folder; use - for standard input")
