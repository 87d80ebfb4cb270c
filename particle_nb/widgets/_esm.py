"""Our ES modules joined into the one string that a widget carries.

No bundler and no Node: the modules import only one another, by relative paths and names, and what
that allows is all that is understood here. Everything else is refused, so that the joined module
means what its parts mean. Comments, and the space that only people need, stay out, and what is left
is packed: the string is stored and sent once for each widget.
"""

from __future__ import annotations

import base64
import re
import zlib
from pathlib import Path

from particle_nb.core.errors import DataError

_IMPORT = re.compile(r'import \{(\s*[\w$]+(?:\s*,\s*[\w$]+)*,?\s*)\} from "(\./[\w./-]+)";')
_DECLARED = re.compile(
    r"^(export )?(?:async )?(?:function\*?|class|const|let) ([\w$]+)", re.MULTILINE
)
#: How a line without indentation may begin.
_TOP = re.compile(
    r"(export )?((async )?function\*? [\w$]+\(|class [\w$]+ |(const|let) [\w$]+ =)"
    r"|export default \{|[\])}]"
)
_SECOND = re.compile(r"^(?:export )?(?:const|let) .*, ([\w$]+) = ", re.MULTILINE)
_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\\n]|\\.)*`)"""
    r"|(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<space>\s+)|(?P<code>[\w$]+|.)",
    re.DOTALL,
)
_WORD = re.compile(r"[\w$]")
#: Unpacks a module and hands on its default export; anywidget imports what it is given by a blob's
#: address too, so that this works wherever a widget does.
_LOADER = """\
const packed = "%s";
const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
const text = await new Response(stream).text();
const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
const { default: widget } = await import(url);
URL.revokeObjectURL(url);
export default widget;
"""
_PACKED = re.compile(r'^const packed = "([\w+/=]+)";$', re.MULTILINE)


def packed_module(source: str) -> str:
    """Return a small ES module with the default export of `source`, which it holds deflated.

    Parameters
    ----------
    source : str
        An ES module that needs no other and has a default export.
    """
    data = base64.b64encode(zlib.compress(source.encode(), 9)).decode()
    return _LOADER % data


def unpacked_module(packed: str) -> str:
    """Return the source that `packed_module` took.

    Raises
    ------
    DataError
        If it is nothing that `packed_module` made.
    """
    found = _PACKED.search(packed)
    try:
        if found is None:
            raise ValueError("there is no packed text in it")
        return zlib.decompress(base64.b64decode(found[1], validate=True)).decode()
    except (ValueError, zlib.error) as error:
        raise DataError(f"this is no packed module: {error}.") from None


def joined_modules(entry: Path) -> str:
    """Return `entry` and all that it imports as one ES module.

    Parameters
    ----------
    entry : path
        An ES module. It and what it imports may hold, without indentation: imports of names from
        relative paths, functions, classes, and constants, one a statement. What others import is
        exported by name; `entry` alone may have a default export.

    Raises
    ------
    DataError
        If a module cannot be read, imports anything but exported names of our own modules, or
        itself by a detour; if two modules have one name at the top level; if something in them is
        not understood.
    """
    entry = entry.resolve()
    modules: dict[Path, str] = {}
    _gather(entry, (), modules)
    owners: dict[str, str] = {}
    for path, body in modules.items():
        if path != entry and re.search(r"^export default", body, re.MULTILINE):
            raise DataError(f"{path.name} has a default export; export by name.")
        for _, name in _DECLARED.findall(body):
            if name in owners:
                raise DataError(
                    f"{owners[name]} and {path.name} both have {name!r} at the top level; joined "
                    "they would be one: rename one of them."
                )
            owners[name] = path.name
    whole = "\n".join(modules.values())
    return _squeezed(re.sub(r"^export (?!default)", "", whole, flags=re.MULTILINE))


def _gather(path: Path, above: tuple[Path, ...], modules: dict[Path, str]) -> None:
    """Add a module after those that it imports, without comments and imports."""
    if path in above:
        names = " -> ".join(p.name for p in (*above[above.index(path) :], path))
        raise DataError(f"modules import one another in a circle: {names}.")
    if path in modules:
        return
    try:
        source = path.read_text("utf-8")
    except OSError as error:
        by = f", which {above[-1].name} imports" if above else ""
        raise DataError(f"cannot read the module {path.name}{by}: {error}.") from None
    plain = _without_comments(source, path.name)
    for statement in re.findall(r"^import\b[^;]*;?", plain, re.MULTILINE):
        found = _IMPORT.fullmatch(statement)
        if found is None:
            raise DataError(
                f"{path.name}: {statement!r} is not understood; write "
                'import { name } from "./module.mjs";'
            )
        other = (path.parent / found[2]).resolve()
        _gather(other, (*above, path), modules)
        exported = {name for export, name in _DECLARED.findall(modules[other]) if export}
        for name in filter(None, map(str.strip, found[1].split(","))):
            if name not in exported:
                raise DataError(
                    f"{path.name} imports {name!r}, which {other.name} does not export."
                )
    body = _IMPORT.sub("", plain)
    _check_top_level(body, path.name)
    modules[path] = body


def _check_top_level(body: str, name: str) -> None:
    for line in body.splitlines():
        if line.strip() and not line.startswith(" ") and not _TOP.match(line):
            raise DataError(f"{name}: {line!r} is not understood at the top level of a module.")
    if any(token == "import" for kind, token in _tokens(body) if kind == "code"):
        raise DataError(f"{name}: import names at the top level; import() is not understood.")
    if second := _SECOND.search(body):
        raise DataError(f"{name}: give {second[1]!r} a statement of its own.")


def _tokens(source: str) -> list[tuple[str, str]]:
    return [(match.lastgroup or "", match[0]) for match in _TOKEN.finditer(source)]


def _without_comments(source: str, name: str) -> str:
    """The source without comments, provided that it is clear what is a comment and what a text."""
    kept: list[str] = []
    last = ";"
    for kind, token in _tokens(source):
        if kind == "comment":
            continue
        kept.append(token)
        if kind == "space":
            continue
        if token in ("'", '"', "`"):
            raise DataError(f"{name}: a text that does not end on its line, after {kept[-20:]}.")
        if token[0] == "`" and token.count("{") != token.count("}"):
            raise DataError(f"{name}: a template within a template: {token!r}.")
        if token == "/" and (last == "return" or (not _WORD.match(last[-1]) and last not in ")]")):
            raise DataError(f'{name}: write a regular expression as RegExp("...").')
        last = token
    return "".join(kept)


def _squeezed(source: str) -> str:
    """The source with space only where words, signs or statements would run together."""
    kept: list[str] = []
    space = ""
    for kind, token in _tokens(source):
        if kind == "space":
            space = "\n" if "\n" in token else " "
            continue
        if space and kept and _parts(kept[-1][-1], token[0], space):
            kept.append(space)
        kept.append(token)
        space = ""
    return "".join(kept) + "\n"


def _parts(before: str, after: str, space: str) -> bool:
    """Whether a space or the end of a line between two characters means something."""
    if space == "\n":  # it may end a statement
        return before not in "{([,;" and after not in "})],;.:?"
    return bool(_WORD.match(before) and _WORD.match(after)) or (before == after and after in "+-")
