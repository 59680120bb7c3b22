"""From a judged snapshot to samples: names and labels. A plain mapping, which judges nothing and knows no output.

Three parts (families.py): the read itself, the core metrics of plugs and station, every variable.
"""

from collections.abc import Container, Iterator, Sequence
from fnmatch import fnmatchcase
from math import isfinite

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family, Sample
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.settings import MODULES, Module
from ccl_exporter.station.judge import Station
from ccl_exporter.station.plug import Measured, Plug
from ccl_exporter.station.values import Reading


def samples(
    read: Snapshot | Station, modules: Container[Module] = MODULES, exclude: Sequence[str] = ()
) -> list[Sample]:
    """Every sample of a snapshot; of a charger that did not answer, only those of the reading itself.

    `exclude` are patterns of `device.variable` whose variables are left out.
    """
    station = read if isinstance(read, Station) else Station(read)
    found = list(_reading(station.snapshot))
    if station.snapshot.up:
        if "core" in modules:
            found.extend(_station(station))
            for plug in station.plugs:
                found.extend(_plug(plug))
        found.extend(_devices(station.reading))
        found.extend(_rejected(station.reading))
        if "variables" in modules:
            found.extend(_variables(station.reading, exclude))
    return found


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


def _variables(reading: Reading, exclude: Sequence[str]) -> Iterator[Sample]:
    for variable in reading.walk():
        if not variable.is_settled or any(fnmatchcase(variable.id, pattern) for pattern in exclude):
            continue
        if variable.about is not None:
            yield Sample(f.VARIABLE_INFO, variable.about, 1.0)
        understood = reading.understand(variable.id)
        if understood is not None:
            yield Sample(f.VARIABLES[understood.quantity], variable.series, understood.value)


def _code(
    family: Family, labels: tuple[str, ...], code: float | None, active: Sequence[str] | None
) -> Iterator[Sample]:
    """A stateset with the code as it was sent; no code is no sample."""
    if code is not None and active is not None:
        yield Sample(family, labels, float(code), tuple(active))


def _gauge(family: Family, labels: tuple[str, ...], value: float | None) -> Iterator[Sample]:
    if value is not None and isfinite(value):
        yield Sample(family, labels, float(value))


def _station(station: Station) -> Iterator[Sample]:
    snapshot, state = station.snapshot, station.state
    yield from _code(f.STATION_STATE, (), station.state_code, (state,) if state is not None else None)
    yield from _code(f.STATION_ERROR, (), station.fault_mask, station.faults)
    information = snapshot.inventory.information
    if information is not None:
        yield Sample(f.STATION_INFO, (information.company, information.product, information.version), 1.0)
    yield from _gauge(f.STATION_TEMPERATURE, (), station.celsius)
    yield from _gauge(f.STATION_BOOT, (), station.booted)
    if snapshot.status is not None:
        yield from _gauge(f.STATION_EVENTS, (), snapshot.status.active_events)
    yield from _gauge(f.STATION_CLOCK, (), snapshot.clock)


def _plug(plug: Plug) -> Iterator[Sample]:
    labels, limits = (plug.name,), plug.limits
    if plug.state is not None and plug.status is not None:
        yield from _code(f.PLUG_STATE, labels, plug.state_code, (plug.state.word,))
        yield from _code(f.PLUG_STATUS, labels, plug.state_code, (plug.status,))
    yield from _code(f.PLUG_ERROR, labels, plug.fault_mask, plug.faults)
    reason = plug.not_charging
    number, active = (0, ()) if reason is None else (reason.number, (reason,))
    yield Sample(f.PLUG_NOT_CHARGING, labels, float(number), active)
    yield from _gauge(f.PLUG_CONNECTED, labels, plug.vehicle_connected)
    yield from _gauge(f.PLUG_LOCKED, labels, plug.locked)
    yield from _gauge(f.PLUG_ENABLED, labels, plug.enabled)
    yield from _gauge(f.PLUG_ENERGY, labels, plug.energy)
    session = plug.session
    if plug.is_register and plug.energy is not None and session.meter_energy is not None:
        yield from _gauge(f.PLUG_METER_DIFFERENCE, labels, round(plug.energy - session.meter_energy, 6))
    for family, measured in (
        # A board sums over phases, and a sum without one of them is a wrong number.
        (f.PLUG_POWER, Measured() if plug.powers.is_unread else plug.powers),
        (f.PLUG_CURRENT, plug.currents),
        (f.PLUG_VOLTAGE, plug.voltages),
    ):
        for phase, value in measured.by_phase:
            yield from _gauge(family, (plug.name, phase), value)
    yield from _gauge(f.PLUG_CURRENT_MAX, labels, limits.socket)
    yield from _gauge(f.PLUG_REDUCTION, labels, limits.reduction)
    yield from _gauge(f.PLUG_CURRENT_LIMIT, labels, limits.allowed)
    yield from _gauge(f.CHARGE_ENERGY, labels, session.energy)
    yield from _gauge(f.CHARGE_REQUEST, labels, session.requested)
    yield from _gauge(f.CHARGE_BEGIN, labels, session.began)
    yield from _gauge(f.CHARGE_END, labels, session.ended)
    yield from _gauge(f.CHARGE_DURATION, labels, session.duration)
    if plug.stop_reason is not None:
        yield from _code(f.CHARGE_STOP_REASON, labels, session.stop_reason, (plug.stop_reason,))
