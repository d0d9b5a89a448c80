"""The page of all rules, made from the code and the folder of invalid examples."""

from adapter.domain.findings import Severity
from adapter.protocol.policy import CODE, POLICIES, RULES
from adapter.protocol.rules.catalogue import Entry, catalogue
from adapter.protocol.rules.rule import wire_code
from adapter.store.documents import data_folder

_TIERS = {
    "schema": "Checked by the schema. `code` is the SCH_ code of the keyword, `rule` this code.",
    "message": "Checked over one message, on objects that fit their schema.",
    "history": "Checked over earlier messages of the same contractId (`--history`).",
    "price": "Checked where energy is priced, with the host's delivery profile (`profile.json`).",
}
_SEVERITIES = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "info"}


def rules() -> str:
    """Return the page."""
    parts = [
        "# Rules of the energy contract\n",
        "Generated from `adapter/protocol/rules` by `python -m tests.make_docs`. Source of all of "
        "them: contract specification, section 12.\n",
        "An error refuses a live message with the wire code and stands in `errors` of "
        "`p2ptrade validate`; warnings and information stand in `findings`. A rule's message names "
        "what was found, its condition what would be right. Each example folder below "
        "`examples/invalid` holds messages that break the rule.\n",
    ]
    for tier, text in _TIERS.items():
        entries = [entry for entry in catalogue().values() if entry.tier == tier]
        parts.append(f"## {tier.capitalize()}\n\n{text}\n\n{_table(entries)}")
    parts.append(_policy())
    return "\n".join(parts)


def _policy() -> str:
    """Return the section about what a network may demand."""
    rows = [
        "| rule | demand | keys of the policy |",
        "| --- | --- | --- |",
        *(
            f"| `{rule.id}` | {rule.meaning} | {', '.join(f'`{key}`' for key in rule.keys)} |"
            for rule in RULES
        ),
    ]
    return (
        "## Policy\n\nWhat a network demands beyond the contract, off unless `protocol.policy` of "
        "node.yaml or `--policy` of `p2ptrade validate` names a policy: one of "
        f"{', '.join(f'`{name}`' for name in POLICIES)}, or a map such as\n"
        '`{lead_time: PT4H, slot: PT1H, hours: "06:00-18:00", time_zone: Asia/Kolkata, '
        "currencies: [INR]}`.\nMessages from select to on_confirm are judged. A breach is an error "
        f"with the code `{CODE}`; `rule` is the id below.\n\n" + "\n".join(rows) + "\n"
    )


def _table(entries: list[Entry]) -> str:
    rows = [
        "| rule | severity | condition | message | wire code | example | checked in |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *map(_row, entries),
    ]
    return "\n".join(rows) + "\n"


def _row(entry: Entry) -> str:
    folder = data_folder("examples") / "invalid" / entry.code
    example = f"[{len(list(folder.glob('0*.json')))}](../examples/invalid/{entry.code})"
    wire = ""
    if entry.severity is Severity.ERROR:
        wire = "that of the keyword" if entry.tier == "schema" else f"`{wire_code(entry.code)}`"
    return (
        f"| `{entry.code}` | {_SEVERITIES[entry.severity]} | {_cell(entry.condition)} "
        f"| {_cell(entry.message)} | {wire} | {example} | `{entry.module}` |"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
