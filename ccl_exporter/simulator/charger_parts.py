"""Values that the devices around a plug show and take, shared by the models (protocol 9)."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping

from ccl_exporter.simulator.physics import POWER_FACTOR, RATED_AMPERES, SimulatedPlug, State, Stop, mains_voltage
from ccl_exporter.simulator.simulated_variables import SimulatedDate, SimulatedDevice, Value, variables
from ccl_exporter.simulator.site import Write

_TAN_PHI = math.tan(math.acos(POWER_FACTOR))
_FIRST_CAPACITIVE = 78.12
_LEAST_VOLTS, _MOST_VOLTS = 218.3, 246.8
"""What the meter keeps of the time before the simulation."""
_BEACON_GREEN = 256.0
"""The one lamp value that is known; those of red and blue are guesses."""
_BEACON_RED, _BEACON_BLUE = 512.0, 1024.0


def plug_values(plug: SimulatedPlug, now: float) -> dict[str, Value]:
    """Variables of one plug under its engine, without the plug's prefix."""
    charge = plug.charge
    elapsed = plug.charge_seconds_at(now)
    running = (elapsed or 0.0) if charge.ended is None else 0.0
    red, green, blue = _lamp(plug)
    return {
        "STATE": float(plug.state),
        "ERROR": float(plug.error),
        "AE": round(plug.register_at(now) / 1000, 2),
        "AEP": round(plug.charge_energy_at(now) / 1000, 2),
        "API": round(plug.watts / 1000, 3),
        "AI": round(plug.amperes, 2),
        "VI": round(voltage(plug, now, 0), 1),
        "CC": float(plug.vehicle is not None),
        # protocol 9: this variable read 6 while chargeInfo of the same charge said 5.
        "STOPPED": float(charge.stopped + 1),
        "CHARGE": float(plug.state is State.CHARGING),
        "BEACON": red * _BEACON_RED + green * _BEACON_GREEN + blue * _BEACON_BLUE,
        "BEACON_R": red,
        "BEACON_G": green,
        "BEACON_B": blue,
        "LOCK": float(locked(plug)),
        "REQUESTDATE": SimulatedDate(charge.requested),
        "BEGINDATE": None if charge.began is None else SimulatedDate(charge.began),
        "ENDDATE": None if charge.ended is None else SimulatedDate(charge.ended),
        "TIME": None if elapsed is None else round(elapsed, 3),
        "TOTAL_CHARGE_TIME": round(plug.total_seconds + running, 3),
        "ENABLE": float(plug.limits.enabled),
        "REMOTE_STOP": float(plug.remote_shows(now, "REMOTE_STOP")),
        "REMOTE_START": float(plug.remote_shows(now, "REMOTE_START")),
        "REMOTE_PAUSE": float(plug.remote_shows(now, "REMOTE_PAUSE")),
        "CURRENT_REDUCTION": plug.limits.cap,
    }


def tag_values(*plugs: SimulatedPlug) -> dict[str, Value]:
    """The tag of the session, as an engine and its reader show it: personal data."""
    user = next((plug.charge.user for plug in plugs if plug.under_way() and plug.charge.user), "")
    if not user:
        return {"TAG": 0.0, "TAG_EX": None, "TAGEX": ""}
    return {"TAG": float(zlib.crc32(user.encode())), "TAG_EX": user, "TAGEX": user}


def mode3(name: str, plug: SimulatedPlug) -> SimulatedDevice:
    """The Mode 3 controller that owns the plug's pilot line."""
    return SimulatedDevice(name, "MODO3", "M3CD", variables("mode3"), lambda _now: _mode3_values(plug))


def _mode3_values(plug: SimulatedPlug) -> dict[str, Value]:
    connected, charging = plug.vehicle is not None, plug.state is State.CHARGING
    letter = "C" if charging else "B" if connected else "A"
    return {
        "STCHPLUG": float(ord(letter)),
        "APILOT": {"A": 895.0, "B": 671.0, "C": 448.0}[letter],
        "PILOT_STATE": {"A": 1.0, "B": 2.0, "C": 3.0}[letter],
        "PWM_STATE": float(connected),
        "RELEOUT": float(charging),
        "EV_CONNECTED": float(connected),
        "STBLOCK": float(locked(plug)),
        "ERROR": float(plug.error),
        "PREDUCTION": plug.limits.reduction,
        "INTENSITY": plug.limits.intensity,
        "OUT_OF_SERVICE": float(plug.limits.out_of_service),
    }


