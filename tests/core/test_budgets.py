"""How large things may be, by ast. ``python tests/core/test_budgets.py [FOLDER]`` prints the figures of a package."""

from __future__ import annotations

import ast
import io
import statistics
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Union

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "mxspark"
MODULE_LINES, FUNCTION_LINES, ATTRIBUTES, POSITIONAL, ASSIGNED = 300, 50, 10, 6, 2

# What a class may be to have as many attributes as it likes: a record of values, or nothing that has state of its own.
PLAIN = {
    "BaseException", "Exception", "OSError", "RuntimeError", "ValueError", "ConnectionError", "KeyError",
    "Enum", "IntEnum", "NamedTuple", "TypedDict", "Protocol", "BaseModel", "Structure",
}  # fmt: skip

PRAGMAS = ("# fmt:", "# noqa", "# type:", "#!")

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Breach:
    """A rule that something in a file breaks: its qualified name, the rule, and what was seen."""

    file: str
    name: str
    rule: str
    seen: str


@dataclass(frozen=True)
class Module:
    """A file of the package: its path below the package, and what is in it."""

    file: str
    text: str
    tree: ast.Module

    @classmethod
    def read(cls, path: Path, package: Path) -> Module:
        """Read a file."""
        text = path.read_text()
        return cls(str(path.relative_to(package)), text, ast.parse(text))

    def named(self) -> Iterator[tuple[str, ast.AST]]:
        """Yield every node with the qualified name of the class and function it is in ("module" outside of any)."""
        yield from _named(self.tree, ())


def _named(node: ast.AST, within: tuple[str, ...]) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        inside = (*within, child.name) if isinstance(child, (*FUNCTIONS, ast.ClassDef)) else within
        yield ".".join(inside) or "module", child
        yield from _named(child, inside)


def read_package(folder: Path) -> list[Module]:
    """Read every module of a package."""
    return [Module.read(path, folder) for path in sorted(folder.rglob("*.py"))]


class Classes:
    """The classes of a package by name, to know what each inherits."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self._of = {
            node.name: node for module in modules for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)
        }

    def is_plain(self, node: ast.ClassDef) -> bool:
        """Tell whether a class is a frozen dataclass, or by what it inherits no object with a state of its own."""
        if any(_is_frozen(decorator) for decorator in node.decorator_list):
            return True
        bases = set(_bases(node))
        return bool(bases & PLAIN) or any(self.is_plain(above) for above in self._above(node))

    def attributes(self, node: ast.ClassDef) -> set[str]:
        """Return the names of a class's attributes, its own and inherited ones."""
        own = {name for name, _, _ in _assigned(node)}
        own |= {item.target.id for item in node.body if isinstance(item, ast.AnnAssign) and _is_field(item)}
        return own.union(*(self.attributes(above) for above in self._above(node)))

    def bools(self, node: ast.ClassDef) -> set[str]:
        """Return the attributes that begin as True or False and are assigned again after the constructor."""
        fields = [item for item in node.body if isinstance(item, ast.AnnAssign) and _is_field(item)]
        begun = {name for name, value, method in _assigned(node) if method == "__init__" and _is_bool(value)}
        begun |= {item.target.id for item in fields if _is_bool(item.value)}
        again = {name for name, _, method in _assigned(node) if method != "__init__"}
        return (begun & again).union(*(self.bools(above) for above in self._above(node)))

    def _above(self, node: ast.ClassDef) -> list[ast.ClassDef]:
        return [self._of[name] for name in _bases(node) if name in self._of and self._of[name] is not node]


def _bases(node: ast.ClassDef) -> Iterator[str]:
    for base in node.bases:
        inner = base.value if isinstance(base, ast.Subscript) else base
        yield inner.attr if isinstance(inner, ast.Attribute) else getattr(inner, "id", "")


def _is_frozen(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and any(
        word.arg == "frozen" and _is_bool(word.value) for word in decorator.keywords
    )


def _is_field(item: ast.AnnAssign) -> bool:
    return isinstance(item.target, ast.Name) and "ClassVar" not in ast.unparse(item.annotation)


def _is_bool(value: object) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, bool)


def _assigned(node: ast.ClassDef) -> Iterator[tuple[str, object, str]]:
    """Yield attribute, value and method of each assignment to an attribute of `self` in a class."""
    for method in node.body:
        if not isinstance(method, FUNCTIONS) or not method.args.args:
            continue
        me = method.args.args[0].arg
        for part in ast.walk(method):
            for target, value in _pairs(part):
                if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == me:
                    yield target.attr, value, method.name


