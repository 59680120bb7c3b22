"""From a snapshot to samples: the policy of names, labels and privacy. Pure, and knows no sink.

Three layers (families.py): the reading itself, the meaning by plug and station, the walk over every variable.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from math import isfinite

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family, Sample
from ccl_exporter.powerstudio.inventory import Inventory, PlugInfo, VariableSelection, cached_per_inventory
from ccl_exporter.powerstudio.snapshot import ChargeRecord, PlugStateRecord, Snapshot
from ccl_exporter.settings import MODULES, Module
from ccl_exporter.station.values import OLDEST, Reading

_PHASES = ("1", "2", "3")

# States in which a vehicle is being served; the words of OCPI 2.2, 8.4.19 (Status).
_SERVING = ("starting", "resuming", "charging", "pausing", "paused", "stopping")
_OCCUPIED = (
    "waiting_for_vehicle",
    "waiting_for_permission",
    "waiting_for_schedule",
    "waiting_for_power",
    "waiting_for_disconnection",
)


def samples(
    snapshot: Snapshot,
    modules: Container[Module] = MODULES,
    exclude: Sequence[str] = (),
) -> list[Sample]:
    """Every sample of a snapshot; of a charger that did not answer, only those of the reading itself.

    `exclude` are patterns of `device.variable` that the walk leaves out.
    """
    found = list(_reading(snapshot))
    if snapshot.up:
        reading = Reading(snapshot)
        if "core" in modules:
            found.extend(_station(reading))
            for plug in plugs(reading):
                found.extend(_Plug(reading, plug).samples())
        found.extend(_devices(reading))
        found.extend(_rejected(reading))
        if "variables" in modules:
            found.extend(_walk(reading, exclude))
    return found


@cached_per_inventory
def needed(inventory: Inventory) -> VariableSelection | None:
    """The variables that the meaning layer is made from, with the STATUS that says whether they can be trusted.

    None, which is all, where no plugInfo tells of the plugs: then it takes a reading to know them.
    """
    if not inventory.plugs:
        return None
    empty = Reading(Snapshot(0.0, 0.0, 0.0, 0, up=True, inventory=inventory))
    often: set[str] = set()
    rarely: set[str] = set()
    engine, board = _only(empty, "engine"), _only(empty, "board")
    often |= {f"{engine}.STATE", f"{engine}.ERROR", f"{board}.TCI"}
    rarely |= {f"{board}.RUNTIME", f"{engine}.RUNTIME"}
    for plug in plugs(empty):
        own = ("STATE", "ERROR", "CC", "LOCK", "ENABLE", "AE", "API", "AI", "VI", "CURRENT_REDUCTION")
        often |= {f"{plug.name}.{variable}" for variable in own}
        often |= {f"{plug.vehicle_device}.{variable}" for variable in ("OUT_OF_SERVICE", "PREDUCTION")}
        rarely.add(f"{plug.vehicle_device}.INTENSITY")
        for variable in ("AE", "API", "AI", "VI"):
            phases = [f"{plug.meter}.{variable}{phase}" for phase in _PHASES]
            if variable != "AE" and not empty.listed.isdisjoint(phases):
                often -= {f"{plug.name}.{variable}"}
                often |= set(phases)
            elif f"{plug.name}.{variable}" not in empty.listed:
                often.add(f"{plug.meter}.{variable}")
    for known in filter(None, map(empty.variable, often | rarely)):
        often |= {f"{prefix}.STATUS" for prefix in known.within}
        if known.register:
            # The gate before registers goes by the device's own clock too.
            often.add(f"{known.device.id}.VDTTM")
    return VariableSelection(frozenset(often & empty.listed), frozenset(rarely & empty.listed))


def _reading(snapshot: Snapshot) -> Iterator[Sample]:
    yield Sample(f.UP, (), float(snapshot.up))
    yield Sample(f.SCRAPE_TIMESTAMP, (), snapshot.taken)
    yield Sample(f.SCRAPE_DURATION, (), snapshot.seconds)
    yield Sample(f.SCRAPE_TIMEOUT, (), snapshot.timeout)
    yield Sample(f.SCRAPE_REQUESTS, (), float(snapshot.requests))
    for document in snapshot.documents:
        yield Sample(f.DOCUMENT_SUCCESS, (document.name,), float(document.success))
        yield Sample(f.DOCUMENT_DURATION, (document.name,), document.seconds)


def _devices(reading: Reading) -> Iterator[Sample]:
    snapshot = reading.snapshot
    for device in snapshot.inventory.devices:
        if snapshot.asked is None or device.id in snapshot.asked:
            answered = device.id in snapshot.answered
            yield Sample(f.DEVICE_UP, (device.id,), float(answered and reading.status_ok(device.id)))
        status = reading.status(device.id)
        if status is not None:
            yield Sample(f.DEVICE_STATUS, (device.id,), status)
        yield Sample(f.DEVICE_INFO, (device.id, device.type or "", device.description or ""), 1.0)


def _rejected(reading: Reading) -> Iterator[Sample]:
    for (name, reason), count in sorted(reading.snapshot.rejected.items()):
        device = reading.owner(name)
        if device is not None:
            yield Sample(f.REJECTED, (device, name[len(device) + 1 :], reason), float(count))


def _walk(reading: Reading, exclude: Sequence[str]) -> Iterator[Sample]:
    for variable in reading.walk():
        if exclude and any(fnmatchcase(variable.id, pattern) for pattern in exclude):
            continue
        if variable.about is not None:
            yield Sample(f.VARIABLE_INFO, variable.about, 1.0)
        understood = reading.understand(variable.id)
        if understood is not None:
            yield Sample(f.VARIABLES[understood.quantity], variable.series, understood.value)


def _state(
    family: Family, labels: tuple[str, ...], code: float | None, words: Mapping[int, str]
) -> Iterator[Sample]:
    """One word of a stateset; a code without a word is `unknown`, no code is no sample."""
    if code is not None:
        yield Sample(family, labels, float(code), (_word(code, words),))


def _word(code: float, words: Mapping[int, str]) -> str:
    return words.get(int(code), "unknown") if float(code).is_integer() else "unknown"


def _bits(family: Family, labels: tuple[str, ...], mask: float | None, words: Sequence[str]) -> Iterator[Sample]:
    """The words of the bits that are set; bits without a word are `unknown`."""
    if mask is None:
        return
    if not float(mask).is_integer() or mask < 0:
        yield Sample(family, labels, float(mask), ("unknown",))
        return
    bits = int(mask)
    active = [word for position, word in enumerate(words) if bits >> position & 1]
    if bits >> len(words):
        active.append("unknown")
    yield Sample(family, labels, float(mask), tuple(active))


def _gauge(family: Family, labels: tuple[str, ...], value: float | None) -> Iterator[Sample]:
    if value is not None and isfinite(value):
        yield Sample(family, labels, float(value))


def _only(reading: Reading, role: str) -> str | None:
    """The one device of a role; None if there is none or several, which would leave it to chance."""
    found = [device.id for device in reading.devices.values() if reading.facts.role(device.type) == role]
    return found[0] if len(found) == 1 else None


def _station(reading: Reading) -> Iterator[Sample]:
    snapshot, codes = reading.snapshot, reading.facts.codes
    engine, board = _only(reading, "engine"), _only(reading, "board")
    if engine is not None:
        yield from _state(f.STATION_STATE, (), reading.raw(f"{engine}.STATE"), codes["station_state"])
        yield from _bits(f.STATION_ERROR, (), reading.raw(f"{engine}.ERROR"), reading.facts.bits["station_error"])
    information = snapshot.inventory.information
    if information is not None:
        yield Sample(f.STATION_INFO, (information.company, information.product, information.version), 1.0)
    if board is not None:
        yield from _gauge(f.STATION_TEMPERATURE, (), reading.number(f"{board}.TCI", "celsius"))
    for device in (board, engine):
        boot = reading.number(f"{device}.RUNTIME", "timestamp") if device is not None else None
        if boot is not None:
            yield Sample(f.STATION_BOOT, (), boot)
            break
    if snapshot.status is not None:
        yield from _gauge(f.STATION_EVENTS, (), snapshot.status.active_events)
    yield from _gauge(f.STATION_CLOCK, (), snapshot.clock)


def plugs(reading: Reading) -> list[PlugInfo]:
    """The plugs: of plugInfo, else of chargeInfo and plugState, else what stands before `.STATE` in an engine."""
    snapshot = reading.snapshot
    if snapshot.inventory.plugs:
        return list({plug.name: plug for plug in snapshot.inventory.plugs}.values())
    names = set(snapshot.charges) | set(snapshot.plug_states)
    if not names:
        names = {
            name.removesuffix(".STATE")
            for name in reading.listed
            if name.endswith(".STATE") and _is_plug(reading, name.removesuffix(".STATE"))
        }
    # Which device serves which plug is only sure where there is one of each.
    alone = len(names) == 1
    vehicle, meter = (_only(reading, "vehicle"), _only(reading, "meter")) if alone else (None, None)
    return [PlugInfo(name, vehicle_device=vehicle, meter=meter) for name in sorted(names)]


def _is_plug(reading: Reading, prefix: str) -> bool:
    """Whether a prefix within a device is a plug: of an engine, or of an untyped device with a plug's names."""
    device = reading.devices.get(reading.owner(prefix) or "")
    if device is None or prefix in reading.devices:
        return False
    if device.type is not None:
        return reading.facts.role(device.type) == "engine"
    return all(f"{prefix}.{name}" in reading.listed for name in ("ERROR", "CC"))


