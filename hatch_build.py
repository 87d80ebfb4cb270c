"""What a package index shows: README.md without what leads into the repository.

An index has no files of the repository, so pictures are left out with the line that announces them,
and a link to a file becomes its path.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE = re.compile(
    r"(?:^(?:.+\n)*.+:\n\n)?^!\[[^\]]*\]\((?!https?://)[^)]+\)\n\n?", re.MULTILINE
)
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?://|#)([^)]+)\)")


def index_page(readme: str) -> str:
    """Return the text for an index; links to the web and within the page stay."""
    return _LINK.sub(r"\1 (`\2`)", _PICTURE.sub("", readme))


class IndexPage(MetadataHookInterface):
    """Sets `readme`, which pyproject.toml calls dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": index_page(text)}
