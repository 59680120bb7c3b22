"""A build step of hatchling: what a package index shows, which is README.md without a dead link."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_FENCE = re.compile(r"^(```.*?^```\n)", flags=re.DOTALL | re.MULTILINE)
_IMAGE_LINE = re.compile(r"^(?:\[?!\[[^\]]*\]\((?!https?:)[^)]*\)(?:\]\([^)]*\))?[ \t]*)+\n?", flags=re.MULTILINE)
_IMAGE = re.compile(r"!\[([^\]]*)\]\((?!https?:)([^)]*)\)")
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|mailto:)([^)]*)\)")


def description(text: str, repository: str | None) -> str:
    """The page with its links into a repository on GitHub; without one they are text, and pictures are gone."""
    return "".join(part if part.startswith("```") else _rewritten(part, repository) for part in _FENCE.split(text))


def _rewritten(prose: str, repository: str | None) -> str:
    if repository is None:
        return _LINK.sub(r"\1", _IMAGE.sub("", _IMAGE_LINE.sub("", prose)))
    page = f"{repository.rstrip('/')}/blob/HEAD"
    prose = _IMAGE.sub(rf"![\1]({page.replace('/blob/', '/raw/')}/\2)", prose)
    return _LINK.sub(
        lambda link: f"[{link[1]}]({page}/{'README.md' if link[2].startswith('#') else ''}{link[2]})", prose
    )


class IndexReadme(MetadataHookInterface):
    """Sets `readme`; the repository is `Repository` of `project.urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository")
        metadata["readme"] = {"content-type": "text/markdown", "text": description(text, repository)}