def single_phase_meter(plug: SimulatedPlug, now: float) -> dict[str, Value]:
    """Variables of a one-phase meter, in V, A, kW, kvar, kVA, kWh and kvarh."""
    watts, amperes, volts = plug.watts, plug.amperes, voltage(plug, now, 0)
    energy = round(plug.register_at(now) / 1000, 2)
    capacitive = round(_FIRST_CAPACITIVE + energy * _TAN_PHI, 2)
    reactive, apparent = round(watts * _TAN_PHI / 1000, 3), round(volts * amperes / 1000, 3)
    return {
        "VI": round(volts, 1),
        "AI": round(amperes, 2),
        "API": round(watts / 1000, 3),
        "IPI": 0.0,
        "CPI": reactive,
        "VAI": apparent,
        "PFI": POWER_FACTOR if amperes else 1.0,
        "VMX": _MOST_VOLTS,
        "AMX": round(plug.peak_amperes, 2),
        "APMX": round(plug.peak_watts / 1000, 3),
        "CPMX": round(plug.peak_watts * _TAN_PHI / 1000, 3),
        "VAMX": round(plug.peak_watts / POWER_FACTOR / 1000, 3),
        "VMN": _LEAST_VOLTS,
        "MDI": round(plug.demand_at(now) / 1000, 2),
        "MDMX": round(plug.peak_demand / 1000, 2),
        "AE": energy,
        "CE": capacitive,
        "PAE": energy,
        "PCE": capacitive,
    }


def three_phase_meter(plug: SimulatedPlug, now: float) -> dict[str, Value]:
    """Variables of a three-phase meter; the phases' registers add up to the total within 10 Wh."""
    energy = plug.register_at(now)
    values: dict[str, Value] = {
        "AE": round(energy / 1000, 2),
        "CE": round(energy * _TAN_PHI / 1000, 2),
        "IE": 0.0,
        "API": round(plug.watts / 1000, 3),
        "CPI": round(plug.watts * _TAN_PHI / 1000, 3),
        "IPI": 0.0,
        "VAI": round(plug.watts / POWER_FACTOR / 1000, 3),
        "HZI": round(50 + 0.02 * math.sin(now / 97), 2),
    }
    for phase, amperes in enumerate(plug.phase_amperes):
        volts, suffix = voltage(plug, now, phase), str(phase + 1)
        values |= {
            f"VI{suffix}": round(volts, 1),
            f"AI{suffix}": round(amperes, 2),
            f"API{suffix}": round(volts * amperes * POWER_FACTOR / 1000, 3),
            f"PFI{suffix}": POWER_FACTOR if amperes else 1.0,
            f"AE{suffix}": math.floor(energy / 30) / 100,
        }
    return values


def board_values(plug: SimulatedPlug, now: float, boot: float) -> dict[str, Value]:
    """Temperatures in Celsius and Fahrenheit, and the date of the engine's start (protocol 9)."""
    celsius = round(plug.heat_at(now), 1)
    return {"TCI": celsius, "TFI": round(celsius * 9 / 5 + 32, 2), "RUNTIME": SimulatedDate(boot)}


def voltage(plug: SimulatedPlug, now: float, phase: int) -> float:
    """Volts of a phase: the present mains while idle, and what the power was reckoned with under load."""
    return plug.volts[phase] if plug.amperes else mains_voltage(math.floor(now), phase, 0)


def locked(plug: SimulatedPlug) -> bool:
    """Whether the socket holds the cable."""
    return plug.under_way() or plug.state is State.STOPPING


def plug_writes(plug: SimulatedPlug, mode3: str) -> Mapping[str, Write]:
    """What can be written to a plug and its Mode 3 device, by full name (protocol 9 and 9.2).

    A value outside its range is accepted and does not take effect.
    """
    limits = plug.limits

    def limit(name: str, most: float) -> Write:
        def write(value: float, at: float) -> None:
            if 0 <= value <= most:
                setattr(limits, name, value)
            plug.limits_changed(at)

        return write

    def switch(name: str) -> Write:
        def write(value: float, at: float) -> None:
            setattr(limits, name, bool(value))
            plug.limits_changed(at)

        return write

    def command(name: str, carry_out: Callable[[float], None]) -> Write:
        def write(value: float, at: float) -> None:
            if value:
                plug.remote_written(at, name)
                carry_out(at)

        return write

    return {
        f"{mode3}.PREDUCTION": limit("reduction", 100),
        f"{mode3}.INTENSITY": limit("intensity", RATED_AMPERES),
        f"{mode3}.OUT_OF_SERVICE": switch("out_of_service"),
        f"{plug.name}.CURRENT_REDUCTION": limit("cap", RATED_AMPERES),
        f"{plug.name}.ENABLE": switch("enabled"),
        f"{plug.name}.REMOTE_START": command("REMOTE_START", plug.start_remotely),
        f"{plug.name}.REMOTE_STOP": command("REMOTE_STOP", lambda at: plug.stop(at, Stop.REMOTE)),
        f"{plug.name}.REMOTE_PAUSE": command("REMOTE_PAUSE", plug.pause),
    }


def _lamp(plug: SimulatedPlug) -> tuple[float, float, float]:
    if plug.state in (State.ERROR, State.DISABLED):
        return 1.0, 0.0, 0.0
    if plug.state is State.AVAILABLE:
        return 0.0, 1.0, 0.0
    return 0.0, 0.0, 1.0
