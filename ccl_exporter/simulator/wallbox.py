"""The CCL-WBM-SMART wallbox: six devices with 171 variables (protocol.md 9)."""

from __future__ import annotations

from collections.abc import Callable

from ccl_exporter.simulator import charger_parts as parts
from ccl_exporter.simulator.charge import State
from ccl_exporter.simulator.physics import Plug
from ccl_exporter.simulator.site import Model, PlugPlace
from ccl_exporter.simulator.variables import Device, Variable, common_variables

_ENGINE, _MODE3, _METER = "EVSE", "Plug - Mode 3", "Plug - Meter"
_BOARD, _DISPLAY, _READER = "CCL1Mini", "Display", "Reader"

_WORDS = {
    State.AVAILABLE: "Ready",
    State.WAITING_FOR_PERMISSION: "Show your tag",
    State.WAITING_FOR_VEHICLE: "Plug in your car",
    State.CHARGING: "Charging",
    State.DISABLED: "Switched off",
    State.ERROR: "Fault",
}


def _numbers(
    pattern: str, title: str, numbers: range, forced: bool = False, default: float | None = 0.0
) -> tuple[Variable, ...]:
    return tuple(Variable(pattern.format(n), f"{title} {n}", forced=forced, default=default) for n in numbers)


def board_variables() -> tuple[Variable, ...]:
    """Variables of the CCL1Mini board: inputs, outputs, temperatures."""
    return (
        *_numbers("DI{}", "Input", range(1, 9)),
        *_numbers("PWMO{}", "Lamp output", range(1, 13)),
        *_numbers("DO{}", "Output", range(1, 5), forced=True),
        *_numbers("RO{}", "Relay", range(1, 3), forced=True),
        *_numbers("KEYPAD{}", "Key", range(1, 5), default=None),
        Variable("TCI", "Board temperature C", decimals=1),
        Variable("TFI", "Board temperature F", decimals=1),
        Variable("RUNTIME", "Running since", kind="date"),
        *common_variables(),
    )


def mode3_variables() -> tuple[Variable, ...]:
    """Variables of the Mode 3 controller; five of them were seen with their varInfo (protocol.md 4)."""
    return (
        Variable("ANRCCC", "Cable code, raw", default=152.0),
        Variable("RCCC", "Cable code", forced=True, default=32.0),
        Variable("STCHPLUG", "Pilot letter"),
        Variable("APILOT", "Pilot line, raw"),
        Variable("INDIGITAL", "Digital inputs"),
        Variable("RELEOUT", "Contactor"),
        Variable("OUTPILOT", "Pilot output", default=1.0),
        Variable("ERROR", "Controller error"),
        Variable("LOCK_STATUS", "Lock position", default=None),
        Variable("CC", "Cable present", default=1.0),
        Variable("BEGINDATE", "Begin of controller charge", kind="date", default=None),
        Variable("ENDDATE", "End of controller charge", kind="date", default=None),
        Variable("TIME", "Controller charge time", default=None),
        Variable("PREDUCTION", "Reduce power by", "#PERCENT", forced=True),
        Variable("INTENSITY", "Largest current of socket", "#A", forced=True),
        Variable("EOUTPILOT", "Pilot output enabled"),
        Variable("STBLOCK", "Locked"),
        Variable("OUT_OF_SERVICE", "Taken out of service", forced=True),
        Variable("BEACON", "Lamp", forced=True),
        Variable("BEACON_R", "Lamp red", forced=True),
        Variable("BEACON_G", "Lamp green", forced=True),
        Variable("BEACON_B", "Lamp blue", forced=True),
        Variable("PWM_STATE", "Pilot modulated"),
        Variable("PILOT_STATE", "Pilot state"),
        Variable("KEEP_PILOT_ALIVE", "Keep pilot", default=1.0),
        Variable("DIGITAL_COM", "Digital communication"),
        Variable("STATE", "Controller state", forced=True, default=-100.0),
        Variable("EV_CONNECTED", "Vehicle at controller"),
        *common_variables(),
    )


