"""Home Assistant's templates: jinja2 with its filters that ours use, strict where Home Assistant only warns.

Source: its documentation of templating (`as_datetime`) and of `value_json`, which is not defined when
an answer is no JSON. The long form of the proof renders them in Home Assistant itself (tests/long).
"""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, StrictUndefined

_ENVIRONMENT = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - texts, not HTML
_ENVIRONMENT.filters["as_datetime"] = lambda value: datetime.fromtimestamp(value, UTC)


def render(template: str, answer: str, **variables: Any) -> str:
    """What a template makes of an answer or a message; raises jinja2's `TemplateError`."""
    with suppress(ValueError):
        variables["value_json"] = json.loads(answer)
    return _ENVIRONMENT.from_string(template).render(value=answer, **variables)
