"""Short commands load little: what they import is checked, not how long it takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = Path(__file__).parents[2] / "examples" / "p2p_trading" / "10_on_confirm.json"
HEAVY = ("fastapi", "starlette", "pydantic", "pydantic_core", "aiohttp", "httpx", "uvicorn")
OURS = ("adapter.settings", "adapter.web", "adapter.bootstrap", "adapter.transport")
CODE = """
import sys
from adapter.cli.main import main
try:
    main()
finally:
    sys.stdout = sys.__stdout__
    print("LOADED " + " ".join(sorted(sys.modules)))
"""


def loaded(*arguments: str) -> set[str]:
    """Return the modules that a command has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stdout.rpartition("LOADED ")[2].split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["validate", str(GOOD)],
        ["validate", "--json", "--profile", "upstream", "--history", str(GOOD)],
        ["validate", "--report", "junit", str(GOOD)],
        ["explain", "--json", "--delivered-kwh", "3", str(GOOD)],
        ["schema", "list"],
        ["schema", "bundle"],
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_a_short_command_imports_no_application(arguments: list[str]) -> None:
    modules = loaded(*arguments)
    assert [name for name in HEAVY if name in modules] == []
    assert [m for m in modules if m.startswith(OURS)] == []


def test_help_imports_no_command_and_validate_no_yaml() -> None:
    assert [m for m in loaded("--help") if m.startswith("adapter.protocol")] == []
    modules = loaded("validate", str(GOOD))
    assert modules.isdisjoint({"yaml", "nacl", "rich", "jsonschema", "msgspec"})


def completed(words: str, count: int) -> list[str]:
    """Return what bash is offered."""
    done = subprocess.run(
        [sys.executable, "-c", "from adapter.cli.main import main; main()"],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "COMP_WORDS": words,
            "COMP_CWORD": str(count),
            "_P2PTRADE_COMPLETE": "complete_bash",
        },
    )
    return done.stdout.split()


def test_the_shell_completes_commands_options_and_choices() -> None:
    assert completed("p2ptrade va", 1) == ["validate"]
    assert completed("p2ptrade validate --pro", 2) == ["--profile"]
    assert completed("p2ptrade validate --profile up", 3) == ["upstream"]
    assert completed("p2ptrade schema b", 2) == ["bundle"]


def test_the_script_for_completion_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "adapter", "--show-completion", "bash"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert "_P2PTRADE_COMPLETE=complete_bash" in done.stdout
