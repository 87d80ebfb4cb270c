"""Build the site: run the notebooks that are out of date, make the pages, check every link."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from checking import check
from execution import ROOT, execute
from mkdocs.commands.build import build
from mkdocs.config import load_config


class _Counter(logging.Handler):
    """Counts warnings, so that a site with one is not called built."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def main(arguments: list[str] | None = None) -> int:
    """Build into ``build/site``; returns 1 where a page warns or a link leads nowhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="notebooks run at a time")
    parser.add_argument(
        "--executed",
        type=Path,
        help="render the notebooks that lie executed in this folder, whatever their age",
    )
    given = parser.parse_args(arguments)
    folder = given.executed
    if folder is None:
        folder = ROOT / "build" / "executed"
        execute(folder, given.workers)
    os.environ["PARTICLE_NB_EXECUTED"] = str(folder.resolve())
    os.chdir(ROOT)
    counter = _Counter()
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("mkdocs").addHandler(counter)
    config = load_config(str(ROOT / "mkdocs.yml"))
    build(config)
    site = Path(config.site_dir)
    wrong, outside = check(site)
    wrong = [f"warning: {text}" for text in counter.messages] + wrong
    for text in wrong:
        print(text, file=sys.stderr)
    (site.parent / "links.txt").write_text("".join(f"{link}\n" for link in sorted(outside)))
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    print(f"site    {site / 'index.html'}")
    print(f"        {size / 1e6:.0f} MB, {len(wrong)} problems")
    print(f"links   {site.parent / 'links.txt'} ({len(outside)} to the web, not visited)")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
