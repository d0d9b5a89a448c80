"""Cold start of the command line, and many files in one run, as whole processes.

Baseline of these: a Python that imports the full application, which is what a command line that did
not look after its imports would pay each time. Then the start of a node: `restart`.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import restart
from bench.harness import Candidate, compared, interleaved

ROOT = Path(__file__).parents[1]
MESSAGE = ROOT / "examples" / "p2p_trading" / "06_on_init.json"
FILES = 1_000
MILLISECONDS = 1e3
APPLICATION = "import adapter.bootstrap, adapter.web.app, adapter.settings, uvicorn"
BASELINE = "import of the full application"


def run(rounds: int) -> dict[str, Any]:
    """Return the result of the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        raw = MESSAGE.read_bytes()
        for number in range(FILES):
            (Path(folder) / f"{number:04d}.json").write_bytes(raw)
        commands = {
            "validate, one file": ["validate", str(MESSAGE)],
            "--version": ["--version"],
            "--help": ["--help"],
            "explain --json": ["explain", "--json", str(MESSAGE)],
            f"validate --json, {FILES} files": ["validate", "--json", folder],
        }
        candidates = [_candidate(name, words) for name, words in commands.items()]
        candidates.append(Candidate(BASELINE, version("p2ptrade"), _python("-c", APPLICATION), 1))
        figures = interleaved(candidates, rounds)
    cases = [
        {"case": name, **compared(figures[name], figures[BASELINE], MILLISECONDS)}
        for name in commands
    ]
    cases += restart.cases(rounds)
    headline = {key: value for key, value in cases[0].items() if key != "case"}
    return {"name": "start", "unit": "milliseconds", **headline, "cases": cases}


def _candidate(name: str, words: list[str]) -> Candidate:
    return Candidate(name, version("p2ptrade"), _python("-m", "adapter", *words), 1)


def _python(*words: str) -> Callable[[], object]:
    """Return a function that runs one process, which must end well."""
    command = [sys.executable, *words]
    return lambda: subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
