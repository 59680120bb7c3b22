"""A few devices and nothing else, for a command: some requests instead of a whole reading."""

from collections.abc import Collection, Sequence
from contextlib import suppress

from ccl_exporter.errors import Absent, AccessDenied, ChargerError, Garbled
from ccl_exporter.locks import ChargerLock
from ccl_exporter.powerstudio import endpoints, xml_parser
from ccl_exporter.powerstudio.dialect import NegotiatedDialect
from ccl_exporter.powerstudio.inventory import Information, Inventory, owner
from ccl_exporter.powerstudio.inventory_reader import InventoryReader
from ccl_exporter.powerstudio.learned import LearnedFile, holds
from ccl_exporter.powerstudio.snapshot import ChargeRecord, Snapshot, SystemStatus
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.powerstudio.value_reader import ValuesReader


class CommandReader:
    """Reads what one command needs, as often as it likes. The methods raise `ChargerError`.

    What `memory` knows of the engine is not asked for if its change stamps are the same.
    """

    def __init__(self, transport: Transport, memory: LearnedFile | None = None) -> None:
        self._transport = transport
        self._memory = memory
        self._dialect = NegotiatedDialect(transport)
        self._inventory = InventoryReader(self._dialect)
        self._values = ValuesReader(self._dialect)

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return self._transport.requests

    def devices(self, deadline: float) -> tuple[str, ...]:
        """The ids of all devices."""
        facts = self._memory.load() if self._memory is not None else None
        if facts is not None and holds(facts, self._status(deadline)):
            self._dialect.recall(facts["dialect"])
            self._values.recall(facts["values"])
            self._inventory.recall(facts["inventory"])
            return tuple(device.id for device in self._inventory.inventory.devices)
        return self._inventory.device_ids(deadline)

    def information(self, deadline: float) -> Information:
        """What the engine calls itself, empty if it does not say; raises nothing."""
        with suppress(ChargerError):
            return self._dialect.document(endpoints.INFORMATION, xml_parser.information, deadline)
        return Information("", "", "")

    def learn(self, devices: Sequence[str], deadline: float) -> None:
        """What the engine says of some devices; they are those that are read from then on."""
        self._inventory.read_only(devices, deadline)

    @property
    def inventory(self) -> Inventory:
        """What is known by now."""
        return self._inventory.inventory

    def describe(self, variables: Sequence[str], deadline: float) -> None:
        """What the engine says of some variables of these devices, by full id."""
        for variable in sorted(set(variables) - self.inventory.settled):
            self._inventory.read_var_info_of(variable, deadline)

    def learn_plugs(self, deadline: float) -> None:
        """What the engine says of its plugs, if it says anything."""
        if self._inventory.inventory.plugs:
            return
        with suppress(Absent):
            self._inventory.read_plug_info(deadline)

    def plug_ids(self, deadline: float) -> frozenset[str] | None:
        """The identifiers of its plugs, which stay whatever address it has; None if it does not say."""
        try:
            self._inventory.read_plug_info(deadline)
        except (Absent, Garbled):
            return None
        return self._inventory.plug_ids

    def read(self, timeout: float, only: Collection[str] | None = None, *, charges: bool = False) -> Snapshot:
        """The values of the devices that were learnt, or of `only` some by id; the last `charges`, if wanted."""
        clock = self._transport.clock
        taken, started = clock.wall(), clock.monotonic()
        inventory = self.inventory
        asked = [device for device in inventory.devices if only is None or device.id in only]
        found = self._values.read(asked, started + timeout)
        return Snapshot(
            taken=taken,
            seconds=clock.monotonic() - started,
            timeout=timeout,
            requests=self._transport.requests,
            up=True,
            inventory=inventory,
            values=found.values,
            asked=frozenset(device.id for device in asked),
            answered=frozenset(found.answered),
            charges=self._charges(started + timeout) if charges else {},
        )

    def _status(self, deadline: float) -> SystemStatus | None:
        with suppress(Absent, Garbled):
            return self._dialect.document(endpoints.STATUS, xml_parser.system_status, deadline)
        return None

    def _charges(self, deadline: float) -> dict[str, ChargeRecord]:
        try:
            return self._dialect.document(endpoints.CHARGE_INFO, xml_parser.charge_info, deadline)
        except Absent:
            return {}


def may_have_id(url: str, id: str, timeout: float, lock: ChargerLock | None = None) -> bool:
    """Whether an engine answers at a URL that may have a plug of this id; asked without a login.

    One that wants a login may have it.
    """
    transport = Transport(url, lock=lock)
    try:
        return id in (CommandReader(transport).plug_ids(transport.clock.monotonic() + timeout) or ())
    except AccessDenied:
        return True
    except ChargerError:
        return False
    finally:
        transport.close()


def read_variable(transport: Transport, name: str, timeout: float, memory: LearnedFile | None = None) -> Snapshot:
    """A snapshot of the device that has the variable `name` (full id), or of all devices if none has it.

    `timeout` is in seconds. Raises what goes wrong.
    """
    deadline = transport.clock.monotonic() + timeout
    lookup = CommandReader(transport, memory)
    ids = lookup.devices(deadline)
    device = owner(name, ids)
    lookup.learn([device] if device is not None else ids, deadline)
    if device is not None:
        lookup.describe([name], deadline)
    return lookup.read(max(deadline - transport.clock.monotonic(), 0.001))
