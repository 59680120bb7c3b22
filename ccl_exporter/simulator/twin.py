"""A double charging post with three-phase meters, a gateway with a module, and names that hurt.

Nothing of it was seen on a real charger: the shapes are those of protocol 4 and 11.1, so that what holds
for the wallbox is not taken for a law.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ccl_exporter.simulator import charger_parts as parts
from ccl_exporter.simulator.physics import SimulatedPlug
from ccl_exporter.simulator.simulated_variables import (
    SimulatedDate,
    SimulatedDevice,
    SimulatedVariable,
    Value,
    common_variables,
)
from ccl_exporter.simulator.site import PlugPlace, SiteModel
from ccl_exporter.simulator.wallbox import board_variables, engine_variables, mode3_variables

_ENGINE = "Poste Été"
_BOARD = "Board.1"
_MODE3 = ('Mode 3 "A"', "Mode 3 - 'B'")
_METERS = ("Meter", "Meter.2")
_GATEWAY = "TCP gateway"
_ODDITY = "Café & Co? 1+1 #2 100% R$"

_PHASES = range(1, 4)
_FOREIGN_ENERGY = 87.5


def _meter_variables() -> tuple[SimulatedVariable, ...]:
    return (
        *(SimulatedVariable(f"VI{n}", f"Voltage L{n}", "#V", 0, 1, sample_mode="average") for n in _PHASES),
        *(SimulatedVariable(f"AI{n}", f"Current L{n}", "#A", 0, 2, sample_mode="average") for n in _PHASES),
        *(SimulatedVariable(f"API{n}", f"Active power L{n}", "#W", 3, 3, sample_mode="average") for n in _PHASES),
        *(
            SimulatedVariable(f"PFI{n}", f"Power factor L{n}", "#PF", 0, 2, sample_mode="pfAverage")
            for n in _PHASES
        ),
        *(
            SimulatedVariable(f"AE{n}", f"Active energy L{n}", "#WH", 3, 3, sample_mode="differential")
            for n in _PHASES
        ),
        SimulatedVariable("API", "Active power", "#W", 3, 3, sample_mode="average"),
        SimulatedVariable("IPI", "Inductive power", "#VARL", 3, 3, sample_mode="average"),
        SimulatedVariable("CPI", "Capacitive power", "#VARC", 3, 3, sample_mode="average"),
        SimulatedVariable("VAI", "Apparent power", "#VA", 3, 3, sample_mode="average"),
        SimulatedVariable("AE", "Active energy", "#WH", 3, 3, sample_mode="differential"),
        SimulatedVariable("IE", "Inductive energy", "#VARLH", 3, 3, sample_mode="differential"),
        SimulatedVariable("CE", "Capacitive energy", "#VARCH", 3, 3, sample_mode="differential"),
        SimulatedVariable("HZI", "Frequency", "#HZ", 0, 2, sample_mode="average"),
        SimulatedVariable(
            "AEB", "Active energy at begin", "#WH", 3, 3, has_value=False, sample_mode="first", default=None
        ),
        SimulatedVariable("RSTENERGY", "Reset the registers", forced=True),
        *common_variables(),
    )


def _oddities() -> tuple[SimulatedVariable, ...]:
    """Every unit that a wallbox has not, one that a user made up, and one that nobody knows."""
    return (
        SimulatedVariable("AE", "Active energy", "#WH", 3, 3, sample_mode="differential"),
        SimulatedVariable("CO2", "Emission", "KgCO2", 3, 3, sample_mode="differential"),
        SimulatedVariable("COST", "Cost", "#MONETARY", 0, 2, default=41.37),
        SimulatedVariable("ANGLETHETA", "Angle", "#DEGREES", 0, 1, default=119.8),
        SimulatedVariable("UPTIME", "Time on", "#SECONDS", default=86_400.0),
        SimulatedVariable("HOURS", "Hours counted", "#HOURS", 0, 1, default=1234.5),
        SimulatedVariable("Q", "Reactive demand", "#VAR", 3, 3, sample_mode="maxDemand", default=0.42),
        SimulatedVariable("QE", "Reactive energy", "#VARH", 3, 3, sample_mode="differential", default=17.2),
        SimulatedVariable("SE", "Apparent energy", "#VAH", 3, 3, sample_mode="differential", default=90.1),
        SimulatedVariable("S", "Apparent power", "#VA", 3, 3, default=-0.25),
        SimulatedVariable("LOAD", "Load", "#PERCENT", default=37.0),
        SimulatedVariable("SPEED", "Speed", "#FURLONG", default=2.5),
        SimulatedVariable("PFI", "Power factor", "#PF", 0, 2, default=9998.0),
        SimulatedVariable("LASTRESET", "Last reset", "#DATETIME", kind="date"),
        SimulatedVariable("R$SYS", "System", default=1.0),
        SimulatedVariable("REMARK", "Remark <& friends>", kind="text", default='"Ça va?" <b>&amp;</b>'),
        *common_variables(),
    )


def _gateway_variables() -> tuple[SimulatedVariable, ...]:
    # The module's AE collides with the gateway's own as soon as one forgets the second dotted part.
    return (
        SimulatedVariable("AE", "Energy of all modules", "#WH", 3, 3, sample_mode="differential"),
        *(
            SimulatedVariable(f"Module{n}.{short}", f"Module {n} {title}", units, 3, 3, sample_mode=mode)
            for n in (1, 2)
            for short, title, units, mode in (
                ("AE", "energy", "#WH", "differential"),
                ("API", "power", "#W", "average"),
            )
        ),
        *common_variables(),
    )


def _gateway_values(now: float, start: float) -> Mapping[str, Value]:
    """Two constant loads of 1.5 and 0.25 kW behind the gateway."""
    hours = (now - start) / 3600
    first, second = _FOREIGN_ENERGY + 1.5 * hours, _FOREIGN_ENERGY + 0.25 * hours
    return {
        "AE": round(first + second, 3),
        "Module1.AE": round(first, 3),
        "Module1.API": 1.5,
        "Module2.AE": round(second, 3),
        "Module2.API": 0.25,
    }


def build(now: float, boot: Callable[[], float]) -> SiteModel:
    """The post as it stands at `now`; `boot` tells when its engine started (Unix seconds)."""
    started = now
    names = ("PLUG_A", "PLUG_B")
    plugs = tuple(
        SimulatedPlug(name=f"{_ENGINE}.{name}", number=number, settled=now, phases=3, energy=energy)
        for number, (name, energy) in enumerate(zip(names, (9_876_540.0, 345_670.0), strict=True), start=1)
    )

    def engine_values(now: float) -> Mapping[str, Value]:
        values: dict[str, Value] = {**parts.tag_values(*plugs), "RUNTIME": SimulatedDate(boot())}
        for name, plug in zip(names, plugs, strict=True):
            values |= {f"{name}.{short}": value for short, value in parts.plug_values(plug, now).items()}
        return values

    def odd_values(now: float) -> Mapping[str, Value]:
        energy = round(_FOREIGN_ENERGY + (now - started) / 3600, 3)
        return {"AE": energy, "CO2": round(energy * 0.3, 3), "LASTRESET": SimulatedDate(started - 86_400)}

    def mode3(name: str, plug: SimulatedPlug) -> SimulatedDevice:
        return SimulatedDevice(name, "MODO3", "M3CD", mode3_variables(), lambda _now: parts.mode3_values(plug))

    def meter(name: str, kind: str, label: str, plug: SimulatedPlug) -> SimulatedDevice:
        return SimulatedDevice(
            name, kind, label, _meter_variables(), lambda now: parts.three_phase_meter(plug, now)
        )

    devices = (
        SimulatedDevice(_ENGINE, "CCL2ENGINE", "CCL2 Engine", engine_variables(*names), engine_values),
        SimulatedDevice(
            _BOARD,
            "CCL1MINIEMBEDDED",
            "CCL1Mini Embedded",
            board_variables(),
            lambda now: parts.board_values(plugs[0], now, boot()),
            serial="500200456",
        ),
        mode3(_MODE3[0], plugs[0]),
        mode3(_MODE3[1], plugs[1]),
        meter(_METERS[0], "CVMMINI", "CVM-Mini", plugs[0]),
        meter(_METERS[1], "CEMC30", "CEM-C30", plugs[1]),
        SimulatedDevice(
            _GATEWAY,
            "COM_TCP2RSPLUS",
            "TCP2RS+",
            _gateway_variables(),
            lambda now: _gateway_values(now, started),
            serial="500300789",
            modules=(("1", "CEM-C10"), ("2", "CEM-C10")),
        ),
        SimulatedDevice(_ODDITY, "CVMMINI", "CVM-Mini", _oddities(), odd_values),
    )
    places = tuple(
        PlugPlace(plug, _ENGINE, _MODE3[i], _METERS[i], (8000.0, 30_000.0), delay=40.0 * i, connector="type2")
        for i, plug in enumerate(plugs)
    )
    writes = {**parts.plug_writes(plugs[0], _MODE3[0]), **parts.plug_writes(plugs[1], _MODE3[1])}
    return SiteModel(devices, places, writes, main_device=_ENGINE)
