"""The inventory, read one piece at a time, so that it can stop at any deadline and go on at the next scrape.

Devices, then what deviceInfo says of them, plugs, the engine's own name, and varInfo of each variable
(protocol 2, 4): by device where the engine answers that, else by variable.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from typing import NamedTuple

from ccl_exporter.errors import Absent, AccessDenied, Garbled, TimedOut
from ccl_exporter.powerstudio import endpoints, xml_parser
from ccl_exporter.powerstudio.dialect import SEPARATORS, NegotiatedDialect
from ccl_exporter.powerstudio.endpoints import Endpoint
from ccl_exporter.powerstudio.inventory import (
    Device,
    Information,
    Inventory,
    PlugInfo,
    VariableInfo,
    intern_inventory,
    owner,
)
from ccl_exporter.powerstudio.learned import Facts
from ccl_exporter.powerstudio.snapshot import DocumentName

_MAX_BATCH = 40
_FEW = 6  # devices, for which it does not pay to try every way of asking for several at once
_PATIENCE = 3  # times that one piece may run into the deadline before the rest goes on without it

_Entries = tuple[tuple[str, str | None, VariableInfo], ...]


class InventoryProgress(NamedTuple):
    """The progress of reading the inventory: `done` of `total` parts of `document`, None when all is read.

    `total` is 0 for a document that is read as a whole.
    """

    document: DocumentName | None
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class _Step:
    """A piece of work: `read` asks and says whether all of it is done; `skip` leaves its head out.

    They get the reader as an argument, as a reader that held methods of itself would never be freed.
    """

    document: DocumentName
    read: "Callable[[InventoryReader, float], bool]"
    skip: "Callable[[InventoryReader], bool]"


class InventoryReader:
    """Reads and keeps an engine's inventory; one caller at a time.

    `inventory` can always be used: it is replaced piece by piece while a new reading goes on.
    """

    def __init__(self, dialect: NegotiatedDialect) -> None:
        self._dialect = dialect
        self._steps: list[_Step] = []
        self._delays = 0
        self._undescribed: list[str] = []
        self._unasked: list[Device] = []
        self._asked: set[str] = set()
        self._learned: set[str] = set()
        self.inventory = Inventory()
        self.plug_ids: frozenset[str] = frozenset()
        """Apart from the inventory, which chargers of one make share."""
        self.forget()

    @property
    def next_document(self) -> DocumentName | None:
        """The document that the next step requests; None when all is read."""
        return self._steps[0].document if self._steps else None

    @property
    def progress(self) -> InventoryProgress:
        """The progress; for any thread."""
        inventory, document = self.inventory, next((step.document for step in self._steps), None)
        if document == "device_info":
            return InventoryProgress(
                document, len(inventory.devices) - len(self._undescribed), len(inventory.devices)
            )
        if document == "var_info":
            total = sum(len(device.variables) for device in inventory.devices)
            return InventoryProgress(document, total - len(self._pending()), total)
        return InventoryProgress(document)

    @property
    def knows_devices(self) -> bool:
        """Whether the devices and their types are known, so that values can be understood."""
        return bool(self.inventory.devices) and self.next_document not in ("devices", "device_info")

    def begin(self, only: Collection[DocumentName] | None = None) -> None:
        """Read everything again, from the next step on; what is known stays until then.

        With `only`, read just what is missing of these documents.
        """
        self._delays = 0
        self._asked.clear()
        steps = [
            _Step("devices", InventoryReader._read_devices, InventoryReader._skip_devices),
            _Step("device_info", InventoryReader._read_device_info, InventoryReader._skip_device_info),
            _Step("plug_info", InventoryReader.read_plug_info, lambda _: True),
            _Step("information", InventoryReader._read_information, lambda _: True),
            _Step("var_info", InventoryReader._read_var_info_by_device, InventoryReader._skip_var_info_by_device),
            _Step("var_info", InventoryReader._read_var_info_by_name, InventoryReader._skip_var_info_by_name),
        ]
        if only is None or "devices" in only or not self.inventory.devices:
            self._steps = steps
            return
        # A device that is described at last brings variables that were not asked for yet.
        wanted = {*only, "var_info"} if "device_info" in only else set(only)
        self._steps = [step for step in steps if step.document in wanted]
        self._undescribed = [device.id for device in self.inventory.devices if device.type is None]
        self._asked = set(self.inventory.variables)
        self._unasked = [
            device for device in self.inventory.devices if not self._asked.issuperset(device.variables)
        ]

    def forget(self) -> None:
        """Forget how this engine describes devices and variables."""
        self._device_info: Endpoint | None = None
        self._var_info_by_device = True
        self._var_info_exists = False

    def facts(self) -> Facts:
        """What was read and how, to be stored."""
        inventory, by = self.inventory, self._device_info
        return {
            "device_info": [by.path, by.parameter] if by is not None else None,
            "var_info": [self._var_info_by_device, self._var_info_exists],
            "learned": sorted(self._learned),
            "devices": [
                [device.id, device.type, device.description, device.variables] for device in inventory.devices
            ],
            "variables": {name: _said(info) for name, info in inventory.variables.items()},
            "settled": sorted(inventory.settled),
            "plugs": [asdict(plug) for plug in inventory.plugs],
            "plug_ids": sorted(self.plug_ids),
            "information": asdict(inventory.information) if inventory.information is not None else None,
        }

    def recall(self, facts: Facts) -> None:
        """Take over what was read and stored before; nothing is left to read."""
        self.forget()
        self._device_info = Endpoint(*facts["device_info"]) if facts["device_info"] is not None else None
        self._var_info_by_device, self._var_info_exists = facts["var_info"]
        self._steps, self._learned, information = [], set(facts["learned"]), facts["information"]
        # Earlier versions did not keep the ids.
        self.plug_ids = frozenset(facts.get("plug_ids", ()))
        self.inventory = intern_inventory(
            Inventory(
                devices=tuple(Device(id, type, says, tuple(names)) for id, type, says, names in facts["devices"]),
                variables={name: VariableInfo(**info) for name, info in facts["variables"].items()},
                settled=frozenset(facts["settled"]),
                plugs=tuple(PlugInfo(**plug) for plug in facts["plugs"]),
                information=Information(**information) if information is not None else None,
            )
        )

    def step(self, deadline: float) -> None:
        """Read the next piece; raises its error after the state is consistent.

        A piece that ran into the deadline is tried again next time, a few times.
        """
        current = self._steps[0]
        try:
            done = current.read(self, deadline)
        except TimedOut:
            self._delays += 1
            if self._delays >= _PATIENCE:
                self._pass_over(current)
            raise
        except (Absent, Garbled, AccessDenied):
            self._pass_over(current)
            raise
        self._delays = 0
        if done:
            self._finish_step()

    def _pass_over(self, current: _Step) -> None:
        self._delays = 0
        if current.skip(self):
            self._finish_step()

    def _finish_step(self) -> None:
        del self._steps[0]
        if not self._steps:
            self._asked = set()
            self.inventory = intern_inventory(self.inventory)

    def learn(self, names: Iterable[str]) -> None:
        """Add variables that the values have and no deviceInfo listed."""
        names = frozenset(names)
        if names:
            self._learned |= names
            self._put(devices=_with(self.inventory.devices, names))

    def unlearn(self, names: Iterable[str]) -> None:
        """Remove variables that the values no longer have, unless deviceInfo lists them."""
        self._learned.difference_update(names)

    def _put(self, **parts: object) -> None:
        """Replace parts of the inventory; if they are as before it stays, with all that was worked out of it."""
        if any(getattr(self.inventory, name) != part for name, part in parts.items()):
            self.inventory = replace(self.inventory, **parts)  # type: ignore[arg-type] # its own fields

    # Devices

    def device_ids(self, deadline: float) -> tuple[str, ...]:
        """The devices that the engine lists now; raises `Absent` if there are none."""
        for path in endpoints.DEVICES:
            with suppress(Absent):
                if ids := self._dialect.document(path, xml_parser.devices, deadline):
                    return ids
        # Without devices nothing is read, and an engine that starts may have none yet.
        self._dialect.absent.difference_update(endpoints.DEVICES)
        raise Absent("the engine lists no devices")

    def _read_devices(self, deadline: float) -> bool:
        ids = self.device_ids(deadline)
        before = {device.id: device for device in self.inventory.devices}
        self._put_devices(before.get(id, Device(id)) for id in ids)
        self._undescribed = list(ids)
        return True

    def _skip_devices(self) -> bool:
        """Without devices nothing can follow; with those of the last reading the rest can."""
        self._undescribed = [device.id for device in self.inventory.devices]
        return bool(self._undescribed)

    def _put_devices(self, devices: Iterable[Device]) -> None:
        """Replace the devices, and forget what was known of variables that are gone."""
        devices = tuple(devices)
        names = {name for device in devices for name in device.variables}
        self._put(
            devices=devices,
            variables={name: info for name, info in self.inventory.variables.items() if name in names},
            settled=self.inventory.settled & names,
        )

    def _read_device_info(self, deadline: float) -> bool:
        """Tell of the first device, or of several at once where the engine takes that."""
        if self._undescribed:
            described = {device.id: device for device in self._describe_devices(self._undescribed, deadline)}
            devices = tuple(described.get(device.id, device) for device in self.inventory.devices)
            self._put_devices(_with(devices, self._learned))
            self._undescribed = [id for id in self._undescribed if id not in described]
        self._unasked = list(self.inventory.devices)
        return not self._undescribed

    def _describe_devices(self, ids: Sequence[str], deadline: float) -> tuple[Device, ...]:
        """Ask; if the engine does not know a name that is not ASCII, in Latin-1 (protocol 6)."""
        try:
            return self._ask_device_info(ids, deadline)
        except Absent:
            if ids[0].isascii() or self._dialect.charset != "utf-8":
                raise
            self._dialect.charset = "latin-1"
            try:
                return self._ask_device_info(ids, deadline)
            except Absent:
                self._dialect.charset = "utf-8"
                raise

    def _ask_device_info(self, ids: Sequence[str], deadline: float) -> tuple[Device, ...]:
        for question in endpoints.DEVICE_INFO:
            if question.path in self._dialect.absent:
                continue
            chunk = question.head(ids, len(ids))
            if len(chunk) > 1 and question == self._device_info:
                separators = SEPARATORS[:1] if len(ids) < _FEW else SEPARATORS
                several = self._dialect.several(
                    *(question, chunk, xml_parser.device_info, len, deadline), separators=separators
                )
                if several is not None and any(device.id == ids[0] for device in several):
                    return several
            try:
                found = self._dialect.one(question, ids[0], xml_parser.device_info, deadline)
            except Absent as error:
                if question == self._device_info:
                    raise Garbled(f"{error}, though it had this document before") from error
                self._dialect.absent.add(question.path)
                continue
            if any(device.id == ids[0] for device in found):
                self._device_info = question
                return found
        raise Absent(f"the engine does not describe the device {ids[0]}")

    def _skip_device_info(self) -> bool:
        del self._undescribed[:1]
        self._unasked = list(self.inventory.devices)
        return not self._undescribed

    # Plugs and the engine itself

    def read_plug_info(self, deadline: float) -> bool:
        """Read plugInfo; raises `Absent` if the engine has none."""
        plugs, self.plug_ids = self._dialect.document(
            endpoints.PLUG_INFO, lambda data: (xml_parser.plug_info(data), xml_parser.plug_ids(data)), deadline
        )
        self._put(plugs=plugs)
        return True

    def _read_information(self, deadline: float) -> bool:
        information = self._dialect.document(endpoints.INFORMATION, xml_parser.information, deadline)
        self._put(information=information)
        return True

    # Variables

    def _read_var_info_by_device(self, deadline: float) -> bool:
        question = endpoints.VAR_INFO_BY_DEVICE
        self._unasked = [device for device in self._unasked if device.variables or device.type is None]
        if not self._unasked or not self._var_info_by_device:
            return True
        ids = [device.id for device in self._unasked]
        chunk = question.head(ids, len(ids))
        if len(chunk) > 1 and self._dialect.separators:
            several = self._dialect.several(
                question,
                chunk,
                lambda data: _qualified(xml_parser.var_info(data)),
                lambda found: len({owner(name, ids) for name in found}),
                deadline,
            )
            if several is not None:
                self._put_variables(several)
                self._unasked = self._unasked[len(chunk) :]
                return not self._unasked
        entries: _Entries = ()
        with suppress(Absent):
            entries = self._dialect.one(question, ids[0], xml_parser.var_info, deadline)
        if not entries:
            self._var_info_by_device = False
            return True
        # The values may have shown its variables since it was put on the list.
        known = {device.id: device for device in self.inventory.devices}
        self._put_variables(_resolved(entries, known.get(ids[0], self._unasked[0])))
        del self._unasked[:1]
        return not self._unasked

    def _skip_var_info_by_device(self) -> bool:
        del self._unasked[:1]
        return not self._unasked

    def _pending(self) -> list[str]:
        return [name for device in self.inventory.devices for name in device.variables if name not in self._asked]

    def _read_var_info_by_name(self, deadline: float) -> bool:
        names = self._pending()
        if not names:
            return True
        if not self._var_info_exists:
            # Without parameters it answers with an empty root, if there is one (protocol 2.1).
            try:
                self._dialect.document(endpoints.VAR_INFO, xml_parser.var_info, deadline)
            except Absent:
                self._settle(names)
                return True
            self._var_info_exists = True
            return False
        question = endpoints.VAR_INFO_BY_NAME
        chunk = question.head(names, _MAX_BATCH)
        if len(chunk) > 1:
            several = self._several_by_name(question, chunk, deadline)
            if several is not None:
                self._put_variables({name: several[name] for name in chunk if name in several})
                self._settle(chunk)
                return False
        self.read_var_info_of(names[0], deadline)
        return False

    def read_var_info_of(self, name: str, deadline: float) -> None:
        """Read varInfo of one variable, by full id."""
        entries: _Entries = ()
        with suppress(Absent):
            entries = self._dialect.one(endpoints.VAR_INFO_BY_NAME, name, xml_parser.var_info, deadline)
        for id, id_ex, info in entries:
            # One was asked for and one came: a short name is that of the one that was asked for.
            if (id_ex or id) == name or (id_ex is None and name.endswith(f".{id}")):
                self._put_variables({name: info})
        self._settle([name])

    def read_only(self, devices: Sequence[str], deadline: float) -> None:
        """Read deviceInfo of some devices, unless it is known, and restrict the inventory to them."""
        known = {device.id: device for device in self.inventory.devices}
        found = []
        for device in devices:
            if device in known:
                found.append(known[device])
                continue
            described: tuple[Device, ...] = ()
            with suppress(Absent):
                described = self._describe_devices([device], deadline)
            found.append(next((one for one in described if one.id == device), Device(device)))
        self._put(devices=tuple(found))

    def _several_by_name(
        self, question: Endpoint, chunk: list[str], deadline: float
    ) -> dict[str, VariableInfo] | None:
        try:
            return self._dialect.several(
                question,
                chunk,
                lambda data: _named(xml_parser.var_info(data), chunk),
                lambda found: len(found.keys() & set(chunk)),
                deadline,
            )
        except (Absent, Garbled):
            self._dialect.disprove(question)
            return None

    def _skip_var_info_by_name(self) -> bool:
        self._settle(self._pending()[:1])
        return False

    def _put_variables(self, found: dict[str, VariableInfo]) -> None:
        self._put(variables={**self.inventory.variables, **found})
        self._settle(found)

    def _settle(self, names: Iterable[str]) -> None:
        self._asked.update(names)
        self._put(settled=self.inventory.settled.union(names))


def _said(info: VariableInfo) -> dict[str, object]:
    """What is not the default in a description."""
    pairs = ((field, getattr(info, field.name)) for field in fields(VariableInfo))
    return {field.name: value for field, value in pairs if value != field.default}


def _with(devices: tuple[Device, ...], names: Collection[str]) -> tuple[Device, ...]:
    """The devices, each with its own of `names` behind the variables that it has."""
    known = {device.id for device in devices}
    mine: dict[str | None, list[str]] = {}
    for name in sorted(names):
        mine.setdefault(owner(name, known), []).append(name)
    return tuple(
        replace(device, variables=tuple(dict.fromkeys((*device.variables, *mine.get(device.id, ())))))
        for device in devices
    )


def _qualified(entries: _Entries) -> dict[str, VariableInfo]:
    """Entries of several devices by idEx; none without it, as a short name may look like another's full one."""
    found = {id_ex: info for _, id_ex, info in entries if id_ex is not None}
    return found if len(found) == len(entries) else {}


def _named(entries: _Entries, names: Sequence[str]) -> dict[str, VariableInfo]:
    """Entries of the variables that were asked for; without idEx only if exactly those came."""
    found = {id_ex or id: info for id, id_ex, info in entries}
    sure = all(id_ex is not None for _, id_ex, _ in entries) or found.keys() == set(names)
    return found if sure else {}


def _resolved(entries: _Entries, device: Device) -> dict[str, VariableInfo]:
    """Entries of one device by full id; short names that could mean several variables are left out.

    `idEx` is sure; without it the name is short and sub-devices may share it (protocol 4).
    """
    found: dict[str, VariableInfo] = {}
    twice: set[str] = set()
    for id, id_ex, info in entries:
        if id_ex is not None:
            full = id_ex
        else:
            candidates = [name for name in device.variables if name == id or name.endswith(f".{id}")]
            if len(candidates) > 1 or (device.variables and not candidates):
                continue
            full = candidates[0] if candidates else f"{device.id}.{id}"
        if full in found:
            twice.add(full)
        found[full] = info
    return {name: info for name, info in found.items() if name not in twice}
