"""Equal inventories are one in memory; what was worked out of one lives as long as it does."""

import gc
import weakref
from dataclasses import replace

from ccl_exporter.powerstudio.inventory import (
    Device,
    Inventory,
    VariableInfo,
    cached_per_inventory,
    intern_inventory,
    variable_ids,
)


def inventory(title: str = "Voltage") -> Inventory:
    """An inventory that is made anew, of strings that are made anew."""
    name = "".join(("Meter", ".", "VI"))
    return Inventory(
        devices=(Device("Meter", "CVM1D", variables=(name,)),),
        variables={name: VariableInfo(title=title, unit="#V", factor=0)},
        settled=frozenset({name}),
    )


def test_equal_inventories_become_one() -> None:
    assert intern_inventory(inventory()) is intern_inventory(inventory())


def test_inventories_that_differ_stay_apart() -> None:
    one, other = intern_inventory(inventory()), intern_inventory(inventory("Spannung"))

    assert one is not other
    assert one.variables["Meter.VI"].title == "Voltage"
    assert other.variables["Meter.VI"].title == "Spannung"


def test_an_inventory_without_a_reference_is_not_kept() -> None:
    held = intern_inventory(inventory("only here"))
    gone = weakref.ref(held)
    variable_ids(held)
    del held
    gc.collect()

    assert gone() is None


def test_something_is_worked_out_once_for_each_inventory() -> None:
    asked = []

    @cached_per_inventory
    def count(found: Inventory) -> int:
        asked.append(found)
        return len(found.devices)

    one, other = inventory(), replace(inventory(), devices=())

    assert [count(one), count(one), count(other), count(other)] == [1, 1, 0, 0]
    assert asked == [one, other]