def _pairs(node: ast.AST) -> Iterator[tuple[ast.expr, object]]:
    """Yield what a statement assigns to, each with its value where that can be told."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _unpacked(target, node.value)
    elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
        yield node.target, node.value
    elif isinstance(node, (ast.For, ast.comprehension)):
        yield from _unpacked(node.target, None)
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield from _unpacked(node.optional_vars, None)


def _unpacked(target: ast.expr, value: object) -> Iterator[tuple[ast.expr, object]]:
    if not isinstance(target, (ast.Tuple, ast.List)):
        yield target, value
        return
    values = value.elts if isinstance(value, (ast.Tuple, ast.List)) else [None] * len(target.elts)
    for inner, its in zip(target.elts, values):
        yield from _unpacked(inner, its)


def lines_of(node: ast.AST) -> int:
    """Return how many lines something has."""
    return int(getattr(node, "end_lineno", 0)) - int(getattr(node, "lineno", 0)) + 1


def code_lines_of(node: Function) -> int:
    """Return how many lines a function has beside its docstring."""
    return lines_of(node) - (lines_of(node.body[0]) if ast.get_docstring(node) is not None else 0)


def positional(node: Union[Function, ast.Lambda]) -> int:
    """Return how many positional parameters a function takes, beside self or cls."""
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def assigned_at_once(node: ast.AST) -> int:
    """Return how many facts a statement puts side by side; what a call returns may be unpacked in one."""
    if not (isinstance(node, ast.Assign) and isinstance(node.value, (ast.Tuple, ast.List))):
        return 1
    return max(len(target.elts) if isinstance(target, (ast.Tuple, ast.List)) else 1 for target in node.targets)


def breaches(module: Module, classes: Classes) -> Iterator[Breach]:
    """Yield what breaks a rule in a file."""
    count = module.text.count("\n")
    if count > MODULE_LINES:
        yield Breach(module.file, "module", f"a module has at most {MODULE_LINES} lines", str(count))
    for name, node in module.named():
        for rule, seen in _broken(node, classes):
            yield Breach(module.file, name, rule, seen)


def _broken(node: ast.AST, classes: Classes) -> Iterator[tuple[str, str]]:
    if isinstance(node, FUNCTIONS) and lines_of(node) > FUNCTION_LINES:
        yield f"a function has at most {FUNCTION_LINES} lines", str(lines_of(node))
    if isinstance(node, (*FUNCTIONS, ast.Lambda)) and positional(node) > POSITIONAL:
        yield f"a function takes at most {POSITIONAL} positional parameters", str(positional(node))
    if isinstance(node, ast.ClassDef) and not classes.is_plain(node):
        names, bools = classes.attributes(node), classes.bools(node)
        if len(names) > ATTRIBUTES:
            yield f"a class has at most {ATTRIBUTES} attributes", f"{len(names)}: {', '.join(sorted(names))}"
        if len(bools) > 1:
            yield "a phase is one enum, not several bools", ", ".join(sorted(bools))
    if isinstance(node, ast.Assign) and len(node.targets) > 1:
        yield "one fact a line: no a = b = x", f"line {node.lineno}"
    if assigned_at_once(node) > ASSIGNED:
        yield "one fact a line: no a, b, c = x, y, z", f"line {getattr(node, 'lineno', 0)}"


MODULES = read_package(PACKAGE)
CLASSES = Classes(MODULES)
BREACHES = [breach for module in MODULES for breach in breaches(module, CLASSES)]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.file)
def test_nothing_is_larger_than_it_may_be(module: Module) -> None:
    found = [breach for breach in BREACHES if breach.file == module.file]
    assert not found, "\n".join(f"{one.file} {one.name}: {one.rule} ({one.seen})" for one in found)


SAMPLE = """
class Phases:
    def __init__(self, a):
        self.a, self.open = a, False
        self.over: bool = True
        self.wanted = True
    def close(self):
        self.open = self.over = bool(self.a)
class Below(Phases):
    def __init__(self):
        self.b = self.c = self.d = 1
        for self.e, (self.f, self.g) in ():
            with open("x") as self.h:
                self.i, self.j, self.k = 1, 2, 3
@dataclass(frozen=True)
class Values:
    many: bool = False
    def __init__(self):
        self.a, self.b, self.c = "".partition("")
