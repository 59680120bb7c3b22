"""Replays a folder of recorded answers, laid out like the engine's own addresses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from ccl_exporter.simulator.dialects import Dialect
from ccl_exporter.simulator.faults import Fault
from ccl_exporter.simulator.simulated_engine import EngineAnswer, refusal


class RecordingsEngine:
    """Answers a GET with the file named like its target, decoded or as sent; anything else is 404.

    A file's name holds the parameters: `services/user/values.xml?var=EVSE.STATUS`.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ValueError(f"no folder of recordings at {folder}")
        self._folder = folder.resolve()

    def answer(
        self, method: str, target: str, body: bytes, dialect: Dialect, faults: Sequence[Fault]
    ) -> EngineAnswer:
        """Answer one request from the folder; neither faults nor dialect change what was recorded."""
        if dialect.length_limit is not None and len(target) > dialect.length_limit:
            return refusal(414, "Request-URI Too Long")
        path, _, query = target.partition("?")
        if dialect.lacks(unquote(path)):
            return refusal(404, "Not Found")
        if method != "GET":
            return refusal(405, "Method Not Allowed")
        # "document.xml?" is the document without parameters.
        spellings = [unquote(path) + (f"?{unquote(query)}" if query else ""), target]
        for spelling in spellings:
            content = self._read(spelling.lstrip("/"))
            if content is not None:
                return EngineAnswer(200, content)
        return refusal(404, "Not Found")

    def _read(self, name: str) -> bytes | None:
        try:
            file = (self._folder / name).resolve()
            if not file.is_relative_to(self._folder) or not file.is_file():
                return None
            return file.read_bytes()
        except (OSError, ValueError):
            # A name too long or with a NUL in it is no file's name.
            return None
