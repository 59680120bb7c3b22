"""One variable and nothing else, for a command: a few requests instead of a whole reading."""

from time import monotonic, time

from ccl_exporter.model import Snapshot, owner
from ccl_exporter.powerstudio.dialect import Dialect
from ccl_exporter.powerstudio.inventory import InventoryReader
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.powerstudio.values import ValuesReader


def read_variable(transport: Transport, name: str, timeout: float) -> Snapshot | None:
    """A snapshot of the device that has the variable `name` (full id); None if no device has it.

    `timeout` is in seconds. Raises what goes wrong.
    """
    taken, started = time(), monotonic()
    deadline = started + timeout
    dialect = Dialect(transport)
    inventory = InventoryReader(dialect)
    device = owner(name, inventory.device_ids(deadline))
    if device is None:
        return None
    inventory.read_only(device, name, deadline)
    found = ValuesReader(dialect).read(inventory.inventory.devices, deadline)
    return Snapshot(
        taken=taken,
        seconds=monotonic() - started,
        timeout=timeout,
        requests=transport.requests,
        up=True,
        inventory=inventory.inventory,
        values=found.values,
        answered=frozenset(found.answered),
    )
