"""The inventory of an engine: its devices, their variables, its plugs, its name. It rarely changes."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the engine with the full ids of its variables, from deviceInfo.xml (protocol 2.1)."""

    id: str
    type: str | None = None
    description: str | None = None
    variables: tuple[str, ...] = ()


def owner(variable: str, devices: Container[str]) -> str | None:
    """The device of a full variable id: the longest known device id followed by a dot (protocol 4)."""
    cut = variable.rfind(".")
    while cut > 0:
        if variable[:cut] in devices:
            return variable[:cut]
        cut = variable.rfind(".", 0, cut)
    return None


@dataclass(frozen=True, slots=True)
class VariableInfo:
    """varInfo.xml of one variable (protocol 4).

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
    """A socket and the devices that serve it, from plugInfo.xml (protocol 2.2)."""

    name: str
    supported_amperes: float | None = None
    vehicle_device: str | None = None
    meter: str | None = None


@dataclass(frozen=True, slots=True)
class VariableSelection:
    """The variables to read, by full id; values that hardly ever change may be older."""

    often: frozenset[str]
    rarely: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Information:
    """system/information.xml: what the engine calls itself (protocol 2.2)."""

    product: str
    version: str
    company: str


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Inventory:
    """Devices, descriptions of their variables, plugs, and the engine itself.

    `settled` holds the ids whose varInfo was answered or is not to be had;
    of the others only the catalogue can speak.
    An inventory is compared by identity, so that what was worked out of it can be kept beside it.
    """

    devices: tuple[Device, ...] = ()
    variables: Mapping[str, VariableInfo] = field(default_factory=dict)
    settled: frozenset[str] = frozenset()
    plugs: tuple[PlugInfo, ...] = ()
    information: Information | None = None


NO_INVENTORY = Inventory()
"""What is known before anything was read."""

_Worked = TypeVar("_Worked")


def cached_per_inventory(work_out: Callable[[Inventory], _Worked]) -> Callable[[Inventory], _Worked]:
    """A decorator: compute something from an inventory once, and keep it as long as the inventory lives."""
    kept: WeakKeyDictionary[Inventory, _Worked] = WeakKeyDictionary()

    @wraps(work_out)
    def kept_or_new(inventory: Inventory) -> _Worked:
        if inventory not in kept:
            kept[inventory] = work_out(inventory)
        return kept[inventory]

    return kept_or_new


@cached_per_inventory
def variable_ids(inventory: Inventory) -> frozenset[str]:
    """The full ids of all variables that the devices list."""
    return frozenset(name for device in inventory.devices for name in device.variables)


_inventories: WeakValueDictionary[object, Inventory] = WeakValueDictionary()


def intern_inventory(inventory: Inventory) -> Inventory:
    """The shared inventory among equal ones, such as those of chargers of one make."""
    key = (
        inventory.devices,
        tuple(inventory.variables.items()),
        inventory.settled,
        inventory.plugs,
        inventory.information,
    )
    return _inventories.setdefault(key, inventory)


Selector = Callable[[Inventory], VariableSelection | None]
"""Which variables of an inventory are needed; None is all of them."""
