"""The nouns: what a charger says, as frozen values.

The vendor's identifiers are kept as sent; nothing here knows a metric name or a sink.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Literal, NamedTuple, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from ccl_exporter.errors import ChargerError


@dataclass(frozen=True, slots=True)
class Credentials:
    """A login for an engine that asks for one; the password never prints."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant as the engine wrote it, in Unix seconds UTC (protocol.md 5)."""

    seconds: float


Value = float | Moment | str | None
"""What a variable holds: a number as sent, an instant, a text, or nothing (protocol.md 3)."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the engine with the full ids of its variables, from deviceInfo.xml (protocol.md 2.1)."""

    id: str
    type: str | None = None
    description: str | None = None
    variables: tuple[str, ...] = ()


def owner(variable: str, devices: Container[str]) -> str | None:
    """The device of a full variable id: the longest known device id followed by a dot (protocol.md 4)."""
    cut = variable.rfind(".")
    while cut > 0:
        if variable[:cut] in devices:
            return variable[:cut]
        cut = variable.rfind(".", 0, cut)
    return None


@dataclass(frozen=True, slots=True)
class VariableInfo:
    """What varInfo.xml tells of one variable (protocol.md 4).

    `unit` is the vendor's code as sent (`#WH`); base-unit value = value x 10^`factor`.
    Both are None unless both were sent: a unit without its factor is worth nothing.
    """

    title: str = ""
    unit: str | None = None
    factor: int | None = None
    has_value: bool = True
    writable: bool = False
    sample_mode: str | None = None
    type: str | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class PlugInfo:
    """A socket and the devices that serve it, from plugInfo.xml (protocol.md 2.2)."""

    name: str
    supported_amperes: float | None = None
    vehicle_device: str | None = None
    meter: str | None = None


@dataclass(frozen=True, slots=True)
class PlugState:
    """plugState.xml of one plug; codes of protocol.md 9.1."""

    name: str
    state: int | None = None
    error: int | None = None
    vehicle_connected: bool | None = None
    locked: bool | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """chargeInfo.xml of one plug, the running charge or the last one (protocol.md 2.2, 9, 12).

    Energies in watt-hours, instants in Unix seconds, duration in seconds.
    The user and the charge's id are left where they are: they are nobody's metric.
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
class Needed:
    """Variables that a reading is wanted for, by full id; of what hardly ever changes a value may be older."""

    often: frozenset[str]
    rarely: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """system/status.xml: change stamps of the configuration and the number of active events (protocol.md 2.2).

    `stamps` leaves out eventId, which changes with events and is no reason to read the inventory again.
    """

    stamps: tuple[str, ...]
    active_events: int | None = None


@dataclass(frozen=True, slots=True)
class Information:
    """system/information.xml: what the engine calls itself (protocol.md 2.2)."""

    product: str
    version: str
    company: str


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Inventory:
    """What rarely changes: devices, what is known of their variables, plugs, the engine itself.

    `settled` holds the ids whose varInfo was answered or is not to be had;
    of the others only the catalogue can speak.
    An inventory is compared by identity, so that what was worked out of it can be kept beside it.
    """

    devices: tuple[Device, ...] = ()
    variables: Mapping[str, VariableInfo] = field(default_factory=dict)
    settled: frozenset[str] = frozenset()
    plugs: tuple[PlugInfo, ...] = ()
    information: Information | None = None


_Worked = TypeVar("_Worked")


def once(work_out: Callable[[Inventory], _Worked]) -> Callable[[Inventory], _Worked]:
    """Work something out of an inventory once, and keep it for as long as the inventory lives."""
    kept: WeakKeyDictionary[Inventory, _Worked] = WeakKeyDictionary()

    @wraps(work_out)
    def kept_or_new(inventory: Inventory) -> _Worked:
        if inventory not in kept:
            kept[inventory] = work_out(inventory)
        return kept[inventory]

    return kept_or_new


@once
def listed(inventory: Inventory) -> frozenset[str]:
    """The full ids of all variables that the devices list."""
    return frozenset(name for device in inventory.devices for name in device.variables)


_inventories: WeakValueDictionary[object, Inventory] = WeakValueDictionary()


def shared(inventory: Inventory) -> Inventory:
    """The one inventory that stands for all that are equal, as those of chargers of one make mostly are."""
    key = (
        inventory.devices,
        tuple(inventory.variables.items()),
        inventory.settled,
        inventory.plugs,
        inventory.information,
    )
    return _inventories.setdefault(key, inventory)


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
    """How one kind of document fared when it was last due, how long it took, and what went wrong."""

    name: DocumentName
    success: bool
    seconds: float
    failure: ChargerError | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one read brought, complete and comparable; a failure is a value in it.

    `values` holds what was read now, by full variable id.
    `asked` names the devices whose values were wanted, None is all of them, `answered` those whose values came.
    `rejected` counts, by variable id and reason, the readings of registers that were held back so far.
    `taken` is Unix seconds at the start of the read, `seconds` its length, `timeout` what it was given.
    """

    taken: float
    seconds: float
    timeout: float
    requests: int
    up: bool
    documents: tuple[Document, ...] = ()
    inventory: Inventory = Inventory()
    values: Mapping[str, Value] = field(default_factory=dict)
    asked: frozenset[str] | None = None
    answered: frozenset[str] = frozenset()
    plug_states: Mapping[str, PlugState] = field(default_factory=dict)
    charges: Mapping[str, Charge] = field(default_factory=dict)
    status: SystemStatus | None = None
    clock: float | None = None
    rejected: Mapping[tuple[str, str], int] = field(default_factory=dict)


FamilyKind = Literal["gauge", "counter", "stateset", "info"]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family: its full name as Prometheus shows it, its type, its help, its label names.

    For a stateset `states` holds every word; its samples get one more label, named as the family.
    """

    name: str
    kind: FamilyKind
    help: str
    labels: tuple[str, ...] = ()
    states: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One value of a family, on its way to any sink.

    `labels` are in the order of the family's label names.
    For a stateset `value` is the code as the engine sent it, `active` the words that hold.
    """

    family: Family
    labels: tuple[str, ...]
    value: float
    active: tuple[str, ...] = ()
