"""`p2ptrade validate`: what is wrong with message files, for people and for build servers."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Protocol

import typer

from adapter.cli.files import message_files, read_bounded, shown_name
from adapter.cli.output import FINDINGS, USAGE, complain, misuse, say_json
from adapter.cli.terminal import accept_any_text, progress
from adapter.domain.findings import Finding, Severity, Tier
from adapter.protocol import validation
from adapter.protocol.policy import POLICIES, Policy, read_policy
from adapter.protocol.schemas import Schemas
from adapter.protocol.validation import MAX_BYTES, Histories, Profile, Report, SchemaEngine
from adapter.store.documents import load_bundle

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Engine(StrEnum):
    """Which schema engine judges: the fast one, the plain one, or both, which must agree."""

    RS = "rs"
    PY = "py"
    BOTH = "both"


class ReportForm(StrEnum):
    """Documents for build servers."""

    JUNIT = "junit"
    SARIF = "sarif"


class Writer(Protocol):
    """Takes the report of each file, in order."""

    def add(self, file: str, raw: bytes, report: Report) -> None:
        """Take the report about one file."""
        ...

    def end(self) -> None:
        """Write what comes after the last one."""
        ...


class JsonLines:
    """One JSON object per file. Source: interfaces, section 2.1."""

    def add(self, file: str, raw: bytes, report: Report) -> None:
        """Write one line."""
        say_json(report.to_wire(file))

    def end(self) -> None:
        """Write nothing."""


@app.command()
def validate(  # noqa: PLR0913 - one argument per option
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Message files, folders that are searched for *.json in name order, or - for "
            "standard input.",
        ),
    ],
    profile: Annotated[
        Profile,
        typer.Option(
            help="What fails a file: schema and rules of severity error, or the schema alone."
        ),
    ] = Profile.STRICT,
    engine: Annotated[
        Engine, typer.Option(help="Schema engine; both must find the same.")
    ] = Engine.RS,
    history: Annotated[
        bool,
        typer.Option(
            "--history", help="Feed the files in order as one store: rules over earlier messages."
        ),
    ] = False,
    policy: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="What a network demands beyond the contract: a published policy, or a YAML file.",
        ),
    ] = "none",
    report: Annotated[
        ReportForm | None, typer.Option(help="Write a document for build servers to stdout.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per file.")
    ] = False,
) -> None:
    """Check message files: exit code 0 all valid, 1 not, 2 wrong usage."""
    if as_json and report is not None:
        misuse("--json and --report exclude each other")
    accept_any_text()
    files = message_files(paths)
    engines = dict(engines_for(engine))
    judgement = Judgement(engines, profile, _policy(policy), history=history)
    writer = writer_for(report, as_json=as_json)
    with progress("validating", len(files)) as bar:
        for file in files:
            judgement.judge(file, writer)
            if bar is not None:
                bar.advance()
    writer.end()
    if judgement.exit_code:
        raise typer.Exit(judgement.exit_code)


class Judgement:
    """Judges files one by one and remembers the exit code."""

    def __init__(
        self,
        engines: Mapping[str, SchemaEngine],
        profile: Profile,
        policy: Policy | None,
        *,
        history: bool,
    ) -> None:
        """Take the options of the command."""
        self.exit_code = 0
        self._engines = engines
        self._profile = profile
        self._policy = policy
        self._histories: Histories | None = {} if history else None

    def judge(self, file: str, writer: Writer) -> None:
        """Hand the report about a file to the writer."""
        name = shown_name(file)
        try:
            raw = read_bounded(file, MAX_BYTES)
        except OSError as error:
            complain(f"{name}: cannot be read: {error.strerror}")
            self.exit_code = USAGE
            return
        report = self._report(raw)
        self.exit_code = self.exit_code or (0 if report.valid else FINDINGS)
        writer.add(name, raw, report)

    def _report(self, raw: bytes) -> Report:
        try:
            return validation.validate(
                raw,
                self._engines,
                profile=self._profile,
                histories=self._histories,
                policy=self._policy,
            )
        except Exception as error:  # the edge: a fault of ours is a finding too
            name = type(error).__name__
            message = f"the validator failed with {name}; please report this file"
            fault = Finding(Tier.SCHEMA, Severity.ERROR, "NET_INTERNAL_ERROR", "$", message)
            return Report(None, None, None, (fault,), ())


def _policy(named: str) -> Policy | None:
    """Return a published policy, or the one that a file spells out."""
    if named == "none" or named in POLICIES or not Path(named).is_file():
        source: object = named
    else:
        import yaml  # 15 ms, which runs without a policy of their own do not pay

        try:
            source = yaml.safe_load(read_bounded(named, MAX_BYTES))
        except (OSError, yaml.YAMLError) as error:
            misuse(f"--policy: {shown_name(named)}: {' '.join(str(error).split())[:200]}")
    try:
        return read_policy(source)
    except ValueError as error:
        misuse(f"--policy: {error}")


def engines_for(wanted: Engine) -> Iterator[tuple[str, SchemaEngine]]:
    """Give the wanted schema engines by name."""
    bundle = load_bundle()
    if wanted is not Engine.PY:
        yield Engine.RS.value, Schemas(bundle)
    if wanted is not Engine.RS:
        from adapter.protocol.schemas_py import PythonSchemas  # 60 ms that others do not pay

        yield Engine.PY.value, PythonSchemas(bundle)


def writer_for(report: ReportForm | None, *, as_json: bool) -> Writer:
    """Return what writes the wanted form."""
    if report is not None:
        from adapter.cli.report_ci import JUnitWriter, SarifWriter

        return JUnitWriter() if report is ReportForm.JUNIT else SarifWriter()
    if as_json:
        return JsonLines()
    from adapter.cli.report_people import PeopleWriter

    return PeopleWriter()