class Ours(Broken): ...
class Broken(OSError):
    x: bool = False
    y: bool = False
    def set(self):
        self.x, self.y = True, True
def seven(a, b, c, d, e, f, g, *, h): ...
class Six:
    def six(self, a, b, c, d, e, f): ...
"""


def test_the_rules_see_what_they_are_for() -> None:
    module = Module("sample.py", SAMPLE, ast.parse(SAMPLE))
    found = {(one.name, one.rule.partition(",")[0].partition(":")[2] or one.rule) for one in breaches(
        module, Classes([module])
    )}  # fmt: skip
    assert found == {
        ("Phases", "a phase is one enum, not several bools"),
        ("Phases.close", " no a = b = x"),
        ("Below", "a phase is one enum, not several bools"),
        ("Below", "a class has at most 10 attributes"),
        ("Below.__init__", " no a = b = x"),
        ("Below.__init__", " no a"),
        ("seven", "a function takes at most 6 positional parameters"),
    }


def figures(folder: Path) -> list[tuple[str, str]]:
    """Return the figures of a package, as the review of its architecture has them."""
    modules = read_package(folder)
    classes = Classes(modules)
    nodes = [node for module in modules for node in ast.walk(module.tree)]
    functions = [node for node in nodes if isinstance(node, FUNCTIONS)]
    objects = [node for node in nodes if isinstance(node, ast.ClassDef)]
    sizes = [module.text.count("\n") for module in modules if module.text.strip()]
    thousands = sum(sizes) / 1000
    lengths = [code_lines_of(node) for node in functions]
    state = [node for node in objects if not classes.is_plain(node)]
    large = [node for node in objects if len(classes.attributes(node)) > ATTRIBUTES]
    state_large = sum(node in state for node in large)
    phases = [node for node in state if len(classes.bools(node)) > 1]
    public = [documented for module in modules for documented in _documented(module)]
    anys = sum(isinstance(node, ast.Name) and node.id == "Any" for node in nodes)
    comments = sum(len(list(_comments(module.text))) for module in modules)
    return [
        ("modules, lines", f"{len(sizes)}, {sum(sizes):,}"),
        ("function lines, median / p90 / max", _spread(lengths)),
        ("functions over 30 lines", f"{sum(length > 30 for length in lengths)} of {len(lengths):,}"),
        ("module lines, median / p90 / max", _spread(sizes)),
        ("fully typed functions", _share([_is_typed(node) for node in functions])),
        ("public names with docstring", _share(public)),
        ("comments / 100 lines", f"{comments / thousands / 10:.1f}"),
        (f"functions with > {POSITIONAL} positional", str(sum(positional(node) > POSITIONAL for node in functions))),
        (f"classes with > {ATTRIBUTES} attributes", f"{len(large)} of {len(objects)}; no plain values: {state_large}"),
        ("classes with >= 2 bools for state", str(len(phases))),
        ("lambdas / 1,000 lines", f"{sum(isinstance(node, ast.Lambda) for node in nodes) / thousands:.1f}"),
        ("tuple assignments of >= 3", str(sum(assigned_at_once(node) > ASSIGNED for node in nodes))),
        ("chained assignments", str(sum(isinstance(node, ast.Assign) and len(node.targets) > 1 for node in nodes))),
        ("Any / 1,000 lines", f"{anys / thousands:.1f}"),
    ]


def _spread(sizes: Sequence[int]) -> str:
    ordered = sorted(sizes)
    return f"{statistics.median(ordered):g} / {ordered[len(ordered) * 9 // 10]} / {ordered[-1]}"


def _share(facts: Sequence[bool]) -> str:
    return f"{100 * sum(facts) / len(facts):.1f} %"


def _is_typed(node: Function) -> bool:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    given = [one for one in every if one is not None and one.arg not in ("self", "cls")]
    return node.returns is not None and all(one.annotation is not None for one in given)


def _documented(module: Module) -> Iterator[bool]:
    """Yield for each public function, method and class of a module, and the module, whether it has a docstring."""
    yield ast.get_docstring(module.tree) is not None or not module.text.strip()
    for name, node in module.named():
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not any(part.startswith("_") for part in name.split(".")):
            yield ast.get_docstring(node) is not None


def _comments(text: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith(PRAGMAS):
            yield token.string


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if sys.argv[1:] else PACKAGE
    for name, figure in figures(folder):
        print(f"{name:36} {figure}")
