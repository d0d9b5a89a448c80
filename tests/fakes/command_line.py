"""The command line inside the test's own process: many times faster than a process of its own."""

from dataclasses import dataclass

from typer.testing import CliRunner

from adapter.cli.main import app


@dataclass(frozen=True)
class Ran:
    """What a command printed and how it ended."""

    returncode: int
    stdout: str
    stderr: str


def p2ptrade(*arguments: str) -> Ran:
    """Run a command as a shell would; what it raises is raised here."""
    result = CliRunner().invoke(app, list(arguments), prog_name="p2ptrade", catch_exceptions=False)
    return Ran(result.exit_code, result.stdout, result.stderr)