class _Plug:
    """The meaning of one plug's variables and documents."""

    def __init__(self, reading: Reading, plug: PlugInfo) -> None:
        self._reading = reading
        self._plug = plug
        self._labels = (plug.name,)
        self._state = reading.snapshot.plug_states.get(plug.name, PlugStateRecord(plug.name))
        self._charge = reading.snapshot.charges.get(plug.name)

    def samples(self) -> Iterator[Sample]:
        labels, facts = self._labels, self._reading.facts
        state = self._own("STATE", self._state.state)
        error = self._own("ERROR", self._state.error)
        enabled = self._enabled()
        yield from _state(f.PLUG_STATE, labels, state, facts.codes["plug_state"])
        yield from _bits(f.PLUG_ERROR, labels, error, facts.bits["plug_error"])
        if state is not None:
            word = _word(state, facts.codes["plug_state"])
            yield Sample(f.PLUG_STATUS, labels, state, (_ocpi(word, error, enabled),))
        yield from _gauge(f.PLUG_CONNECTED, labels, _bool(self._own("CC", self._state.vehicle_connected)))
        locked = self._state.locked
        yield from _gauge(f.PLUG_LOCKED, labels, _bool(self._variable("LOCK") if locked is None else locked))
        yield from _gauge(f.PLUG_ENABLED, labels, enabled)
        yield from self._energy()
        for family, variable, quantity in (
            (f.PLUG_POWER, "API", "watts"),
            (f.PLUG_CURRENT, "AI", "amperes"),
            (f.PLUG_VOLTAGE, "VI", "volts"),
        ):
            yield from self._by_phase(family, variable, quantity)
        yield from self._limits()
        if self._charge is not None:
            yield from self._charge_samples(self._charge)

    def _listed(self, device: str | None, variable: str) -> str | None:
        """The full id of a variable, if the engine lists it."""
        name = f"{device}.{variable}"
        return name if device is not None and name in self._reading.listed else None

    def _variable(self, variable: str) -> float | None:
        return self._reading.raw(self._listed(self._plug.name, variable))

    def _own(self, variable: str, otherwise: float | None) -> float | None:
        """The plug's own variable if the engine lists it, else what plugState says."""
        return self._variable(variable) if self._listed(self._plug.name, variable) else otherwise

    def _enabled(self) -> float | None:
        """1 if ENABLE is 1 and OUT_OF_SERVICE is 0; one that is listed but cannot be read leaves it open."""
        enable = self._listed(self._plug.name, "ENABLE")
        out = self._listed(self._plug.vehicle_device, "OUT_OF_SERVICE")
        told = [(self._reading.raw(name), good) for name, good in ((enable, 1.0), (out, 0.0)) if name is not None]
        if any(value is not None and value != good for value, good in told):
            return 0.0
        return 1.0 if told and all(value == good for value, good in told) else None

    def _energy(self) -> Iterator[Sample]:
        """The source is chosen by what the engine lists, never by what can be read now.

        A register that took its value now from here and now from there would fall back, and a fall is a reset.
        """
        name = self._listed(self._plug.name, "AE")
        device = self._reading.owner(self._plug.name)
        if name is None and (device is None or self._reading.devices[device].variables):
            name = self._listed(self._plug.meter, "AE")
        if name is not None and name not in self._reading.unit_conflicts:
            energy = self._reading.number(name, "joules_total")
        elif self._charge is not None and self._charge.meter_watt_hours is not None:
            energy = self._charge.meter_watt_hours * 3600
        else:
            energy = None
        yield from _gauge(f.PLUG_ENERGY, self._labels, energy)
        told = self._charge.meter_watt_hours if self._charge is not None else None
        if name is not None and energy is not None and told is not None:
            yield from _gauge(f.PLUG_METER_DIFFERENCE, self._labels, round(energy - told * 3600, 6))

    def _by_phase(self, family: Family, variable: str, quantity: str) -> Iterator[Sample]:
        """By phase where the meter lists phases; else the plug's own variable, else the meter's.

        Never both: a sum over the family must mean something.
        """
        phases = [phase for phase in _PHASES if self._listed(self._plug.meter, variable + phase)]
        for phase in phases:
            value = self._reading.number(f"{self._plug.meter}.{variable}{phase}", quantity)
            yield from _gauge(family, (*self._labels, f"l{phase}"), value)
        if not phases:
            name = self._listed(self._plug.name, variable) or self._listed(self._plug.meter, variable)
            yield from _gauge(family, (*self._labels, ""), self._reading.number(name, quantity))

    def _limits(self) -> Iterator[Sample]:
        vehicle = self._plug.vehicle_device
        intensity = self._reading.number(self._listed(vehicle, "INTENSITY"), "amperes")
        reduction = self._reading.number(self._listed(vehicle, "PREDUCTION"), "ratio")
        most = self._plug.supported_amperes
        yield from _gauge(f.PLUG_CURRENT_MAX, self._labels, intensity if most is None else most)
        yield from _gauge(f.PLUG_REDUCTION, self._labels, reduction)
        if intensity is None or reduction is None or not 0 <= reduction <= 1:
            return
        limit = round(intensity * (1 - reduction), 9)
        cap = self._listed(self._plug.name, "CURRENT_REDUCTION")
        if cap is not None:
            # Engines send it without a unit; it holds amperes (protocol.md 9).
            told = self._reading.understand(cap)
            if told is None or told.quantity not in ("amperes", None):
                return
            limit = min(limit, told.value)
        if limit >= 0:
            yield Sample(f.PLUG_CURRENT_LIMIT, self._labels, limit)

    def _charge_samples(self, charge: ChargeRecord) -> Iterator[Sample]:
        labels = self._labels
        energy = charge.watt_hours
        yield from _gauge(f.CHARGE_ENERGY, labels, None if energy is None else energy * 3600)
        for family, instant in (
            (f.CHARGE_REQUEST, charge.requested),
            (f.CHARGE_BEGIN, charge.begun),
            (f.CHARGE_END, charge.ended),
        ):
            yield from _gauge(family, labels, instant if instant is not None and instant >= OLDEST else None)
        yield from _gauge(f.CHARGE_DURATION, labels, charge.seconds)
        reasons = self._reading.facts.codes["stop_reason"]
        yield from _state(f.CHARGE_STOP_REASON, labels, charge.stop_reason, reasons)


def _bool(value: float | None) -> float | None:
    """0 or 1; any other number is no answer to a yes-or-no question."""
    return float(value) if value in (0, 1) else None


def _ocpi(state: str, error: float | None, enabled: float | None) -> str:
    """The word of OCPI for a plug. A plug that serves a vehicle does so, whatever minor fault it reports."""
    if state in _SERVING:
        return "charging"
    if state == "error" or error:
        return "outoforder"
    if state == "disabled" or enabled == 0:
        return "inoperative"
    if state in ("available", "reserved"):
        return state
    return "blocked" if state in _OCCUPIED else "unknown"
