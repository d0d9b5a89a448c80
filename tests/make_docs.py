"""The pages of `docs/` that say what the code says.

Run `python -m tests.make_docs` to write them anew; `tests/test_docs.py` compares.
"""

from pathlib import Path

from adapter.domain.codes import CODES
from adapter.domain.parties import Side
from adapter.domain.settlement_codes import SETTLEMENT_CODES
from adapter.protocol.lifecycle import TRANSITIONS, to_mermaid
from tests.make_cli_doc import commands
from tests.make_contracts_doc import contracts
from tests.make_rules_doc import rules
from tests.make_validator_doc import validator

DOCS = Path(__file__).parents[1] / "docs"
_SIDES = {
    Side.BAP: "The buyer's app (BAP)",
    Side.BPP: "The seller's platform (BPP)",
    Side.GRID_OPERATOR: "The grid operator",
    Side.MARKET: "A market, towards one prosumer's app",
    Side.MARKET_SESSION: "A market, towards its grid operator",
}


def lifecycle() -> str:
    """Return the page about the lifecycle of a trade, one diagram and table per side."""
    parts = [
        "# Lifecycle of a trade\n",
        "Generated from `adapter/protocol/lifecycle.py` by `python -m tests.make_docs`.\n",
        "A trade begins NEW and ends COMPLETED or TERMINATED. A request moves it into a pending "
        "state; the answer moves it on, an error or a deadline moves it back to where it was "
        "(BACK). A confirm without an answer is unknown, not refused. What is not listed is "
        "refused with `BIZ_INVALID_STATE_TRANSITION` and changes nothing.\n",
    ]
    for side, title in _SIDES.items():
        parts.append(f"## {title}\n\n```mermaid\n{to_mermaid(side)}```\n")
        parts.append(_table(side))
    return "\n".join(parts)


def _table(side: Side) -> str:
    rows = ["| state | step and state after |", "| --- | --- |"]
    for state, row in TRANSITIONS[side].items():
        steps = ", ".join(f"{step.value} → {target}" for step, target in row.items())
        rows.append(f"| {state} | {steps or 'final'} |")
    return "\n".join(rows) + "\n"


def errors() -> str:
    """Return the page of all published codes."""
    parts = [
        "# Error codes\n",
        "Generated from `adapter/domain` by `python -m tests.make_docs`. A published code is never "
        "renamed or reused. *Retry* says whether the same request may succeed later.\n",
        "## On the network\n",
        "| code | HTTP | retry | meaning |\n| --- | --- | --- | --- |",
        *(
            f"| `{code.name}` | {code.http_status} | {'yes' if code.transient else 'no'} "
            f"| {code.meaning} |"
            for code in CODES.values()
        ),
        "\n## In the contract layer\n",
        "*Aliases* are the names of the same refusal in older designs.\n",
        "| code | HTTP | retry | meaning | aliases |\n| --- | --- | --- | --- | --- |",
        *(
            f"| `{code.name}` | {code.http_status} | {'yes' if code.transient else 'no'} "
            f"| {code.meaning} | {', '.join(code.aliases)} |"
            for code in SETTLEMENT_CODES.values()
        ),
    ]
    return "\n".join(parts) + "\n"


PAGES = {
    "lifecycle.md": lifecycle,
    "errors.md": errors,
    "rules.md": rules,
    "validator.md": validator,
    "cli.md": commands,
    "contracts.md": contracts,
}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())


if __name__ == "__main__":
    main()
