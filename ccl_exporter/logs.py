"""Log lines as logfmt, like Prometheus' own programs, or as JSON; capturing what one thread logs.

No line holds a login or a query of a URL, whichever library it comes from.
"""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from traceback import format_exception

from ccl_exporter.text import mask_urls

_LEVELS = {"WARNING": "warn", "CRITICAL": "error"}


def _fields(record: logging.LogRecord) -> dict[str, str]:
    moment = datetime.fromtimestamp(record.created, UTC)
    fields = {
        "ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": _LEVELS.get(record.levelname, record.levelname.lower()),
        "msg": mask_urls(record.getMessage()),
    }
    if record.exc_info and record.exc_info[0] is not None:
        fields["error"] = mask_urls(f"{record.exc_info[0].__name__}: {record.exc_info[1]}")
        if logging.getLogger("ccl_exporter").isEnabledFor(logging.DEBUG):
            fields["traceback"] = mask_urls("".join(format_exception(*record.exc_info)))
    return fields


class LogfmtFormatter(logging.Formatter):
    """`ts=... level=... msg="..."`, always on one line."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{key}={_quoted(value)}" for key, value in _fields(record).items())


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return _escaped(json.dumps(_fields(record), ensure_ascii=False))


def to_stderr(level: str, as_json: bool) -> None:
    """Log to standard error from `level` (debug, info, warn, error) on; other libraries from warnings on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else LogfmtFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("ccl_exporter").setLevel({"warn": "WARNING"}.get(level, level.upper()))


@cache
def warn_renamed(old: str, new: str) -> None:
    """Warn, once in a process, that something has a new name."""
    logging.getLogger("ccl_exporter").warning("%s is called %s since version 0.2; 0.3 accepts only that", old, new)


def _quoted(value: str) -> str:
    plain = value and all(character.isprintable() and character not in ' "=\\' for character in value)
    return value if plain else _escaped(json.dumps(value, ensure_ascii=False))


def _escaped(text: str) -> str:
    """Characters that would break a line or steer a terminal as JSON escapes; no charger's words are trusted."""
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in text)


@contextmanager
def logged() -> Iterator[list[str]]:
    """The messages that this thread logs within the block."""
    lines: list[str] = []
    thread = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                lines.append(f"level={record.levelname.lower()} {mask_urls(record.getMessage())}")

    handler = Collector()
    logger = logging.getLogger("ccl_exporter")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
