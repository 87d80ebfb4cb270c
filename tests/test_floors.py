"""Dependencies point down only: core <- models <- session <- figures, widgets <- the rest."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "particle_nb"
FLOORS = {
    "core": 0,
    "progress": 0,
    "models": 1,
    "session": 2,
    "figures": 3,
    "topography": 3,
    "reconstruction": 3,
    "resolution": 3,
    "training_sets": 3,
    "phase_classifier": 3,
    "widgets": 3,
    "annotation": 3,
    "background": 3,
    "batches": 4,
    "validation": 4,
    "cli": 5,
    "__main__": 6,
}
#: Inside core: one package a noun of the field, each importing from lower floors only.
CORE_FLOORS = {
    "errors": 0,
    "compiled": 0,
    "files": 1,
    "workbooks": 2,
    "archives": 2,
    "image": 2,
    "masks": 2,
    "agreement": 2,
    "shape": 3,
    "matching": 3,
    "sizes": 3,
    "synthetic": 3,
    "surface": 4,
    "cascade": 4,
    "grey_edges": 4,
    "learning": 4,
    "volume": 4,
    "rebuilding": 5,
    "exports": 5,
    "annotation": 5,
    "phases": 6,
}
HEAVY = {"torch", "transformers", "segment_anything", "anywidget", "ipywidgets", "ipycanvas"}
CORE_MAY = {
    "numpy",
    "scipy",
    "pandas",
    "skimage",
    "sklearn",
    "numba",
    "tifffile",
    "imagecodecs",
    "PIL",
    "pyarrow",
    "roifile",
    "openpyxl",
    "vtkmodules",
    "particle_nb",
}
#: Where compiled loops live; what calls them stands beside them.
KERNELS = {
    "core/masks/_labels.py",
    "models/sam/_kernels.py",
    *(f"core/{n}/_kernels.py" for n in CORE_FLOORS),
}
LONGEST_FACE = 40


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    """Dotted name of a module of the package."""
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(path: Path, body: list[ast.stmt] | None = None) -> set[str]:
    """Modules that a file imports anywhere, or at its top only if its body is given."""
    found = set()
    for node in ast.walk(parsed(path)) if body is None else body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {part if part in MODULES else node.module or "" for part in parts}
    return found


def floor_of(module: str) -> int | None:
    parts = module.split(".")
    return FLOORS.get(parts[1]) if parts[0] == "particle_nb" and len(parts) > 1 else None


def core_part(module: str) -> str | None:
    """The package or file of core that a module belongs to."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["particle_nb", "core"] and len(parts) > 2 else None


def faces() -> list[Path]:
    return sorted(PACKAGE.rglob("__init__.py"))


def handed_on(face: Path) -> set[str]:
    """Names that a face imports to hand them on."""
    return {
        alias.asname or alias.name
        for node in parsed(face).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_every_module_has_a_floor_and_imports_point_down() -> None:
    seen = 0
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if name == "__init__":
            continue
        floor = FLOORS[name]
        for module in imports(path):
            target = floor_of(module)
            seen += target is not None
            assert target is None or target <= floor, f"{path.name} (floor {floor}) <- {module}"
    assert seen > 50, "the walk found hardly any import: it looks in the wrong place"


def test_packages_of_core_import_from_lower_floors_only() -> None:
    arrows = set()
    for name, path in MODULES.items():
        part = core_part(name)
        if part is None:
            continue
        for module in imports(path):
            target = core_part(module)
            if target not in (None, part):
                arrows.add((part, target))
                assert CORE_FLOORS[target] < CORE_FLOORS[part], f"{name} imports {module}"
    assert len(arrows) > 20, "the walk found hardly any arrow: it looks in the wrong place"


def test_no_circle_between_files() -> None:
    waiting = {name: imports(path, parsed(path).body) - {name} for name, path in MODULES.items()}
    while free := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in free:
            del waiting[name]
    assert not waiting, f"these import each other: {sorted(waiting)}"


def test_files_with_an_underscore_are_imported_in_their_package_only() -> None:
    for name, path in MODULES.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for module in imports(path):
            home, _, last = module.rpartition(".")
            if last.startswith("_") and module in MODULES and last != "__main__":
                assert home == package, f"{name} imports {module}"


def test_faces_only_hand_names_on() -> None:
    for face in faces():
        if face.parent == PACKAGE:
            continue
        lines = face.read_text(encoding="utf-8").splitlines()
        names = handed_on(face)
        statements = parsed(face).body
        assert all(
            isinstance(node, ast.ImportFrom | ast.Assign | ast.Expr) for node in statements
        ), f"{face} does more than hand on"
        # one line a name in __all__ is a table, not logic
        assert len(lines) - len(names) <= LONGEST_FACE, f"{face} has {len(lines)} lines"
        beside = {path.stem for path in face.parent.glob("*.py")} | {
            path.parent.name for path in face.parent.glob("*/__init__.py")
        }
        assert not names & beside, f"{face} hands on names of files: {names & beside}"


def test_no_module_of_the_root_bears_the_name_of_a_public_function() -> None:
    """Importing such a module would put it in the place of the function."""
    import particle_nb

    files = {path.stem for path in PACKAGE.glob("*.py")}
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    public = set(particle_nb.__all__)
    modules = {name for name in public if hasattr(getattr(particle_nb, name), "__path__")}
    assert not (files | folders) & (public - modules)
    assert modules, "no module is public: the test looks in the wrong place"


def kernels_of(path: Path) -> list[ast.FunctionDef]:
    return [
        node
        for node in parsed(path).body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(d, ast.Name) and d.id == "compiled" for d in node.decorator_list)
    ]


