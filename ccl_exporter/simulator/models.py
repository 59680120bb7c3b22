"""The kinds of charger: a wallbox that was seen, and a double post that was not.

The variables of their devices stand in `devices.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ccl_exporter.simulator import charger_parts as parts
from ccl_exporter.simulator.physics import SimulatedPlug, State
from ccl_exporter.simulator.simulated_variables import SimulatedDate, SimulatedDevice, Value, variables
from ccl_exporter.simulator.site import PlugPlace, SiteModel

_WORDS = {
    State.AVAILABLE: "Ready",
    State.WAITING_FOR_PERMISSION: "Show your tag",
    State.WAITING_FOR_VEHICLE: "Plug in your car",
    State.CHARGING: "Charging",
    State.DISABLED: "Switched off",
    State.ERROR: "Fault",
}
_FOREIGN_ENERGY = 87.5
"""Kilowatt-hours at the start, of what no plug took."""


def wallbox(now: float, boot: Callable[[], float]) -> SiteModel:
    """The CCL-WBM-SMART: six devices with 171 variables (protocol 9).

    It stands as at `now`; `boot` gives the start of its engine (Unix seconds).
    """
    engine, mode3, meter = "EVSE", "Plug - Mode 3", "Plug - Meter"
    plug = SimulatedPlug(name=f"{engine}.PLUG", number=1, settled=now)

    def engine_values(now: float) -> Mapping[str, Value]:
        plug_values = {f"PLUG.{name}": value for name, value in parts.plug_values(plug, now).items()}
        return {**parts.tag_values(plug), **parts.board_values(plug, now, boot()), **plug_values}

    devices = (
        SimulatedDevice(
            "CCL1Mini",
            "CCL1MINIEMBEDDED",
            "CCL1Mini Embedded",
            variables("board"),
            lambda now: {**parts.board_values(plug, now, boot()), "PWMO5": 1.0},
            serial="500100123",
        ),
        SimulatedDevice(
            "Display",
            "DISPLAYCCL1MINI",
            "CCL1Mini Display",
            variables("display"),
            # The display pads its two lines of twenty characters with blanks.
            lambda _now: {"TEXT": f"{'Socket 1':20}{_WORDS.get(plug.state, 'Please wait'):20}"},
        ),
        parts.mode3(mode3, plug),
        SimulatedDevice(
            "Reader", "TAGREADER", "Tag reader", variables("reader"), lambda _now: parts.tag_values(plug)
        ),
        SimulatedDevice(
            meter,
            "CVM1D",
            "CVM-1D",
            variables("single_phase_meter"),
            lambda now: parts.single_phase_meter(plug, now),
        ),
        SimulatedDevice(engine, "CCL1ENGINE", "CCL1 Engine", variables("engine", "PLUG"), engine_values),
    )
    place = PlugPlace(plug, engine, mode3, meter, needs=(3000.0, 12_000.0))
    return SiteModel(devices, (place,), parts.plug_writes(plug, mode3), main_device=engine)


def twin(now: float, boot: Callable[[], float]) -> SiteModel:
    """A double charging post with three-phase meters, a gateway with a module, and names that hurt.

    Nothing of it was seen on a real charger: the shapes are those of protocol 4 and 11.1, so that what holds
    for the wallbox is not taken for a law.
    It stands as at `now`; `boot` gives the start of its engine (Unix seconds).
    """
    started = now
    engine = "Poste Été"
    names = ("PLUG_A", "PLUG_B")
    modes3 = ('Mode 3 "A"', "Mode 3 - 'B'")
    meters = ("Meter", "Meter.2")
    plugs = tuple(
        SimulatedPlug(name=f"{engine}.{name}", number=number, settled=now, phases=3, energy=energy)
        for number, (name, energy) in enumerate(zip(names, (9_876_540.0, 345_670.0), strict=True), start=1)
    )

    def engine_values(now: float) -> Mapping[str, Value]:
        values: dict[str, Value] = {**parts.tag_values(*plugs), "RUNTIME": SimulatedDate(boot())}
        for name, plug in zip(names, plugs, strict=True):
            values |= {f"{name}.{short}": value for short, value in parts.plug_values(plug, now).items()}
        return values

    def gateway_values(now: float) -> Mapping[str, Value]:
        """Two constant loads of 1.5 and 0.25 kW behind the gateway."""
        hours = (now - started) / 3600
        first, second = _FOREIGN_ENERGY + 1.5 * hours, _FOREIGN_ENERGY + 0.25 * hours
        return {
            "AE": round(first + second, 3),
            "Module1.AE": round(first, 3),
            "Module1.API": 1.5,
            "Module2.AE": round(second, 3),
            "Module2.API": 0.25,
        }

    def odd_values(now: float) -> Mapping[str, Value]:
        energy = round(_FOREIGN_ENERGY + (now - started) / 3600, 3)
        return {"AE": energy, "CO2": round(energy * 0.3, 3), "LASTRESET": SimulatedDate(started - 86_400)}

    def meter(name: str, kind: str, label: str, plug: SimulatedPlug) -> SimulatedDevice:
        return SimulatedDevice(
            name, kind, label, variables("three_phase_meter"), lambda now: parts.three_phase_meter(plug, now)
        )

    devices = (
        SimulatedDevice(engine, "CCL2ENGINE", "CCL2 Engine", variables("engine", *names), engine_values),
        SimulatedDevice(
            "Board.1",
            "CCL1MINIEMBEDDED",
            "CCL1Mini Embedded",
            variables("board"),
            lambda now: parts.board_values(plugs[0], now, boot()),
            serial="500200456",
        ),
        parts.mode3(modes3[0], plugs[0]),
        parts.mode3(modes3[1], plugs[1]),
        meter(meters[0], "CVMMINI", "CVM-Mini", plugs[0]),
        meter(meters[1], "CEMC30", "CEM-C30", plugs[1]),
        SimulatedDevice(
            "TCP gateway",
            "COM_TCP2RSPLUS",
            "TCP2RS+",
            variables("gateway"),
            gateway_values,
            serial="500300789",
            modules=(("1", "CEM-C10"), ("2", "CEM-C10")),
        ),
        SimulatedDevice("Café & Co? 1+1 #2 100% R$", "CVMMINI", "CVM-Mini", variables("oddity"), odd_values),
    )
    places = tuple(
        PlugPlace(plug, engine, modes3[i], meters[i], (8000.0, 30_000.0), delay=40.0 * i, connector="type2")
        for i, plug in enumerate(plugs)
    )
    writes = {**parts.plug_writes(plugs[0], modes3[0]), **parts.plug_writes(plugs[1], modes3[1])}
    return SiteModel(devices, places, writes, main_device=engine)


MODELS: Mapping[str, Callable[[float, Callable[[], float]], SiteModel]] = MappingProxyType(
    {"wallbox": wallbox, "twin": twin}
)
"""Kinds of engine by name."""
