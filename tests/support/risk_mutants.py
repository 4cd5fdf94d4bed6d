"""Risk mutants: `hft.risk.check` as plain Python with one control removed: no statement returns its code any more."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from hft import breakers, risk, stops
from hft.records import RiskCode


class _Remove(ast.NodeTransformer):
    """A `return` of the code becomes nothing; where the code is one of two answers, it becomes OK."""

    def __init__(self, name: str) -> None:
        self.name, self.removed = name, 0

    def _is_code(self, node: ast.AST | None) -> bool:
        return isinstance(node, ast.Attribute) and node.attr == self.name and ast.unparse(node.value) == "RiskCode"

    def visit_Return(self, node: ast.Return) -> ast.AST:
        if self._is_code(node.value):
            self.removed += 1
            return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        for branch in ("body", "orelse"):
            if self._is_code(getattr(node, branch)):
                self.removed += 1
                setattr(node, branch, ast.copy_location(ast.parse("RiskCode.OK", mode="eval").body, node))
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Nothing of it is compiled."""
        node.decorator_list = [d for d in node.decorator_list if ast.unparse(d) != "njit"]
        return self.generic_visit(node)


@cache
def check_without(code: RiskCode) -> tuple[Callable[..., RiskCode], int]:
    """`check` without the control of this code, and from how many places it was removed."""
    remove = _Remove(code.name)
    standing = _exec(breakers, remove)["standing"]
    refusal = _exec(stops, remove)["refusal"]
    names = _exec(risk, remove)
    names["standing"], names["refusal"] = standing, refusal
    return names["check"], remove.removed


def _exec(source: ModuleType, remove: _Remove) -> dict[str, Any]:
    tree = ast.fix_missing_locations(remove.visit(ast.parse(inspect.getsource(source))))
    names: dict[str, Any] = {"__name__": f"mutant_of_{source.__name__}"}
    exec(compile(tree, f"<{source.__name__} without {remove.name}>", "exec"), names)  # noqa: S102
    return names