def meter_variables() -> tuple[Variable, ...]:
    """Variables of the CVM-1D meter in kW, kvar, kVA, kWh and kvarh (protocol.md 3.4 and 9)."""
    quantities = (
        ("V", "Voltage", "#V", 0, 1),
        ("A", "Current", "#A", 0, 2),
        ("AP", "Active power", "#W", 3, 3),
        ("IP", "Inductive power", "#VARL", 3, 3),
        ("CP", "Capacitive power", "#VARC", 3, 3),
        ("VA", "Apparent power", "#VA", 3, 3),
        ("PF", "Power factor", "#PF", 0, 2),
    )
    # The sample unit shows a power factor of 2.55 as its minimum: a byte of ones (protocol.md 3.3).
    minima = {"A": 0.04, "PF": 2.55}
    registers = (("A", "Active", "#WH"), ("I", "Inductive", "#VARLH"), ("C", "Capacitive", "#VARCH"))
    return (
        *(Variable(f"{n}I", title, u, f, d, default=0.0) for n, title, u, f, d in quantities),
        *(
            Variable(f"{n}MX", f"{title}, largest", u, f, d, sample_mode="max", default=1.0 if n == "PF" else 0.0)
            for n, title, u, f, d in quantities
        ),
        *(
            Variable(f"{n}MN", f"{title}, least", u, f, d, sample_mode="min", default=minima.get(n, 0.0))
            for n, title, u, f, d in quantities
        ),
        Variable("MDI", "Mean power", "#W", 3, 2),
        Variable("MDMX", "Mean power, largest", "#W", 3, 2, sample_mode="max"),
        *(Variable(f"{n}E", f"{title} energy", u, 3, 2, sample_mode="differential") for n, title, u in registers),
        *(
            Variable(f"P{n}E", f"{title} energy, partial", u, 3, 2, sample_mode="differential")
            for n, title, u in registers
        ),
        *(
            Variable(
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
        Variable("RPE", "Pulses", default=None),
        *common_variables(),
    )


def plug_variables(plug: str) -> tuple[Variable, ...]:
    """Variables of one plug under its engine, named with the plug's own prefix."""
    return (
        Variable(f"{plug}.STATE", "Plug state"),
        Variable(f"{plug}.ERROR", "Plug error"),
        Variable(f"{plug}.AE", "Energy", "#WH", 3, 2, sample_mode="differential"),
        Variable(f"{plug}.AEB", "Energy at begin of period", "#WH", 3, 2, has_value=False, default=None),
        Variable(f"{plug}.AEE", "Energy at end of period", "#WH", 3, 2, has_value=False, default=None),
        Variable(f"{plug}.AEP", "Energy of this charge", "#WH", 3, 2),
        Variable(f"{plug}.API", "Power", "#W", 3, 3),
        Variable(f"{plug}.AI", "Current", "#A", 0, 2),
        Variable(f"{plug}.VI", "Voltage", "#V", 0, 1),
        Variable(f"{plug}.OVERCURRENT", "Over-current", default=None),
        Variable(f"{plug}.CC", "Vehicle connected"),
        Variable(f"{plug}.RESERVE", "Reserved for", forced=True),
        Variable(f"{plug}.RESERVE_EX", "Reserved for, text", kind="text", forced=True, default=""),
        Variable(f"{plug}.STOPPED", "Why it stopped"),
        Variable(f"{plug}.CHARGE", "Charging"),
        Variable(f"{plug}.BEACON", "Lamp"),
        Variable(f"{plug}.BEACON_R", "Lamp red"),
        Variable(f"{plug}.BEACON_G", "Lamp green"),
        Variable(f"{plug}.BEACON_B", "Lamp blue"),
        Variable(f"{plug}.LOCK", "Locked"),
        Variable(f"{plug}.TCCL", "Charge limit timer", default=None),
        Variable(f"{plug}.REQUESTDATE", "Charge asked for", kind="date"),
        Variable(f"{plug}.BEGINDATE", "Charge began", kind="date"),
        Variable(f"{plug}.ENDDATE", "Charge ended", kind="date"),
        Variable(f"{plug}.TIME", "Time of this charge"),
        Variable(f"{plug}.TOTAL_CHARGE_TIME", "Time of all charges"),
        Variable(f"{plug}.CREDITS", "Credit", forced=True),
        Variable(f"{plug}.CONSUMED_CREDITS", "Credit used"),
        Variable(f"{plug}.ENABLE", "Enabled", forced=True),
        Variable(f"{plug}.REMOTE_STOP", "Stop now", forced=True),
        Variable(f"{plug}.REMOTE_START", "Start now", forced=True),
        Variable(f"{plug}.REMOTE_PAUSE", "Pause now", forced=True),
        Variable(f"{plug}.CURRENT_REDUCTION", "Cap on current", forced=True),
    )


def engine_variables(*plugs: str) -> tuple[Variable, ...]:
    """Variables of the engine that runs these plugs."""
    return (
        Variable("TAG", "Tag"),
        Variable("TAG_EX", "Tag, text", kind="text", default=None),
        Variable("RUNTIME", "Running since", kind="date"),
        Variable("ERROR", "Station error"),
        *(variable for plug in plugs for variable in plug_variables(plug)),
        *common_variables(),
    )


def build(now: float, boot: Callable[[], float]) -> Model:
    """The wallbox as it stands at `now`; `boot` tells when its engine started (Unix seconds)."""
    plug = Plug(name=f"{_ENGINE}.PLUG", number=1, settled=now)
    display = (
        Variable("TEXT", "Text shown", kind="text", forced=True),
        Variable("BACKLIGHT", "Backlight", default=None),
        *common_variables(),
    )
    reader = (
        Variable("TAG", "Last tag"),
        Variable("TAGEX", "Last tag, text", kind="text"),
        Variable("TIME", "Reading time", forced=True, default=2.0),
        Variable("BUZZER", "Buzzer", forced=True),
        Variable("RESTRICTED", "Restricted"),
        *common_variables(),
    )
    devices = (
        Device(
            _BOARD,
            "CCL1MINIEMBEDDED",
            "CCL1Mini Embedded",
            board_variables(),
            lambda now: {**parts.board_values(plug, now, boot()), "PWMO5": 1.0},
            serial="500100123",
        ),
        Device(
            _DISPLAY,
            "DISPLAYCCL1MINI",
            "CCL1Mini Display",
            display,
            # The display pads its two lines of twenty characters with blanks.
            lambda _now: {"TEXT": f"{'Socket 1':20}{_WORDS.get(plug.state, 'Please wait'):20}"},
        ),
        Device(_MODE3, "MODO3", "M3CD", mode3_variables(), lambda _now: parts.mode3_values(plug)),
        Device(_READER, "TAGREADER", "Tag reader", reader, lambda _now: parts.tag_values(plug)),
        Device(_METER, "CVM1D", "CVM-1D", meter_variables(), lambda now: parts.single_phase_meter(plug, now)),
        Device(
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
    return Model(devices, (place,), parts.plug_writes(plug, _MODE3), main_device=_ENGINE)
