"""Dependencies point down only: core <- models <- session <- figures, widgets <- the rest."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "particle_nb"
FLOORS = {
    "core": 0,
    "models": 1,
    "session": 2,
    "figures": 3,
    "topography": 3,
    "widgets": 3,
    "annotation": 3,
    "batches": 4,
    "validation": 4,
    "cli": 5,
    "__main__": 6,
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
    "particle_nb",
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            if node.module == "particle_nb":
                found |= {f"particle_nb.{alias.name}" for alias in node.names}
    return found


def floor_of(module: str) -> int | None:
    parts = module.split(".")
    return FLOORS.get(parts[1]) if parts[0] == "particle_nb" and len(parts) > 1 else None


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


def test_core_needs_no_torch_no_widgets_and_nothing_unlisted() -> None:
    standard = sys.stdlib_module_names
    for path in (PACKAGE / "core").rglob("*.py"):
        for module in imports(path):
            top = module.split(".")[0]
            assert top in CORE_MAY or top in standard, f"{path.name} imports {module}"


def test_only_models_import_torch_at_the_top() -> None:
    for path in PACKAGE.rglob("*.py"):
        if "models" in path.relative_to(PACKAGE).parts:
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
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
