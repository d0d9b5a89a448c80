"""The tables of docs/performance.md."""

from pathlib import Path

from bench.report import to_table, write_page

CASE = {
    "case": "10 orders",
    "ours": {"min": 1.0, "median": 2.0, "max": 3.5},
    "baseline": {"name": "plain", "version": "1.2", "min": 10.0, "median": 20.0, "max": 30.0},
    "ratio_median": 10.0,
}
RESULT = {"name": "clear", "unit": "ms", "cases": [CASE]}


def test_a_table_has_median_spread_baseline_and_ratio() -> None:
    row = to_table(RESULT).splitlines()[-1]
    assert row == "| 10 orders | 2.0 (1.0 to 3.5) | plain 1.2: 20.0 (10.0 to 30.0) | 10.0 |"


def test_only_the_block_of_the_benchmark_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    other = "<!-- bench: start -->\nkept\n<!-- bench end -->\n"
    page.write_text(f"before\n<!-- bench: clear -->\nold\n<!-- bench end -->\nafter\n{other}")
    assert write_page([RESULT], page) == []
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("before\n<!-- bench: clear -->\nIn ms, ")
    assert text.endswith(f"| 10.0 |\n<!-- bench end -->\nafter\n{other}")


def test_the_same_result_written_twice_leaves_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench: clear -->\n<!-- bench end -->\n")
    write_page([RESULT], page)
    once = page.read_text()
    write_page([RESULT], page)
    assert page.read_text() == once


def test_a_result_without_a_place_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here\n")
    assert write_page([RESULT], page) == ["clear"]
    assert page.read_text() == "nothing here\n"


def test_what_else_was_measured_is_listed_below() -> None:
    case = {
        **CASE,
        "ours": {**CASE["ours"], "p99_ms": 4.5, "at_rate": {"p50_ms": 1.5}},  # type: ignore[dict-item]
        "memory_mb": {"10 trades": 7},
    }
    text = to_table({**RESULT, "cases": [case, CASE]})
    assert text.endswith(
        "\nMeasured besides:\n\n"
        "- 10 orders: ours p99_ms 4.5, ours at_rate p50_ms 1.5, memory_mb 10 trades 7\n"
    )


def test_nothing_is_said_where_nothing_else_was_measured() -> None:
    assert "besides" not in to_table(RESULT)
