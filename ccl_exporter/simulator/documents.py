"""The documents that an engine serves, under /services/.

Those of chargePointsInterface have watt-hours and Unix seconds (protocol 2.2, 9).
"""

from __future__ import annotations

import base64
import random
import struct
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache

from ccl_exporter.simulator.answers import Element, leaf, node
from ccl_exporter.simulator.charger_parts import locked
from ccl_exporter.simulator.dialects import Dialect
from ccl_exporter.simulator.physics import State
from ccl_exporter.simulator.simulated_variables import SimulatedDate, SimulatedVariable, Value, time_guid
from ccl_exporter.simulator.site import PlugPlace, Shown, SiteView

_DRIVERS = (
    "CBS4 CCL1ENGINE CCL1MINIEMBEDDED CCL1MINIENGINE CEMC10 CEMC20 CEMC30 COM_TCP1RS COM_TCP2RSPLUS CVM1D "
    "CVMMINI DISPLAYCCL1MINI EDMK GUSERS LM4 MODO3 M1CD TAGREADER"
)


def devices(view: SiteView) -> Element:
    """devices.xml, the same under both roofs (protocol 2)."""
    return node("devices", *(leaf("id", name) for name in view.devices))


def device_info(view: SiteView, names: Iterable[str], root: str, item: str) -> Element:
    """deviceInfo.xml in either spelling of its elements (protocol 2.1 and 2.2)."""
    return node(root, *(_one_device(view, name, item) for name in names if name in view.devices))


def _one_device(view: SiteView, name: str, item: str) -> Element:
    device = view.devices[name]
    children = [leaf("id", name), leaf("type", device.type)]
    children.append(leaf("typeDescription", view.display(device.type_description)))
    if device.serial:
        children.append(leaf("serialNumber", device.serial))
    if device.modules:
        modules = (node("module", leaf("stNum", n), leaf("model", model)) for n, model in device.modules)
        children.append(node("modules", *modules))
    children += [leaf("var", f"{name}.{short}") for short in sorted(v.name for v in device.variables)]
    return node(item, *children)


def values(view: SiteView, shown: Iterable[Shown]) -> Element:
    """values.xml (protocol 3.1)."""
    return node("values", *(_value(item, view.dialect) for item in _doubled(view, shown)))


def _value(item: Shown, dialect: Dialect) -> Element:
    name, value = leaf("id", item.full), item.value
    if isinstance(value, str):
        # A text that is empty is an id alone, in every sample.
        return node("variable", name, leaf("textValue", value)) if value else node("variable", name)
    text = _written(value, dialect)
    return node("variable", name) if text is None else node("variable", name, leaf("value", text))


def device_state(view: SiteView, name: str | None) -> Element:
    """deviceState.xml, which distinguishes numbers, texts and dates (protocol 3.2)."""
    if name is None or name not in view.devices:
        return node("deviceState")
    variables = (
        node("variable", leaf("id", item.full), *_typed(item.value, view.dialect))
        for item in _doubled(view, view.shown(name))
    )
    guid = view.site.guid(view.devices[name].name)
    return node("deviceState", leaf("id", guid), leaf("device", name), *variables)


def _typed(value: Value, dialect: Dialect) -> list[Element]:
    if isinstance(value, str):
        return [node("text", leaf("textStr", value))]
    text = _written(value, dialect)
    if text is None:
        return []
    if isinstance(value, SimulatedDate):
        return [node("text", node("textDate", leaf("date", text)))]
    if value is None and dialect.no_value != "nan":
        return [node("text", leaf("textStr", text))]
    return [node("text", node("textValue", leaf("value", text)))]


def _written(value: float | SimulatedDate | None, dialect: Dialect) -> str | None:
    if value is None:
        return {"dash": "-", "missing": None, "empty": "", "nan": "nan"}[dialect.no_value]
    if isinstance(value, float | int):
        return f"{value:.6f}"
    moment = datetime.fromtimestamp(value.unix, UTC)
    milliseconds = f"{moment.microsecond // 1000:03d}" if dialect.date_digits == 17 else ""
    return moment.strftime("%d%m%Y%H%M%S") + milliseconds


def _doubled(view: SiteView, shown: Iterable[Shown]) -> Iterable[Shown]:
    names = {fault.arg for fault in view.faults if fault.kind == "duplicate"}
    for item in shown:
        yield item
        if names and isinstance(item.value, float) and ("" in names or item.full in names):
            yield Shown(item.full, item.variable, item.value + 1)


def var_info(view: SiteView, shown: Iterable[tuple[Shown, bool]]) -> Element:
    """varInfo.xml; each variable comes with whether it was asked for by id= (protocol 4)."""
    return node("varInfo", *(_description(view, item, by_id) for item, by_id in shown))


def _description(view: SiteView, item: Shown, by_id: bool) -> Element:
    variable, dialect = item.variable, view.dialect
    short = by_id and dialect.short_ids
    children = [leaf("id", variable.name if short else item.full)]
    if dialect.id_ex:
        children.append(leaf("idEx", item.full))
    children += [
        leaf("title", view.display(variable.title)),
        leaf("hasValue", flag(variable.has_value)),
        leaf("hasLogger", "F"),
        leaf("hasForced", flag(variable.forced)),
        leaf("sampleMode", variable.sample_mode),
    ]
    if variable.units is not None and dialect.units != "absent":
        children.append(leaf("measureUnits", "#QUUX" if dialect.units == "unknown" else variable.units))
    children += [leaf("unitsFactor", variable.factor), leaf("decimals", variable.decimals)]
    if dialect.typed_var_info:
        children += _type_of(variable)
    return node("var", *children)


