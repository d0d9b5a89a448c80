"""Checks of sizes and habits: each takes a text and gives the numbers of the offending lines."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
CLOCK_READS = {
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "time.time",
    "time.time_ns",
}
# One letter of each name is in brackets, so that this file does not hold what it looks for.
REGISTRY_HOST = re.compile(
    r"py[p]i\.org|python[h]osted\.org|registry\.np[m]js|registry\.yarn[p]kg|crates\.i[o]"
    r"|proxy\.go[l]ang"
)
MACHINE_PATH = re.compile(r"(?<![\w.~}>-])/(?:home|root|Users|work)/\w|\b[A-Z]:\\+Users\\")
LOOSE_END = re.compile(r"\b(?:TODO|FIXME|XXX)\b(?!\(#\d+\))")
LOCK_LINE = re.compile(
    r" *#.*|[a-z0-9-]+==[\w.]+( ; [\w.'=!<> ]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?"
)


def long_module(source: str) -> Iterator[int]:
    """Give the last line of a module that is too long."""
    lines = len(source.splitlines())
    if lines > MODULE_LINES_MAX:
        yield lines


def long_functions(source: str) -> Iterator[int]:
    """Give the first line of each function that is too long, its docstring included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno >= FUNCTION_LINES_MAX:
                yield node.lineno


def floats(source: str) -> Iterator[int]:
    """Give each line with the name `float`, quoted annotations included, or a float literal."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id="float") | ast.Attribute(attr="float"):
                yield node.lineno
            case ast.Constant(value=float() | complex()):
                yield node.lineno
            case (
                ast.arg(annotation=ast.expr() as annotation)
                | ast.AnnAssign(annotation=annotation)
                | ast.FunctionDef(returns=ast.expr() as annotation)
                | ast.AsyncFunctionDef(returns=ast.expr() as annotation)
            ):
                yield from quoted_floats(annotation)


def quoted_floats(annotation: ast.expr) -> Iterator[int]:
    """Give each line where an annotation names `float` within quotes."""
    for node in ast.walk(annotation):
        match node:
            case ast.Constant(value=str() as text) if re.search(r"\bfloat\b", text):
                yield node.lineno


def clock_reads(source: str) -> Iterator[int]:
    """Give each line that reads the system time, under whatever name it was imported."""
    tree = ast.parse(source)
    names = imported_names(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute() | ast.Name() if full_name(node, names) in CLOCK_READS:
                yield node.lineno


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Return what each imported name stands for, dotted."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                names |= {name.asname or name.name: name.name for name in node.names}
            case ast.ImportFrom(module=str() as module):
                names |= {name.asname or name.name: f"{module}.{name.name}" for name in node.names}
    return names


def full_name(node: ast.expr, names: dict[str, str]) -> str:
    """Return the dotted name of an expression that starts at an import, or nothing."""
    match node:
        case ast.Name():
            return names.get(node.id, "")
        case ast.Attribute() if base := full_name(node.value, names):
            return f"{base}.{node.attr}"
    return ""


def prints(source: str) -> Iterator[int]:
    """Give each line that calls `print`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                yield node.lineno


def loose_ends(source: str) -> Iterator[int]:
    """Give each line whose comment leaves work to do and names no issue, as in `TODO(#12)`."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and LOOSE_END.search(token.string):
            yield token.start[0]


def registry_hosts(text: str) -> Iterator[int]:
    """Give each line that names the host of a package registry."""
    return matching_lines(REGISTRY_HOST, text)


def machine_paths(text: str) -> Iterator[int]:
    """Give each line with a path that exists on one machine only."""
    return matching_lines(MACHINE_PATH, text)


def matching_lines(pattern: re.Pattern[str], text: str) -> Iterator[int]:
    """Give each line where `pattern` is found."""
    return (number for number, line in enumerate(text.splitlines(), 1) if pattern.search(line))


def no_pins(lock: str) -> Iterator[int]:
    """Give each line of a lock file that is neither a pin, nor a hash, nor a comment."""
    lines = enumerate(lock.splitlines(), 1)
    return (number for number, line in lines if not LOCK_LINE.fullmatch(line))


def missing_newline(text: str) -> Iterator[int]:
    """Give the last line of a text that does not end with a newline."""
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1
