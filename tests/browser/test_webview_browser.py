"""The annotator in a page like the webview of VS Code's notebook, without Jupyter.

VS Code renders a widget in a page of its own: no Jupyter server, its own theme, a policy for
contents if it is asked for one, and a model that hands messages on. This page has all four, with a
policy stricter than VS Code's (``notebook.experimental.enableCsp`` allows eval; here only modules
from a blob, as anywidget makes them), and a real `Annotator` behind the messages.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from board import FIRST, SETUP

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><html><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';
 script-src 'nonce-own' blob:; style-src 'unsafe-inline'; img-src blob: data:; connect-src 'none'">
<style>
body { background: var(--vscode-editor-background); color: var(--vscode-foreground); }
</style>
</head><body class="vscode-dark" data-vscode-theme-kind="vscode-dark"
 style="--vscode-editor-background: #1e1e1e; --vscode-foreground: #cccccc"><div id="cell"></div>
<script nonce="own">
window.broken = [];
document.addEventListener("securitypolicyviolation",
  (event) => window.broken.push(event.violatedDirective));
const heard = new Map();
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const model = {
  get: () => undefined, set: () => null, save_changes: () => null,
  on: (name, run) => heard.set(name, [...(heard.get(name) ?? []), run]),
  off: (name, run) => heard.set(name, (heard.get(name) ?? []).filter((one) => one !== run)),
  send: async (content) => {
    for (const [answer, buffers] of await window.kernel(content)) {
      for (const run of heard.get("msg:custom") ?? []) run(answer, buffers.map(bytes));
    }
  },
};
window.begin = async (source, style) => {
  const sheet = document.createElement("style");
  sheet.textContent = style;
  document.head.append(sheet);
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const { default: widget } = await import(url);
  await widget.render({ model, el: document.getElementById("cell") });
};
</script></body></html>"""


def test_a_click_in_a_webview_under_a_strict_policy(
    chromium: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playwright.sync_api import expect

    made: dict[str, Any] = {}
    exec(SETUP + "editor = Annotator(session, image, autosave=False)", made)
    editor, sent = made["editor"], []
    monkeypatch.setattr(editor._canvas, "send", lambda c, b=None: sent.append((c, list(b or []))))

    def kernel(content: dict[str, Any]) -> list[Any]:
        sent.clear()
        editor._canvas._received(None, content, [])
        packed = [[base64.b64encode(bytes(b)).decode() for b in buffers] for _, buffers in sent]
        return [[json.loads(json.dumps(c)), b] for (c, _), b in zip(sent, packed, strict=True)]

    page = chromium.new_page(viewport={"width": 1200, "height": 800})
    try:
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.expose_function("kernel", kernel)
        page.set_content(PAGE)
        canvas = editor._canvas
        page.evaluate("([s, c]) => window.begin(s, c)", [canvas._esm, canvas._css])
        root = page.locator("[data-testid=prompt-canvas]")
        expect(root).to_have_attribute("data-state", "ready", timeout=60_000)

        def click(x: float, y: float) -> None:
            box = root.locator("canvas.pnb-top").bounding_box()
            view, size = root.evaluate("n => [n.view.camera.view, n.view.camera.size]")
            at = [(x + 0.5 - view["x"]) * view["scale"], (y + 0.5 - view["y"]) * view["scale"]]
            ratio = [box["width"] / size["width"], box["height"] / size["height"]]
            page.mouse.click(box["x"] + at[0] * ratio[0], box["y"] + at[1] * ratio[1])

        before = root.get_attribute("data-mask-seq") or ""
        click(*FIRST)
        expect(root).not_to_have_attribute("data-mask-seq", before, timeout=60_000)
        assert editor.state.draft.mask.bbox == (24, 24, 64, 64)
        page.keyboard.press("c")
        expect(root).to_have_attribute("data-count", "1", timeout=60_000)
        assert [mask.bbox for mask in editor.masks] == [(24, 24, 64, 64)]
        page.keyboard.press("Control+z")
        expect(root).to_have_attribute("data-count", "0", timeout=60_000)
        assert page.evaluate("window.broken") == []
        assert errors == []
    finally:
        page.close()
