"""Contrast by the computed styles of a real browser, and what Chromium tells a screen reader.

The truth is WCAG 2.2: 4.5 to 1 for text (1.4.3), 3 to 1 for what a control is known by (1.4.11),
a role and a name for every control (4.1.2), an order of focus (2.4.3), status messages (4.1.3).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

pytestmark = pytest.mark.browser

BENCH = """
import particle_nb as pnb
from fake_session import Proposing, squares
image = pnb.Image(squares(3, 4).pixels, pnb.Calibration(5, "nm"), "squares")
session = Proposing(sure=0.9)
editor = pnb.Annotator(session, image, session.propose(image), autosave=False)
editor.do("classify", ids=[1, 2], label="rod", names=["rod", "disc"])
editor
"""
GALLERY = 'gallery = pnb.Gallery(session, "access_images", pixel_size="5 nm"); gallery'
PAINTER = "painter = pnb.PhasePainter(None, image, ('dark', 'bright'), False); painter"
ROOTS = {
    "annotator": "[data-testid=prompt-canvas]",
    "gallery": "[data-testid=gallery]",
    "phase painter": "[data-testid=phase-painter]",
}
WAIT = 120_000  # milliseconds

#: Texts and controls whose contrast is too low: [what, ratio].
WEAK = """root => {
    const parse = (c) => { const [r, g, b, a = 1] = c.match(/[\\d.]+/g).map(Number);
        return c.startsWith('color(') ? [255 * r, 255 * g, 255 * b, a] : [r, g, b, a]; };
    const over = ([r, g, b, a], under) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a));
    const light = (rgb) => rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92
        : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ratio = (a, b) => { const [x, y] = [light(a), light(b)];
        return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05); };
    // what lies behind a node: its own ground and those of all that it stands in; over a picture
    // anything from black to white may lie there
    const grounds = (node) => {
        const layers = [];
        for (let n = node; n; n = n.parentElement) {
            const layer = parse(getComputedStyle(n).backgroundColor);
            layers.push(layer);
            if (layer[3] === 1) break;
            if (n.parentElement?.classList.contains('pnb-stage')) {
                return [[0, 0, 0], [255, 255, 255]].map((picture) =>
                    layers.reduceRight((under, top) => over(top, under), picture)); }
        }
        return [layers.reduceRight((under, top) => over(top, under), [255, 255, 255])];
    };
    const opacity = (node) => { let o = 1;
        for (let n = node; n; n = n.parentElement) o *= Number(getComputedStyle(n).opacity);
        return o; };
    const seen = (node) => node.checkVisibility({visibilityProperty: true})
        && node.getBoundingClientRect().width > 1 && !node.closest('.pnb-live');
    // WCAG leaves out what cannot be used now
    const off = (node) => node.closest('[disabled], [aria-disabled="true"]');
    const found = [], name = (node) => `${node.tagName} ${node.getAttribute('class') ?? ''} `
        + (node.getAttribute('aria-label') ?? node.textContent.trim().slice(0, 30));
    const judge = (node, ink, least, what) => {
        const under = ['border', 'chosen', 'slider'].includes(what) ? node.parentElement : node;
        const worst = Math.min(...grounds(under)
            .map((ground) => { const [r, g, b, a] = parse(ink);
                return ratio(over([r, g, b, a * opacity(node)], ground), ground); }));
        if (worst < least) found.push([`${what}: ${name(node)}`, Math.round(worst * 100) / 100]);
    };
    let texts = 0, controls = 0;
    for (const node of root.querySelectorAll('*')) {
        if (!seen(node) || off(node)) continue;
        const style = getComputedStyle(node);
        const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        const field = node.matches('select, input:not([type=checkbox], [type=range])');
        if (own || field) { texts += 1;
            judge(node, node instanceof SVGElement ? style.fill : style.color, 4.5, 'text'); }
        if (node.matches('.pnb-icon')) { controls += 1; judge(node, style.stroke, 3, 'icon'); }
        // a field is known by its border; a button by its text
        if (field) { controls += 1; judge(node, style.borderTopColor, 3, 'border'); }
        // a chosen button by its ground or by the line in it, a slider by its colour
        if (node.matches('[aria-pressed=true], .pnb-on, .pnb-chosen')
            && !node.matches('.pnb-bin')) { controls += 1;
            const drawn = node instanceof SVGElement ? style.fill : style.backgroundColor;
            const line = style.boxShadow.includes('inset') && parse(style.boxShadow);
            if (!line || ratio(line, parse(drawn)) < 3) judge(node, drawn, 3, 'chosen'); }
        if (node.matches('[type=range], [type=checkbox], [type=radio], progress')) { controls += 1;
            const own = style.accentColor === 'auto' ? 'rgb(0, 117, 255)' : style.accentColor;
            judge(node, own, 3, 'slider'); }
        if (node.placeholder) judge(node, getComputedStyle(node, '::placeholder').color, 4.5,
            'hint');
    }
    return {found, texts, controls};
}"""
#: An element itself and all that it holds.
ALL = "[root, ...root.querySelectorAll('*')]"
THEME = "(name) => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})"


@pytest.fixture(scope="module")
def shown(lab: Any, open_notebook: Callable) -> Iterator[Any]:
    """A page with an annotator, a gallery and a phase painter."""
    folder = lab.folder / "access_images"
    folder.mkdir()
    for k in range(3):
        pixels = np.full((160, 200), 30 + 5 * k, np.uint8)
        pixels[20:60, 20:60] = pixels[90:130, 100:140] = 220
        PIL.Image.fromarray(pixels).save(folder / f"{k}.png")
    nb = open_notebook("access.ipynb", [BENCH, GALLERY, PAINTER], wait=False)
    for root in ROOTS.values():
        nb.page.locator(f"{root}[data-state=ready]").first.wait_for(timeout=2 * WAIT)
    nb.python("gallery.open(0) is None")
    nb.page.locator(f"{ROOTS['annotator']}[data-state=ready]").nth(1).wait_for(timeout=WAIT)
    nb.python("gallery.close()")
    # all sections open, one particle selected
    nb.page.evaluate(
        "document.querySelectorAll('.pnb details').forEach((node) => { node.open = true; })"
    )
    nb.python("editor.select([1])")
    yield nb
    assert nb.errors == []
    assert nb.strangers == []


def _wear(page: Any, theme: str) -> None:
    """Change the theme and wait for it and for the end of its splash: JupyterLab stumbles over two
    changes at a time."""
    page.evaluate(THEME, theme)
    page.wait_for_function(
        "(light) => document.body.dataset.jpThemeLight === light"
        " && !document.getElementById('jupyterlab-splash')",
        arg=str(theme == "JupyterLab Light").lower(),
    )


def _shoot(page: Any, name: str) -> None:
    """Keep a picture where PARTICLE_NB_SHOTS names a folder."""
    if folder := os.environ.get("PARTICLE_NB_SHOTS"):
        for what, root in ROOTS.items():
            page.locator(root).first.scroll_into_view_if_needed()
            page.wait_for_timeout(300)
            page.locator(root).first.screenshot(path=Path(folder) / f"{what} {name}.png")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_texts_and_controls_stand_out(shown: Any, theme: str) -> None:
    page = shown.page
    try:
        _wear(page, theme)
        weak = {}
        for what, root in ROOTS.items():
            told = page.locator(root).first.evaluate(WEAK)
            assert told["texts"] >= 8, "something was looked at"
            weak |= {f"{what}: {name}": ratio for name, ratio in told["found"]}
        for width in (1400, 600) if "PARTICLE_NB_SHOTS" in os.environ else ():
            page.set_viewport_size({"width": width, "height": 1100})
            page.wait_for_timeout(800)
            _shoot(page, f"{theme} {width}")
        assert sorted(weak.items()) == []
    finally:
        page.set_viewport_size({"width": 1500, "height": 1000})
        _wear(page, "JupyterLab Light")


#: What is open only at times, and how it is opened in the annotator.
OPEN = {
    "menu": (["a", "Control+a", "Shift+F10"], ".pnb-menu"),
    "keys": (["?"], ".pnb-help"),
    "scale": (["z"], ".pnb-ask[aria-label=Scale]"),
    "region": (["i", "t"], ".pnb-ask[aria-label=Region]"),
    "error": (["a", "Escape", "Escape", "g"], ".pnb-error"),
    "banner": ([], ".pnb-banner"),
    "draft": (["s"], ".pnb-hud"),
}


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_what_opens_at_times_stands_out_too(shown: Any, theme: str) -> None:
    page = shown.page
    root = page.locator(ROOTS["annotator"]).first
    weak: dict[str, Any] = {}
    try:
        _wear(page, theme)
        for name, (keys, place) in OPEN.items():
            root.locator("canvas.pnb-top").focus()
            for key in keys:
                page.keyboard.press(key)
            if name == "banner":
                root.evaluate("node => node.view.notices.kernelGone()")
            if name == "draft":
                root.evaluate("node => node.view.commands.placePoint(43, 43, 1)")
            part = root.locator(place)
            part.wait_for(state="visible", timeout=WAIT)
            told = root.evaluate(WEAK)
            assert part.evaluate(WEAK.replace("root.querySelectorAll('*')", ALL))["texts"] >= 1
            weak |= {f"{name}: {what}": ratio for what, ratio in told["found"]}
            if folder := os.environ.get("PARTICLE_NB_SHOTS"):
                root.screenshot(path=Path(folder) / f"open {name} {theme}.png")
            if name == "menu":  # every row as it looks with the focus on it
                for _ in range(part.get_by_role("menuitem").count()):
                    page.keyboard.press("ArrowDown")
                    found = part.evaluate(WEAK)["found"]
                    weak |= {f"{name}, focused: {what}": ratio for what, ratio in found}
            page.keyboard.press("Escape")
            if name == "keys":
                page.keyboard.press("?")
            root.evaluate("node => node.view.notices.answered()")
            root.locator("canvas.pnb-top").focus()
            page.keyboard.press("Escape")
        assert sorted(weak.items()) == []
    finally:
        root.locator("canvas.pnb-top").focus()
        page.keyboard.press("s")
        _wear(page, "JupyterLab Light")


#: Roles that somebody acts on.
ACTIVE = {
    *("button", "slider", "checkbox", "radio", "combobox", "textbox", "searchbox", "spinbutton"),
    *("listbox", "option", "menuitem", "application", "DisclosureTriangle", "link", "tab"),
    *("ComboBoxSelect", "ListBoxOption", "MenuListOption", "PopUpButton", "ToggleButton"),
}


def _tree(page: Any, root: str) -> list[dict[str, Any]]:
    """The accessibility tree below an element as Chromium gives it to a screen reader."""
    client = page.context.new_cdp_session(page)
    client.send("Accessibility.enable")
    document = client.send("DOM.getDocument", {"depth": 0})["root"]["nodeId"]
    query = {"nodeId": document, "selector": root}
    node = client.send("DOM.querySelector", query)["nodeId"]
    top = client.send("DOM.describeNode", {"nodeId": node})["node"]["backendNodeId"]
    nodes = client.send("Accessibility.getFullAXTree")["nodes"]
    client.detach()
    known = {node["nodeId"]: node for node in nodes}
    todo = [node["nodeId"] for node in nodes if node.get("backendDOMNodeId") == top]
    assert todo, "the widget is in the tree"
    found = []
    while todo:
        node = known.get(todo.pop(0))
        if node is not None:
            found.append(node)
            todo += node.get("childIds", [])
    return [node for node in found if not node["ignored"]]


def _said(node: dict[str, Any]) -> tuple[str, str]:
    return node["role"]["value"], node.get("name", {}).get("value", "").strip()


def _property(node: dict[str, Any], name: str) -> Any:
    found = {p["name"]: p["value"].get("value") for p in node.get("properties", [])}
    return found.get(name)


@pytest.mark.parametrize("what", ROOTS)
def test_every_control_has_a_role_and_a_name(shown: Any, what: str) -> None:
    page, root = shown.page, ROOTS[what]
    tree = _tree(page, root)
    acted = [node for node in tree if _said(node)[0] in ACTIVE]
    assert len(acted) >= 6
    assert [_said(node) for node in acted if not _said(node)[1]] == []
    # what takes the focus is something
    focusable = [node for node in tree if _property(node, "focusable")]
    assert focusable
    nothing = {"generic", "none", "GenericContainer", "Canvas", "StaticText"}
    assert [_said(node) for node in focusable if _said(node)[0] in nothing] == []
    assert [_said(node) for node in focusable if not _said(node)[1]] == []
    # and nothing that a person can use is hidden from the tree
    controls = page.locator(root).first.evaluate(
        """root => [...root.querySelectorAll('button, input, select, summary, [role=option],'
            + '[tabindex]')].filter((n) => n.checkVisibility({visibilityProperty: true})).length"""
    )
    off = sum(bool(_property(node, "disabled")) for node in acted)
    assert len({node["backendDOMNodeId"] for node in focusable}) >= 0.9 * (controls - off)


def test_the_chosen_phase_is_told(shown: Any) -> None:
    def chosen() -> list[str]:
        tree = _tree(shown.page, ROOTS["phase painter"])
        pressed = [_said(node)[1] for node in tree if _property(node, "pressed") == "true"]
        return [name for name in pressed if name.startswith("paint ")]

    assert chosen() == ["paint dark"]
    shown.page.locator(f"{ROOTS['phase painter']} canvas.pnb-top").focus()
    shown.page.keyboard.press("2")
    assert chosen() == ["paint bright"]


@pytest.mark.parametrize("what", ROOTS)
def test_tab_goes_through_in_the_order_of_the_page(shown: Any, what: str) -> None:
    page, root = shown.page, ROOTS[what]
    page.locator(root).first.evaluate(
        """root => { root.setAttribute('tabindex', '-1'); root.focus();
            root.removeAttribute('tabindex');
            window.order = [...root.querySelectorAll('*')]; }"""
    )
    stops = []
    for _ in range(60):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => { const n = document.activeElement, b = n.getBoundingClientRect();
                return [window.order.indexOf(n), b.width > 0 && b.height > 0
                    && getComputedStyle(n).outlineStyle !== 'none'
                    || getComputedStyle(n).boxShadow !== 'none']; }"""
        )
        if stop[0] < 0:
            break
        stops.append(stop)
    else:
        pytest.fail("Tab does not lead out")
    places = [place for place, _ in stops]
    assert len(places) >= 3
    assert places == sorted(set(places))
    assert all(visible for _, visible in stops), "the focus is seen"


def test_what_happens_is_announced(shown: Any) -> None:
    page = shown.page

    def live(root: str) -> list[str]:
        return [
            str(_property(node, "live")) for node in _tree(page, root) if _property(node, "live")
        ]

    for root in ROOTS.values():
        assert "polite" in live(root)
    # an error of each is an alert, which is assertive
    shown.page.locator(f"{ROOTS['annotator']} canvas.pnb-top").first.focus()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.locator(f"{ROOTS['annotator']} [role=alert]:visible").first.wait_for(timeout=WAIT)
    assert "assertive" in live(ROOTS["annotator"])
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.keyboard.press("Control+a")
    said = page.locator(f"{ROOTS['annotator']} .pnb-live").first
    page.wait_for_function(
        "node => node.textContent.includes('12 particles selected')", arg=said.element_handle()
    )
