"""The CCL-WBM-SMART wallbox: six devices with 171 variables (protocol 9)."""

from __future__ import annotations

from collections.abc import Callable

from ccl_exporter.simulator import charger_parts as parts
from ccl_exporter.simulator.physics import SimulatedPlug
from ccl_exporter.simulator.simulated_charge import State
from ccl_exporter.simulator.simulated_variables import SimulatedDevice, SimulatedVariable, common_variables
from ccl_exporter.simulator.site import PlugPlace, SiteModel

_ENGINE, _MODE3, _METER = "EVSE", "Plug - Mode 3", "Plug - Meter"
_BOARD, _DISPLAY, _READER = "CCL1Mini", "Display", "Reader"

_WORDS = {
    State.AVAILABLE: "Ready",
    State.WAITING_FOR_PERMISSION: "Show your tag",
    State.WAITING_FOR_VEHICLE: "SimulatedPlug in your car",
    State.CHARGING: "Charging",
    State.DISABLED: "Switched off",
    State.ERROR: "Fault",
}


def _numbers(
    pattern: str, title: str, numbers: range, forced: bool = False, default: float | None = 0.0
) -> tuple[SimulatedVariable, ...]:
    return tuple(
        SimulatedVariable(pattern.format(n), f"{title} {n}", forced=forced, default=default) for n in numbers
    )


def board_variables() -> tuple[SimulatedVariable, ...]:
    """Variables of the CCL1Mini board: inputs, outputs, temperatures."""
    return (
        *_numbers("DI{}", "Input", range(1, 9)),
        *_numbers("PWMO{}", "Lamp output", range(1, 13)),
        *_numbers("DO{}", "Output", range(1, 5), forced=True),
        *_numbers("RO{}", "Relay", range(1, 3), forced=True),
        *_numbers("KEYPAD{}", "Key", range(1, 5), default=None),
        SimulatedVariable("TCI", "Board temperature C", decimals=1),
        SimulatedVariable("TFI", "Board temperature F", decimals=1),
        SimulatedVariable("RUNTIME", "Running since", kind="date"),
        *common_variables(),
    )


def mode3_variables() -> tuple[SimulatedVariable, ...]:
    """Variables of the Mode 3 controller; the varInfo of four of them was captured (protocol 4)."""
    return (
        SimulatedVariable("ANRCCC", "Cable code, raw", default=152.0),
        SimulatedVariable("RCCC", "Cable code", forced=True, default=32.0),
        SimulatedVariable("STCHPLUG", "Pilot letter"),
        SimulatedVariable("APILOT", "Pilot line, raw"),
        SimulatedVariable("INDIGITAL", "Digital inputs"),
        SimulatedVariable("RELEOUT", "Contactor"),
        SimulatedVariable("OUTPILOT", "Pilot output", default=1.0),
        SimulatedVariable("ERROR", "Controller error"),
        SimulatedVariable("LOCK_STATUS", "Lock position", default=None),
        SimulatedVariable("CC", "Cable present", default=1.0),
        SimulatedVariable("BEGINDATE", "Begin of controller charge", kind="date", default=None),
        SimulatedVariable("ENDDATE", "End of controller charge", kind="date", default=None),
        SimulatedVariable("TIME", "Controller charge time", default=None),
        SimulatedVariable("PREDUCTION", "Reduce power by", "#PERCENT", forced=True),
        SimulatedVariable("INTENSITY", "Largest current of socket", "#A", forced=True),
        SimulatedVariable("EOUTPILOT", "Pilot output enabled"),
        SimulatedVariable("STBLOCK", "Locked"),
        SimulatedVariable("OUT_OF_SERVICE", "Taken out of service", forced=True),
        SimulatedVariable("BEACON", "Lamp", forced=True),
        SimulatedVariable("BEACON_R", "Lamp red", forced=True),
        SimulatedVariable("BEACON_G", "Lamp green", forced=True),
        SimulatedVariable("BEACON_B", "Lamp blue", forced=True),
        SimulatedVariable("PWM_STATE", "Pilot modulated"),
        SimulatedVariable("PILOT_STATE", "Pilot state"),
        SimulatedVariable("KEEP_PILOT_ALIVE", "Keep pilot", default=1.0),
        SimulatedVariable("DIGITAL_COM", "Digital communication"),
        SimulatedVariable("STATE", "Controller state", forced=True, default=-100.0),
        SimulatedVariable("EV_CONNECTED", "Vehicle at controller"),
        *common_variables(),
    )


