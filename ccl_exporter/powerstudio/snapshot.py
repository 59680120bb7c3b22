"""The data of a charger as frozen values.

The vendor's identifiers are kept as sent; nothing here knows a metric name or an output.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ccl_exporter.errors import ChargerError
from ccl_exporter.powerstudio.inventory import NO_INVENTORY, Inventory


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant as the engine wrote it, in Unix seconds UTC (protocol 5)."""

    seconds: float


Value = float | Moment | str | None
"""What a variable holds: a number as sent, an instant, a text, or nothing (protocol 3)."""


@dataclass(frozen=True, slots=True)
class PlugStateRecord:
    """plugState.xml of one plug; codes of protocol 9.1."""

    name: str
    state: int | None = None
    error: int | None = None
    vehicle_connected: bool | None = None
    locked: bool | None = None


@dataclass(frozen=True, slots=True)
class ChargeRecord:
    """chargeInfo.xml of one plug, the running charge or the last one (protocol 2.2, 9, 12).

    Energies in watt-hours, instants in Unix seconds, duration in seconds.
    The user and the charge's id are left where they are: they belong in no metric.
    """

    name: str
    state: int | None = None
    meter_watt_hours: float | None = None
    watt_hours: float | None = None
    requested: float | None = None
    begun: float | None = None
    ended: float | None = None
    seconds: float | None = None
    stop_reason: int | None = None


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """system/status.xml: change stamps of the configuration and the number of active events (protocol 2.2).

    `stamps` leaves out eventId, which changes with events and is no reason to read the inventory again.
    """

    stamps: tuple[str, ...]
    active_events: int | None = None


DocumentName = Literal[
    "devices",
    "device_info",
    "var_info",
    "values",
    "plug_info",
    "plug_state",
    "charge_info",
    "status",
    "information",
]


@dataclass(frozen=True, slots=True)
class Document:
    """The last result of one kind of document: how long it took, and its error."""

    name: DocumentName
    success: bool
    seconds: float
    failure: ChargerError | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one read brought, complete and comparable; a failure is a value in it.

    `values` holds what was read now, by full variable id.
    `asked` names the devices whose values were wanted, None is all of them, `answered` those whose values came.
    `rejected` counts, by variable id and reason, the values that were rejected so far.
    `partial_registers` names the registers that may fall, by full variable id.
    `changes` are sentences for the log: what this read changed in the judgement of values.
    `plug_ids` are the identifiers of the plugs, empty while they are not known.
    `taken` is Unix seconds at the start of the read, `seconds` its length, `timeout` what it was given.
    """

    taken: float
    seconds: float
    timeout: float
    requests: int
    up: bool
    documents: tuple[Document, ...] = ()
    inventory: Inventory = NO_INVENTORY
    values: Mapping[str, Value] = field(default_factory=dict)
    asked: frozenset[str] | None = None
    answered: frozenset[str] = frozenset()
    plug_states: Mapping[str, PlugStateRecord] = field(default_factory=dict)
    charges: Mapping[str, ChargeRecord] = field(default_factory=dict)
    status: SystemStatus | None = None
    clock: float | None = None
    plug_ids: frozenset[str] = frozenset()
    rejected: Mapping[tuple[str, str], int] = field(default_factory=dict)
    partial_registers: frozenset[str] = frozenset()
    changes: tuple[str, ...] = ()