def _type_of(variable: SimulatedVariable) -> list[Element]:
    kind = {"number": "double", "text": "wchar", "date": "date"}[variable.kind]
    if variable.name == "STATUS":
        kind = "word"
    if not variable.forced:
        return [leaf("varType", kind)]
    if variable.units is not None:
        control = [leaf("ctrlType", "EDIT"), leaf("type", "double"), leaf("min", 0), leaf("max", 100)]
        return [leaf("varType", kind), node("valueInfo", *control)]
    options = (
        node("option", leaf("xmlValue", f"<value>{code}</value>"), leaf("value", word))
        for code, word in ((0, "Off"), (1, "On"))
    )
    control = [leaf("ctrlType", "COMBO"), leaf("type", "double"), node("options", *options)]
    return [leaf("varType", kind), node("valueInfo", *control)]


def status(view: SiteView) -> Element:
    """status.xml (protocol 2.2)."""
    *stamps, event = (leaf(name, guid) for name, guid in view.site.stamps().items())
    count = leaf("activeEvents", view.site.active_events)
    return node("systemStatus", leaf("deviceStatus", 1), *stamps, count, event)


def information(view: SiteView) -> Element:
    """information.xml, about 26 kB of it pictures (protocol 2.2)."""
    drivers = (
        node("device", leaf("type", name), leaf("name", name.title()), leaf("image", _picture(name)))
        for name in _DRIVERS.split()
    )
    return node(
        "systemInformation",
        leaf("name", "CirCarLife Scada"),
        leaf("version", view.dialect.version),
        leaf("company", "Circontrol"),
        leaf("mainDevice", view.site.guid(view.site.model.main_device)),
        leaf("type", 8),
        leaf("olsonTimeZone", "UTC"),
        node("devices", *drivers),
    )


@cache
def _picture(name: str) -> str:
    pixels = random.Random(name).randbytes(16 * 64)
    rows = b"".join(b"\0" + pixels[row * 64 : row * 64 + 64] for row in range(16))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 6, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


def flag(value: bool) -> str:
    """A boolean as documents of descriptions write it."""
    return "T" if value else "F"


def plugs(view: SiteView, root: str, item: str, parts: Callable[[SiteView, PlugPlace], list[Element]]) -> Element:
    """A document that has an item for each plug; `parts` is what it says of a plug besides its names."""
    items = (
        node(
            item,
            leaf("id", f"{view.site.guid(place.engine)}.{view.site.guid(place.plug.name)}"),
            leaf("name", view.display_plug(place)),
            leaf("number", place.plug.number),
            *parts(view, place),
        )
        for place in view.places
    )
    return node(root, *items)


def plug_info(view: SiteView, place: PlugPlace) -> list[Element]:
    """plugInfo.xml: which meter and which controller belong to a plug."""
    return [
        leaf("chargeMode", 3),
        leaf("connectorType", place.connector),
        leaf("supportedCurrent", 32),
        leaf("EVCommDevice", view.display(place.mode3)),
        leaf("hasCover", "F"),
        leaf("hasLock", "T"),
        leaf("meter", view.display(place.meter)),
    ]


def plug_state(view: SiteView, place: PlugPlace) -> list[Element]:
    """plugState.xml: state, error bits, vehicle and lock (codes in protocol 9.1)."""
    plug = place.plug
    return [
        leaf("state", int(plug.state)),
        leaf("previousState", int(plug.previous)),
        leaf("stateDate", _seconds(view, plug.changed)),
        leaf("error", plug.error),
        leaf("vehicleConnected", flag(plug.vehicle is not None)),
        leaf("locked", flag(locked(plug))),
    ]


def charge_info(view: SiteView, place: PlugPlace) -> list[Element]:
    """chargeInfo.xml: the present charge, or the last one, which keeps its energy (protocol 12)."""
    plug, charge = place.plug, place.plug.charge
    elapsed = plug.charge_seconds_at(view.now)
    if charge.began is not None:
        # As it counts by its own clock, which may have been set meanwhile.
        ended = view.now if charge.ended is None else charge.ended
        elapsed = view.clock(ended) - view.clock(charge.began)
    return [
        leaf("chargeId", _charge_id(place)),
        leaf("state", int(plug.state)),
        leaf("user", charge.user),
        leaf("activeEnergy", f"{view.zeroed(plug.register_at(view.now)):.6f}"),
        leaf("partialActiveEnergy", f"{view.zeroed(plug.charge_energy_at(view.now)):.6f}"),
        leaf("requestDate", _seconds(view, charge.requested)),
        leaf("beginDate", _seconds(view, charge.began)),
        leaf("endDate", _seconds(view, charge.ended)),
        leaf("chargeTime", -1 if elapsed is None else int(elapsed)),
        leaf("stopped", int(charge.stopped)),
    ]


def charge_state(view: SiteView, place: PlugPlace) -> list[Element]:
    """chargeState.xml: how many phases charge."""
    phases = place.plug.phases if place.plug.state is State.CHARGING else 0
    return [
        leaf("chargeId", _charge_id(place)),
        leaf("state", int(place.plug.state)),
        leaf("chargingPhases", phases),
    ]


def _charge_id(place: PlugPlace) -> str:
    return time_guid(place.plug.charge.requested, f"5EA{place.plug.number:05X}")


def _seconds(view: SiteView, unix: float | None) -> str:
    return "-1.000000" if unix is None else f"{view.clock(unix):.6f}"