def meter_variables() -> tuple[SimulatedVariable, ...]:
    """Variables of the CVM-1D meter in kW, kvar, kVA, kWh and kvarh (protocol 3.4 and 9)."""
    quantities = (
        ("V", "Voltage", "#V", 0, 1),
        ("A", "Current", "#A", 0, 2),
        ("AP", "Active power", "#W", 3, 3),
        ("IP", "Inductive power", "#VARL", 3, 3),
        ("CP", "Capacitive power", "#VARC", 3, 3),
        ("VA", "Apparent power", "#VA", 3, 3),
        ("PF", "Power factor", "#PF", 0, 2),
    )
    # The sample unit shows a power factor of 2.55 as its minimum: a byte of ones (protocol 3.3).
    minima = {"A": 0.04, "PF": 2.55}
    registers = (("A", "Active", "#WH"), ("I", "Inductive", "#VARLH"), ("C", "Capacitive", "#VARCH"))
    return (
        *(SimulatedVariable(f"{n}I", title, u, f, d, default=0.0) for n, title, u, f, d in quantities),
        *(
            SimulatedVariable(
                f"{n}MX", f"{title}, largest", u, f, d, sample_mode="max", default=1.0 if n == "PF" else 0.0
            )
            for n, title, u, f, d in quantities
        ),
        *(
            SimulatedVariable(f"{n}MN", f"{title}, least", u, f, d, sample_mode="min", default=minima.get(n, 0.0))
            for n, title, u, f, d in quantities
        ),
        SimulatedVariable("MDI", "Mean power", "#W", 3, 2),
        SimulatedVariable("MDMX", "Mean power, largest", "#W", 3, 2, sample_mode="max"),
        *(
            SimulatedVariable(f"{n}E", f"{title} energy", u, 3, 2, sample_mode="differential")
            for n, title, u in registers
        ),
        *(
            SimulatedVariable(f"P{n}E", f"{title} energy, partial", u, 3, 2, sample_mode="differential")
            for n, title, u in registers
        ),
        *(
            SimulatedVariable(
                f"{sign}{n}E{end}",
                f"{title} energy{', returned' if sign else ''} at {word}",
                u,
                3,
                2,
                has_value=False,
                sample_mode="first" if end == "B" else "last",
                default=None,
            )
            for end, word in (("B", "begin of period"), ("E", "end of period"))
            for sign in ("", "N")
            for n, title, u in registers
        ),
        SimulatedVariable("RPE", "Pulses", default=None),
        *common_variables(),
    )


def plug_variables(plug: str) -> tuple[SimulatedVariable, ...]:
    """Variables of one plug under its engine, named with the plug's own prefix."""
    return (
        SimulatedVariable(f"{plug}.STATE", "SimulatedPlug state"),
        SimulatedVariable(f"{plug}.ERROR", "SimulatedPlug error"),
        SimulatedVariable(f"{plug}.AE", "Energy", "#WH", 3, 2, sample_mode="differential"),
        SimulatedVariable(f"{plug}.AEB", "Energy at begin of period", "#WH", 3, 2, has_value=False, default=None),
        SimulatedVariable(f"{plug}.AEE", "Energy at end of period", "#WH", 3, 2, has_value=False, default=None),
        SimulatedVariable(f"{plug}.AEP", "Energy of this charge", "#WH", 3, 2),
        SimulatedVariable(f"{plug}.API", "Power", "#W", 3, 3),
        SimulatedVariable(f"{plug}.AI", "Current", "#A", 0, 2),
        SimulatedVariable(f"{plug}.VI", "Voltage", "#V", 0, 1),
        SimulatedVariable(f"{plug}.OVERCURRENT", "Over-current", default=None),
        SimulatedVariable(f"{plug}.CC", "Vehicle connected"),
        SimulatedVariable(f"{plug}.RESERVE", "Reserved for", forced=True),
        SimulatedVariable(f"{plug}.RESERVE_EX", "Reserved for, text", kind="text", forced=True, default=""),
        SimulatedVariable(f"{plug}.STOPPED", "Why it stopped"),
        SimulatedVariable(f"{plug}.CHARGE", "Charging"),
        SimulatedVariable(f"{plug}.BEACON", "Lamp"),
        SimulatedVariable(f"{plug}.BEACON_R", "Lamp red"),
        SimulatedVariable(f"{plug}.BEACON_G", "Lamp green"),
        SimulatedVariable(f"{plug}.BEACON_B", "Lamp blue"),
        SimulatedVariable(f"{plug}.LOCK", "Locked"),
        SimulatedVariable(f"{plug}.TCCL", "Charge limit timer", default=None),
        SimulatedVariable(f"{plug}.REQUESTDATE", "Charge asked for", kind="date"),
        SimulatedVariable(f"{plug}.BEGINDATE", "Charge began", kind="date"),
        SimulatedVariable(f"{plug}.ENDDATE", "Charge ended", kind="date"),
        SimulatedVariable(f"{plug}.TIME", "Time of this charge"),
        SimulatedVariable(f"{plug}.TOTAL_CHARGE_TIME", "Time of all charges"),
        SimulatedVariable(f"{plug}.CREDITS", "Credit", forced=True),
        SimulatedVariable(f"{plug}.CONSUMED_CREDITS", "Credit used"),
        SimulatedVariable(f"{plug}.ENABLE", "Enabled", forced=True),
        SimulatedVariable(f"{plug}.REMOTE_STOP", "Stop now", forced=True),
        SimulatedVariable(f"{plug}.REMOTE_START", "Start now", forced=True),
        SimulatedVariable(f"{plug}.REMOTE_PAUSE", "Pause now", forced=True),
        SimulatedVariable(f"{plug}.CURRENT_REDUCTION", "Cap on current", forced=True),
    )


