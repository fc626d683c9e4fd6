"""Python sources to code objects without what no page looks at. Runs inside Pyodide, at build time only.

Left out: docstrings, annotations of functions, and the columns of line tables. What programs can see is kept:
annotations of class bodies (dataclasses read them), assertions, line numbers of our own frames.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
from types import CodeType

KEEP_ANNOTATIONS = ("importlib/resources", "functools", "dataclasses", "typing")
"""``functools.singledispatch`` chooses by them."""

# Location table of code objects (CPython InternalDocs/code_objects.md): entry kinds.
_LINE_ONLY = 13
_NO_LOCATION = 15
_UNITS_PER_ENTRY = 8


def compile_slim(source: bytes, name: str, filename: str, *, lines: bool) -> bytes:
    """A ``.pyc`` that is never checked against its source (PEP 552, unchecked hash).

    :param name: path within its archive.
    :param filename: what tracebacks show.
    :param lines: keep line numbers.
    """
    tree = ast.fix_missing_locations(_Strip(name.startswith(KEEP_ANNOTATIONS)).visit(ast.parse(source)))
    code = _slim(compile(tree, filename, "exec", dont_inherit=True), lines)
    header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)
    return header + marshal.dumps(code)


class _Strip(ast.NodeTransformer):
    def __init__(self, annotations: bool) -> None:
        self._annotations = annotations

    def visit_Module(self, node: ast.Module) -> ast.Module:
        self.generic_visit(node)
        if _documented(node):
            node.body[0].value.value = ""
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        if _documented(node):
            # A dataclass without any would write itself one, slowly.
            node.body[0].value.value = " "
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        if _documented(node):
            node.body[0] = ast.copy_location(ast.Pass(), node.body[0])
        if not self._annotations:
            node.returns = None
            arguments = node.args
            rest = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
            for argument in arguments.posonlyargs + arguments.args + arguments.kwonlyargs + rest:
                argument.annotation = None
        return node

    visit_AsyncFunctionDef = visit_FunctionDef


def _documented(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> bool:
    first = node.body[0] if node.body else None
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


def _slim(code: CodeType, lines: bool) -> CodeType:
    constants = tuple(_slim(item, lines) if isinstance(item, CodeType) else item for item in code.co_consts)
    return code.replace(co_consts=constants, co_linetable=_line_table(code, lines))


def _line_table(code: CodeType, lines: bool) -> bytes:
    """The location table with line numbers only, or with nothing."""
    table = bytearray()
    last = code.co_firstlineno
    spans = code.co_lines() if lines else [(0, len(code.co_code), None)]
    for start, end, line in spans:
        units = (end - start) // 2
        while units > 0:
            count = min(units, _UNITS_PER_ENTRY)
            kind = _NO_LOCATION if line is None else _LINE_ONLY
            table.append(0x80 | kind << 3 | count - 1)
            if line is not None:
                table += _signed_varint(line - last)
                last = line
            units -= count
    return bytes(table)


def _signed_varint(value: int) -> bytes:
    rest = (-value << 1) | 1 if value < 0 else value << 1
    out = bytearray()
    while rest >= 64:
        out.append(64 | rest & 63)
        rest >>= 6
    out.append(rest)
    return bytes(out)
