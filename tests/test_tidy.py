"""The tree keeps the checks of `tidy.py`, and each check sees a planted offence."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

from tests import tidy

ROOT = Path(__file__).parent.parent
CORE = ("adapter/domain", "adapter/formula", "adapter/protocol", "adapter/settlement")
PRINTING = ("adapter/cli/", "adapter/demo/")
CLOCK = "adapter/transport/clock.py"
LOCKS = ("requirements.lock", "requirements-dev.lock")

Check = Callable[[str], Iterable[int]]


def modules(*folders: str, without: tuple[str, ...] = ()) -> list[Path]:
    """Return the modules below the folders, but for paths that start with one of `without`."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if not path.relative_to(ROOT).as_posix().startswith(without)]


@pytest.mark.parametrize(
    ("check", "paths"),
    [
        pytest.param(tidy.long_module, modules("adapter"), id="modules of 500 lines"),
        pytest.param(tidy.long_functions, modules("adapter"), id="functions of 70 lines"),
        pytest.param(tidy.floats, modules(*CORE), id="no float in the core"),
        pytest.param(tidy.clock_reads, modules("adapter", without=(CLOCK,)), id="one clock"),
        pytest.param(tidy.prints, modules("adapter", without=PRINTING), id="no print"),
        pytest.param(tidy.loose_ends, modules("adapter", "bench", "tests"), id="no loose ends"),
        pytest.param(tidy.missing_newline, modules("adapter", "bench", "tests"), id="newline"),
        pytest.param(tidy.no_pins, [ROOT / name for name in LOCKS], id="locks hold only pins"),
    ],
)
def test_the_tree_keeps(check: Check, paths: list[Path]) -> None:
    assert paths
    assert offences(check, paths) == []


@pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(),
    reason="git lists the files, and this is not a checkout",
)
@pytest.mark.parametrize("check", [tidy.registry_hosts, tidy.machine_paths])
def test_no_tracked_text_has(check: Check) -> None:
    assert offences(check, tracked_texts()) == []


@pytest.mark.parametrize("name", ["fastapi", "openapi-core", "openapi-spec-validator", "starlette"])
def test_no_extra_downgraded(name: str) -> None:
    pin = re.search(rf"^{name}==(\S+)", (ROOT / LOCKS[0]).read_text(), re.MULTILINE)
    assert pin is not None
    assert Version(version(name)) >= Version(pin[1])


@pytest.mark.parametrize(
    ("check", "source", "lines"),
    [
        pytest.param(tidy.long_module, "a = 1\n" * 501, [501], id="module of 501 lines"),
        pytest.param(tidy.long_module, "a = 1\n" * 500, [], id="module of 500 lines"),
        pytest.param(tidy.long_functions, "def a():\n" + " b()\n" * 70, [1], id="71 lines"),
        pytest.param(tidy.long_functions, "def a():\n" + " b()\n" * 69, [], id="70 lines"),
        pytest.param(
            tidy.long_functions,
            "class A:\n async def a(self):\n  '''" + "\n" * 70 + "'''\n",
            [2],
            id="method with a long docstring",
        ),
        pytest.param(tidy.floats, "a = float(b)\n", [1], id="call of float"),
        pytest.param(tidy.floats, "def a(b: list[float]): ...\n", [1], id="annotation"),
        pytest.param(tidy.floats, "b: 'float | None'\n", [1], id="quoted annotation"),
        pytest.param(tidy.floats, "def a() -> 'float': ...\n", [1], id="quoted result"),
        pytest.param(tidy.floats, "async def a() -> 'float': ...\n", [1], id="quoted coroutine"),
        pytest.param(tidy.floats, "a = 1\nb = 1e6\n", [2], id="literal"),
        pytest.param(tidy.floats, "import builtins\nbuiltins.float\n", [2], id="attribute"),
        pytest.param(tidy.floats, "a: int = 1  # no float\nb = 'float'\n", [], id="only a word"),
        pytest.param(
            tidy.clock_reads, "from datetime import datetime as d\nd.now()\n", [2], id="now"
        ),
        pytest.param(
            tidy.clock_reads, "import datetime\ndatetime.datetime.utcnow()\n", [2], id="utcnow"
        ),
        pytest.param(tidy.clock_reads, "import time as t\nt.time()\n", [2], id="time.time"),
        pytest.param(tidy.clock_reads, "from time import time\nclock = time\n", [2], id="time"),
        pytest.param(
            tidy.clock_reads,
            "import time\ntime.monotonic()\nself.clock.now()\n",
            [],
            id="monotonic time and a clock that is handed in",
        ),
        pytest.param(tidy.prints, "print(1)\n", [1], id="print"),
        pytest.param(tidy.prints, "console.print(1)\n", [], id="a method called print"),
        pytest.param(tidy.loose_ends, "a = 1  # TODO: b\n", [1], id="TODO without an issue"),
        pytest.param(tidy.loose_ends, "# FIXME(#)\n", [1], id="FIXME with half an issue"),
        pytest.param(tidy.loose_ends, "# TODO(#12): b\n'TODO'\n", [], id="TODO with an issue"),
        pytest.param(tidy.registry_hosts, "a\nhttps://py" + "pi.org/a\n", [2], id="registry"),
        pytest.param(tidy.registry_hosts, "files.python" + "hosted.org\n", [1], id="its files"),
        pytest.param(tidy.registry_hosts, "https://registry.example/a\n", [], id="another host"),
        pytest.param(tidy.machine_paths, "see /" + "home/ann/a.txt\n", [1], id="home folder"),
        pytest.param(tidy.machine_paths, "'/" + "root/a'\n", [1], id="folder of root"),
        pytest.param(tidy.machine_paths, "C:\\" + "Users\\ann\n", [1], id="Windows folder"),
        pytest.param(
            tidy.machine_paths, "https://a.example/home/a ../work/b /usr/bin/c\n", [], id="others"
        ),
        pytest.param(tidy.no_pins, "# a\na==1.0 \\\n", [], id="pin"),
        pytest.param(tidy.no_pins, "a>=1.0\n", [1], id="range"),
        pytest.param(tidy.no_pins, "a==1.0\n", [1], id="pin without a hash"),
        pytest.param(tidy.no_pins, "--find-links x\n", [1], id="option"),
        pytest.param(tidy.missing_newline, "a = 1\nb = 2", [2], id="no newline at the end"),
        pytest.param(tidy.missing_newline, "", [], id="empty file"),
    ],
)
def test_a_check_sees(check: Check, source: str, lines: list[int]) -> None:
    assert list(check(source)) == lines


def offences(check: Check, paths: Iterable[Path]) -> list[str]:
    """Return `file:line` of all that a check finds in the files."""
    return [
        f"{path.relative_to(ROOT)}:{line}"
        for path in paths
        for line in check(path.read_text(encoding="utf-8"))
    ]


def tracked_texts() -> list[Path]:
    """Return the text files that are or would be committed."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()]