def engine_variables(*plugs: str) -> tuple[SimulatedVariable, ...]:
    """Variables of the engine that runs these plugs."""
    return (
        SimulatedVariable("TAG", "Tag"),
        SimulatedVariable("TAG_EX", "Tag, text", kind="text", default=None),
        SimulatedVariable("RUNTIME", "Running since", kind="date"),
        SimulatedVariable("ERROR", "Station error"),
        *(variable for plug in plugs for variable in plug_variables(plug)),
        *common_variables(),
    )


def build(now: float, boot: Callable[[], float]) -> SiteModel:
    """The wallbox as it stands at `now`; `boot` tells when its engine started (Unix seconds)."""
    plug = SimulatedPlug(name=f"{_ENGINE}.PLUG", number=1, settled=now)
    display = (
        SimulatedVariable("TEXT", "Text shown", kind="text", forced=True),
        SimulatedVariable("BACKLIGHT", "Backlight", default=None),
        *common_variables(),
    )
    reader = (
        SimulatedVariable("TAG", "Last tag"),
        SimulatedVariable("TAGEX", "Last tag, text", kind="text"),
        SimulatedVariable("TIME", "Reading time", forced=True, default=2.0),
        SimulatedVariable("BUZZER", "Buzzer", forced=True),
        SimulatedVariable("RESTRICTED", "Restricted"),
        *common_variables(),
    )
    devices = (
        SimulatedDevice(
            _BOARD,
            "CCL1MINIEMBEDDED",
            "CCL1Mini Embedded",
            board_variables(),
            lambda now: {**parts.board_values(plug, now, boot()), "PWMO5": 1.0},
            serial="500100123",
        ),
        SimulatedDevice(
            _DISPLAY,
            "DISPLAYCCL1MINI",
            "CCL1Mini Display",
            display,
            # The display pads its two lines of twenty characters with blanks.
            lambda _now: {"TEXT": f"{'Socket 1':20}{_WORDS.get(plug.state, 'Please wait'):20}"},
        ),
        SimulatedDevice(_MODE3, "MODO3", "M3CD", mode3_variables(), lambda _now: parts.mode3_values(plug)),
        SimulatedDevice(_READER, "TAGREADER", "Tag reader", reader, lambda _now: parts.tag_values(plug)),
        SimulatedDevice(
            _METER, "CVM1D", "CVM-1D", meter_variables(), lambda now: parts.single_phase_meter(plug, now)
        ),
        SimulatedDevice(
            _ENGINE,
            "CCL1ENGINE",
            "CCL1 Engine",
            engine_variables("PLUG"),
            lambda now: {
                **parts.tag_values(plug),
                **parts.board_values(plug, now, boot()),
                **{f"PLUG.{name}": value for name, value in parts.plug_values(plug, now).items()},
            },
        ),
    )
    place = PlugPlace(plug, _ENGINE, _MODE3, _METER, needs=(3000.0, 12_000.0))
    return SiteModel(devices, (place,), parts.plug_writes(plug, _MODE3), main_device=_ENGINE)
