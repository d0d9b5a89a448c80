"""The dependency rule of pyproject.toml holds for the package and refuses planted violations."""

import logging.config
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from importlinter import api, cli

ROOT = Path(__file__).parent.parent
PYPROJECT = ROOT / "pyproject.toml"
NAME = "adapter_skeleton"
"""Package with planted violations; has a name of its own, because `adapter` may be loaded."""

LAYERS = "Layers point inwards"
CORE = "The core does no I/O"
VALUES = "Values need only the standard library"
CYCLES = "No package cycles"

Lint = Callable[[Path], list[str]]


@pytest.fixture
def lint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lint:
    """Return a function that names the contracts of a pyproject.toml that its package breaks."""

    def broken_contracts(pyproject: Path) -> list[str]:
        monkeypatch.chdir(pyproject.parent)
        monkeypatch.syspath_prepend(pyproject.parent)
        # The linter sets up logging for itself, which silences all loggers of this process.
        monkeypatch.setattr(logging.config, "dictConfig", lambda config: None)
        status = cli.lint_imports(config_filename=str(pyproject), no_cache=True, no_logo=True)
        report = capsys.readouterr().out
        broken = re.findall(r"^(.+) BROKEN$", report, re.MULTILINE)
        assert status == (cli.EXIT_STATUS_ERROR if broken else cli.EXIT_STATUS_SUCCESS), report
        return broken

    return broken_contracts


def test_the_package_keeps_its_layers(lint: Lint) -> None:
    assert lint(PYPROJECT) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        pytest.param("cli/a.py", "import adapter.bootstrap, httpx", id="outer to inner"),
        pytest.param("web/a.py", "import adapter.domain, asyncio", id="I/O at the edge"),
        pytest.param("protocol/a.py", "import msgspec, nacl", id="library without I/O in the core"),
    ],
)
def test_an_arrow_that_points_inwards_is_accepted(
    lint: Lint, tmp_path: Path, module: str, source: str
) -> None:
    assert lint(skeleton(tmp_path, {module: source})) == []


@pytest.mark.parametrize(
    ("module", "source", "contract"),
    [
        pytest.param("domain/a.py", "import adapter.formula", LAYERS, id="values use formulas"),
        pytest.param("protocol/a.py", "import adapter.settlement", LAYERS, id="core siblings"),
        pytest.param("settlement/a.py", "import adapter.protocol", LAYERS, id="and back"),
        pytest.param("store/a.py", "import adapter.transport", LAYERS, id="edge siblings"),
        pytest.param("service/a.py", "import adapter.store", LAYERS, id="technology in a service"),
        pytest.param("web/a.py", "import adapter.cli", LAYERS, id="web uses the command line"),
        pytest.param("cli/a.py", "import adapter.__main__", LAYERS, id="use of the entry point"),
        pytest.param("unplaced/a.py", "", LAYERS, id="package without a layer"),
        pytest.param("formula/a.py", "import os", CORE, id="os in formula"),
        pytest.param("settlement/a.py", "import time", CORE, id="time in settlement"),
        pytest.param("protocol/a.py", "import urllib.parse", CORE, id="urllib in protocol"),
        pytest.param("domain/a.py", "import random", CORE, id="random in domain"),
        pytest.param("domain/a.py", "import msgspec", VALUES, id="library in domain"),
    ],
)
def test_a_planted_violation_is_refused(
    lint: Lint, tmp_path: Path, module: str, source: str, contract: str
) -> None:
    assert lint(skeleton(tmp_path, {module: source})) == [contract]


def test_a_cycle_between_packages_of_one_layer_is_refused(lint: Lint, tmp_path: Path) -> None:
    planted = {
        "service/one/a.py": "import adapter.service.two.b",
        "service/two/b.py": "import adapter.service.one.a",
    }
    assert lint(skeleton(tmp_path, planted)) == [CYCLES]


def skeleton(folder: Path, planted: dict[str, str]) -> Path:
    """Make a package of empty layers with `planted` inside, and return its pyproject.toml."""
    package = folder / NAME
    for layer in layer_names():
        (package / layer).mkdir(parents=True)
    for path, source in planted.items():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(source.replace("adapter", NAME) + "\n")
    for inner in [package, *package.rglob("*/")]:
        (inner / "__init__.py").touch()
    pyproject = folder / "pyproject.toml"
    pyproject.write_text(PYPROJECT.read_text().replace("adapter", NAME))
    return pyproject


def layer_names() -> list[str]:
    """Return the modules that the first contract names, the outermost first."""
    contract = api.read_configuration(str(PYPROJECT))["contracts_options"][0]
    return re.findall(r"\w+", " ".join(contract["layers"]))
