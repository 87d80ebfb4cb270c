"""The canvas's modules: tested under Node one by one, joined into one by Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from particle_nb.core.errors import DataError
from particle_nb.widgets._esm import joined_modules, packed_module, unpacked_module

TESTS = Path(__file__).with_name("js")
FOLDER = Path(__file__).parent.parent / "particle_nb" / "widgets" / "js"
MODULES = sorted(FOLDER.glob("*.mjs"))


def _node(*arguments: str, source: str = "") -> subprocess.CompletedProcess[str]:
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail("node is missing")
        pytest.skip("node is not installed")
    return subprocess.run(
        [node, *arguments], input=source, capture_output=True, text=True, timeout=120
    )


def test_the_modules_of_the_canvas_under_node() -> None:
    files = [str(path) for path in sorted(TESTS.glob("*.test.mjs"))]
    assert len(files) > 8
    done = _node("--test", *files)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout
    assert int(re.findall(r"^# pass (\d+)", done.stdout, re.MULTILINE)[0]) > 50


@pytest.fixture(scope="module")
def canvas() -> str:
    pytest.importorskip("anywidget")
    from particle_nb.widgets.prompt_canvas import PromptCanvas

    return str(PromptCanvas._esm)


def test_what_the_widget_carries_is_small_and_complete(canvas: str) -> None:
    assert len(canvas.encode()) < 100_000
    assert not re.search(r"https?:", canvas)
    canvas = unpacked_module(canvas)
    assert canvas == joined_modules(FOLDER / "widget.mjs")
    assert not re.search(r"\bimport\b|^export (?!default)", canvas, re.MULTILINE)
    assert set(re.findall(r"https?://[\w.]+", canvas)) <= {"http://www.w3.org"}
    code = (
        "const chunks = []; for await (const c of process.stdin) chunks.push(c);"
        "const text = Buffer.concat(chunks).toString('base64');"
        "const made = await import(`data:text/javascript;base64,${text}`);"
        "console.log(Object.keys(made).join(), typeof made.default.render);"
    )
    done = _node("--input-type=module", "-e", code, source=canvas)
    assert done.stdout.strip() == "default function", done.stderr


def test_every_module_is_needed_and_none_is_long() -> None:
    imported = set()
    for path in MODULES:
        imported |= set(re.findall(r'from "\./([\w.]+)";', path.read_text("utf-8")))
        assert len(path.read_text("utf-8").splitlines()) <= 600, path.name
    entries = {"widget.mjs", "phase_painter.mjs", "gallery.mjs"}
    assert {path.name for path in MODULES} - imported == entries


def test_modules_import_what_they_use() -> None:
    """Joined, a name is there whether it was imported or not; by itself the module would fail."""
    declared = re.compile(r"^export (?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)
    sources = {path.name: path.read_text("utf-8") for path in MODULES}
    exports = {name: set(declared.findall(text)) for name, text in sources.items()}
    for module, text in sources.items():
        imports = re.findall(r"^import \{([^}]*)\}", text, re.MULTILINE)
        taken = {name.strip() for names in imports for name in names.split(",")} - {""}
        code = re.sub(r"^import [^;]*;", "", text, flags=re.MULTILINE)
        code = re.sub(r"//[^\n]*|/\*.*?\*/|\"[^\"\n]*\"", "", code, flags=re.DOTALL)
        for other, names in exports.items():
            for name in names - taken if other != module else ():
                use = re.search(rf"(?<![\w.#$]){name}(?![\w$]|:)", code)
                assert use is None, f"{module} uses {name} of {other} without importing it"
        unused = {name for name in taken if not re.search(rf"\b{name}\b", code)}
        assert not unused, f"{module} imports {unused} for nothing"


# -------------------------------------------------------------------------------- the joiner


def _written(folder: Path, **modules: str) -> Path:
    for name, text in modules.items():
        (folder / f"{name}.mjs").write_text(text, "utf-8")
    return folder / "main.mjs"


def test_joined_modules_do_what_they_do_apart(tmp_path: Path) -> None:
    entry = _written(
        tmp_path,
        one='// "no text"\nexport const ONE = "a // b";\n/** `no template` */\n'
        "function own() { return 1; }\n"
        "export function add(a, b = own()) {\n  return a + +b - -1;\n}\n",
        two='import { add,\n  ONE } from "./one.mjs";\n\nexport class Two {\n'
        "  text(n) { return `${ONE} /* ${add(n)} */`; }\n  async *more() {}\n}\n",
        main='import { ONE } from "./one.mjs";\nimport { Two } from "./two.mjs";\n\n'
        "let seen = 4 / 2 /\n  1;\nconst word = typeof seen;\n\n"
        "const quoted = 'it\\'s  \"so\"';\n"
        'export default { run: () => [ONE, new Two().text(seen), word, quoted].join("|") };\n',
    )
    joined = joined_modules(entry)
    assert "no text" not in joined
    assert "no template" not in joined
    assert "return a+ +b- -1;" in joined
    assert joined.count("ONE=") == 1, "a module that two import is there once"
    show = "\nconsole.log(seen, (await import(process.argv[1])).default.run());"
    apart = _node("--input-type=module", "-e", "let seen;" + show, str(entry))
    together = tmp_path / "joined.mjs"
    together.write_text(joined, "utf-8")
    whole = _node("--input-type=module", "-e", "let seen;" + show, str(together))
    assert whole.stdout == apart.stdout == 'undefined a // b|a // b /* 4 */|number|it\'s  "so"\n'


def test_a_packed_module_does_what_it_did(tmp_path: Path) -> None:
    source = "const word = 'µm „\\u00e9“ `${1}`';\nexport default { run: () => word + '😀' };\n"
    packed = packed_module(source)
    assert unpacked_module(packed) == source
    assert len(packed_module("export default {\n};\n" + "// again\n" * 9999)) < 2000
    # Node imports no blobs: data stand for them here, and the browser's tests have the blobs
    there = "URL.createObjectURL = (blob) => 'data:text/javascript,' + encodeURIComponent(held);"
    keep = "let held; globalThis.Response = class { constructor(s) { this.s = s; } async text() {"
    keep += "const all = []; for await (const c of this.s) all.push(c);"
    keep += "return (held = Buffer.concat(all).toString()); } };"
    (tmp_path / "packed.mjs").write_text(packed, "utf-8")
    show = "console.log((await import(process.argv[1])).default.run());"
    done = _node("--input-type=module", "-e", keep + there + show, str(tmp_path / "packed.mjs"))
    assert done.stdout == "µm „é“ `${1}`😀\n", done.stderr
    for damaged in ("", packed.replace('"', "'"), packed[:80] + '";\n'):
        with pytest.raises(DataError, match="no packed module"):
            unpacked_module(damaged)


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ({"main": 'import { a } from "./one.mjs";\n', "one": "const a = 1;\n"}, "does not export"),
        ({"main": 'import { a } from "./gone.mjs";\n'}, "gone.mjs, which main.mjs imports"),
        ({"main": 'import * as d3 from "d3";\n'}, "is not understood; write import"),
        ({"main": 'import { a } from "https://host/a.mjs";\n'}, "is not understood; write import"),
        ({"main": 'import { a as b } from "./one.mjs";\n', "one": ""}, "is not understood"),
        ({"main": 'import one from "./one.mjs";\n', "one": ""}, "is not understood"),
        ({"main": 'import "./one.mjs";\n', "one": ""}, "is not understood"),
        (
            {"main": 'import { a } from "./one.mjs";\nfunction b() {}\n',
             "one": "export const a = 1;\nclass b {\n}\n"},
            "one.mjs and main.mjs both have 'b'",
        ),
        ({"main": "const a = 1;\nconst a = 2;\n"}, "both have 'a'"),
        (
            {"main": 'import { a } from "./one.mjs";\nexport const b = 1;\n',
             "one": 'import { b } from "./main.mjs";\nexport const a = 1;\n'},
            "circle: main.mjs -> one.mjs -> main.mjs",
        ),
        (
            {"main": 'import { a } from "./one.mjs";\n',
             "one": "export const a = 1;\nexport default {\n};\n"},
            "default export",
        ),
        ({"main": "const a = 1, b = 2;\n"}, "give 'b' a statement of its own"),
        ({"main": "const { a } = globalThis;\n"}, "not understood at the top level"),
        ({"main": "document.title = 'x';\n"}, "not understood at the top level"),
        ({"main": "export { a };\n"}, "not understood at the top level"),
        ({"main": "const a = 'b\n';\n"}, "does not end on its line"),
        ({"main": "const a = `b\n`;\n"}, "does not end on its line"),
        ({"main": "const a = `${[1].map((b) => `${b}`)}`;\n"}, "template within a template"),
        ({"main": 'const a = "b".replace(/"/g, "");\n'}, "regular expression"),
        ({"main": "const a = () => import('./b.mjs');\n"}, "import() is not understood"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(
    tmp_path: Path, modules: dict[str, str], said: str
) -> None:
    entry = _written(tmp_path, **modules)
    with pytest.raises(DataError, match=re.escape(said)):
        joined_modules(entry)