def test_kernels_live_in_kernel_files_and_call_nothing_of_another_file() -> None:
    """Numba's cache on disk does not see a change in a function called from another file."""
    seen = 0
    for path in PACKAGE.rglob("*.py"):
        kernels = kernels_of(path)
        if not kernels:
            continue
        place = path.relative_to(PACKAGE).as_posix()
        assert place in KERNELS, f"compiled loops in {place}"
        foreign = {
            alias.asname or alias.name: node.module or ""
            for node in parsed(path).body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        for kernel in kernels:
            seen += 1
            for node in ast.walk(kernel):
                name = node.id if isinstance(node, ast.Name) else ""
                home = foreign.get(name, "")
                ours = home.startswith("particle_nb") and name != "compiled"
                assert not ours, f"{place}: {kernel.name} uses {name} of {home}"
    assert seen > 30, "hardly any kernel found: the test looks in the wrong place"


def test_core_needs_no_torch_no_widgets_and_nothing_unlisted() -> None:
    standard = sys.stdlib_module_names
    for path in (PACKAGE / "core").rglob("*.py"):
        for module in imports(path):
            top = module.split(".")[0]
            assert top in CORE_MAY or top in standard, f"{path.name} imports {module}"


@pytest.mark.parametrize("outside", ["training", "tests", "oracles", "benchmarks"])
def test_the_package_imports_nothing_that_is_not_in_the_wheel(outside: str) -> None:
    for path in PACKAGE.rglob("*.py"):
        assert outside not in {module.split(".")[0] for module in imports(path)}, path


def test_only_models_import_torch_at_the_top() -> None:
    for path in PACKAGE.rglob("*.py"):
        if "models" in path.relative_to(PACKAGE).parts:
            continue
        for node in parsed(path).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                top = name.split(".")[0]
                assert top not in HEAVY or "widgets" in path.parts, f"{path}: {name}"


def test_importing_the_package_stays_light() -> None:
    code = (
        "import sys, particle_nb as pnb; pnb.Session; pnb.measure; pnb.cascade; pnb.read_image; "
        f"print(sorted(set({sorted(HEAVY)}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_resolves() -> None:
    import particle_nb

    for name in particle_nb.__all__:
        assert getattr(particle_nb, name) is not None


def test_a_class_has_a_name_of_its_own() -> None:
    """One name, one thing, in the package and in training."""
    homes: dict[str, list[str]] = {}
    for folder in (PACKAGE, ROOT / "training"):
        for path in folder.rglob("*.py"):
            for node in parsed(path).body:
                if isinstance(node, ast.ClassDef):
                    homes.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    twice = {name: places for name, places in homes.items() if len(places) > 1}
    assert not twice
