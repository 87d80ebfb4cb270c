"""What is public says what it does, in which shapes and units; kernels name their units."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "particle_nb"
#: "(N,)", "(H, W)", "(..., 2)", "(x0, y0, x1, y1)", or words for any shape.
SHAPE = re.compile(r"\((?:\.\.\.|[^(),]{1,14}),[^()]*\)|\bshape\b")
#: What a kernel's docstring names: a unit, or that there is none.
UNIT = re.compile(r"\bpx\b|\bnm\b|\bcells?\b|\bvoxels?\b|\bno unit\b", re.IGNORECASE)
ARRAYS = ("np.ndarray", "Tensor", "torch.Tensor", "tuple[np.ndarray", "tuple[Tensor")

Documented = ast.FunctionDef | ast.ClassDef | ast.Module


def modules() -> list[Path]:
    """Modules that are reached without passing an underscore."""
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if not any(
            part.startswith("_") and part != "__init__.py"
            for part in path.relative_to(PACKAGE).parts
        )
    ]


def public(path: Path) -> Iterator[tuple[str, Documented]]:
    """The module, its public functions and classes, and the public methods of these."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    name = path.relative_to(PACKAGE.parent).as_posix()
    yield name, tree
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield f"{name}:{node.name}", node
        for member in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                # torch's own name: where the class says the shapes, that is enough
                if member.name == "forward" and SHAPE.search(ast.get_docstring(node) or ""):
                    continue
                yield f"{name}:{node.name}.{member.name}", member


def is_array(annotation: ast.expr | None) -> bool:
    """Whether a value may be an array; a mapping or a list of arrays is none."""
    parts = ast.unparse(annotation).split("|") if annotation is not None else []
    return any(part.strip().startswith(ARRAYS) for part in parts)


def takes_arrays(node: Documented) -> bool:
    if not isinstance(node, ast.FunctionDef):
        return False
    given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    return is_array(node.returns) or any(is_array(one.annotation) for one in given)


def first_sentence_ends(text: str) -> bool:
    """Whether the first paragraph is made of whole sentences."""
    return text.split("\n\n")[0].rstrip().endswith(".")


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_what_is_public_has_a_docstring_with_shapes_where_arrays_pass(path: Path) -> None:
    for name, node in public(path):
        text = ast.get_docstring(node)
        assert text, f"{name} has no docstring"
        assert first_sentence_ends(text), f"{name}: the first sentence has no full stop"
        if takes_arrays(node):
            assert SHAPE.search(text), f"{name} takes or gives an array and names no shape"


def kernels() -> list[tuple[str, ast.FunctionDef]]:
    return [
        (f"{path.relative_to(PACKAGE).as_posix()}:{node.name}", node)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and any("compiled" in ast.unparse(one) for one in node.decorator_list)
    ]


def test_every_kernel_names_the_units_of_what_it_takes_and_gives() -> None:
    found = kernels()
    assert len(found) > 60, "hardly any kernel found: the test looks in the wrong place"
    for name, node in found:
        text = ast.get_docstring(node)
        assert text, f"{name} has no docstring"
        assert UNIT.search(text), f"{name} names no unit"


def test_the_rules_see_what_they_are_for() -> None:
    (bare,) = ast.parse("def area(mask: np.ndarray) -> float: ...").body
    (mapping,) = ast.parse("def digest(tensors: dict[str, np.ndarray]) -> str: ...").body
    (maybe,) = ast.parse("def grey(x: float | np.ndarray) -> float: ...").body
    assert [takes_arrays(one) for one in (bare, mapping, maybe)] == [True, False, True]
    assert not SHAPE.search("Return the area (a number) of a mask.")
    assert SHAPE.search("float (N,)")
    assert SHAPE.search("bool (H, W)")
    assert not first_sentence_ends("Return the area of a mask\n\nIt is great.")
    assert not UNIT.search("Area of the outline, in pixelated units.")
