"""A section of the configuration file that describes outputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ccl_exporter.outputs.output import Output, OutputContext
from ccl_exporter.settings import OutputSettings
from ccl_exporter.yaml_reader import FileErrors


@dataclass(frozen=True, slots=True)
class Section:
    """A key of the file whose value, or each entry of a list, becomes an output.

    `field` is the type of the value for pydantic and its default, `example` one entry as a person writes it.
    `settings` turns the value into settings, all of the class `kind`, and adds what is wrong between entries;
    `masked` turns settings back into an entry, without secrets; `open` makes the output.
    """

    key: str
    field: tuple[Any, Any]
    example: str
    kind: type[OutputSettings]
    settings: Callable[[Any, FileErrors], Sequence[OutputSettings]]
    masked: Callable[[Any], Mapping[str, Any]]
    open: Callable[[Any, OutputContext], Output]
