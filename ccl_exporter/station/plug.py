"""The state of each plug, judged once per snapshot: everything that is shown or decided derives from `Plug`.

What cannot be read is None. Pure policy over a snapshot and the catalogue.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from math import isfinite

from ccl_exporter.powerstudio.inventory import Inventory, PlugInfo, cached_per_inventory
from ccl_exporter.powerstudio.snapshot import ChargeRecord, PlugStateRecord
from ccl_exporter.station.catalogue import Activity, NotCharging, PlugState, catalogue
from ccl_exporter.station.current_limit import MINIMUM_AMPERES, amperes_left
from ccl_exporter.station.values import Reading

PHASES = ("1", "2", "3")
"""The last character of a meter's variable that is of one phase, as in `AI1`."""

UNDER_WAY = frozenset({Activity.STARTING, Activity.CHARGING, Activity.SUSPENDED})
"""The activities of a plug whose session is under way and can still charge."""

IN_SESSION = UNDER_WAY | {Activity.STOPPING}
NOT_IN_SESSION = frozenset({Activity.OUT_OF_SERVICE, Activity.FAULTED, Activity.IDLE, Activity.ENDED})
"""The activities without a session. With one in neither set it is not known whether a session is under way."""

_FIRST_DATE = datetime(2015, 1, 1, tzinfo=UTC).timestamp()  # no charger is older; unset clocks are (protocol 5)
_LAST_DATE = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
_LONGEST_SESSION = 31 * 86_400.0
_CLOCK_STEP = 60.0  # seconds by which a charger's clock may be adjusted during a session


@dataclass(frozen=True, slots=True)
class Measured:
    """A measured quantity of a plug, by phase (`l1` to `l3`) or, under `""`, of all phases.

    A value that was not read is None; without any entry the engine does not list the quantity.
    """

    by_phase: tuple[tuple[str, float | None], ...] = ()

    @property
    def total(self) -> float | None:
        """The sum; None unless every listed phase was read, as a partial sum is a wrong number."""
        return sum(self._all) if self._all else None

    @property
    def highest(self) -> float | None:
        """The highest of the phases; None unless every listed phase was read."""
        return max(self._all, default=None)

    @property
    def is_unread(self) -> bool:
        """Whether the quantity is listed, and not all of it was read."""
        return any(value is None for _, value in self.by_phase)

    @property
    def _all(self) -> Sequence[float]:
        return () if self.is_unread else [value for _, value in self.by_phase if value is not None]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a plug's current, in amperes; `reduction` (PREDUCTION) is a ratio, 0 to 1, and 0 is none.

    `supported` is plugInfo's supportedCurrent, `rated` the base of the reduction (INTENSITY; supportedCurrent
    only where that is not listed), `cap` the assigned current (CURRENT_REDUCTION).
    `allowed` is the lower of `rated` after the reduction and `cap`, None unless every listed one was read.
    """

    supported: float | None = None
    rated: float | None = None
    reduction: float | None = None
    cap: float | None = None
    allowed: float | None = None

    @property
    def percent(self) -> int:
        """The reduction in whole per cent, as it is written; 0 where it is not known."""
        return round((self.reduction or 0.0) * 100)

    @property
    def socket(self) -> float | None:
        """The rated current of the socket: `supported`, else `rated`."""
        return self.rated if self.supported is None else self.supported


@dataclass(frozen=True, slots=True)
class Session:
    """The running session, or the last one; empty where there is none (chargeInfo.xml, protocol 2.2, 9, 12).

    Energies are in joules, dates in Unix seconds, `duration` in seconds. `meter_energy` is chargeInfo's copy of
    the plug's register, `stop_reason` a code of protocol 9.1.
    """

    requested: float | None = None
    began: float | None = None
    ended: float | None = None
    energy: float | None = None
    duration: float | None = None
    stop_reason: int | None = None
    meter_energy: float | None = None


@dataclass(frozen=True)
class Plug:
    """One socket or cable of a charger; None is what cannot be read.

    `state_code` and `fault_mask` are as the engine sent them. `energy` is the lifetime register in joules.
    `is_register` says that the engine lists a variable for it; `energy` is chargeInfo's copy without one, and
    while the variable's unit contradicts chargeInfo.
    """

    name: str
    state: PlugState | None = None
    state_code: float | None = None
    fault_mask: float | None = None
    faults: tuple[str, ...] | None = None
    enabled: bool | None = None
    vehicle_connected: bool | None = None
    locked: bool | None = None
    powers: Measured = Measured()
    currents: Measured = Measured()
    voltages: Measured = Measured()
    energy: float | None = None
    is_register: bool = False
    limits: Limits = Limits()
    session: Session = Session()

    @property
    def power(self) -> float | None:
        """Active power in watts; None unless every listed phase was read."""
        return self.powers.total

    @property
    def current(self) -> float | None:
        """The highest current of a phase, in amperes; None unless every listed phase was read."""
        return self.currents.highest

    @property
    def phases(self) -> int:
        """The number of phases that the inventory lists, at least 1, whether they can be read now or not."""
        measured = (self.powers, self.currents, self.voltages)
        return max(sum(name != "" for name, _ in quantity.by_phase) for quantity in measured) or 1

    @cached_property
    def activity(self) -> Activity:
        """What the plug does. Neither faults nor `enabled` override a state with the OCPI status `charging`."""
        if self.state is None:
            return Activity.UNKNOWN
        activity = self.state.activity
        if activity in IN_SESSION and self.state.status == "charging":
            return activity
        if self.faults or activity is Activity.FAULTED:
            return Activity.FAULTED
        return Activity.OUT_OF_SERVICE if self.enabled is False else activity

    @property
    def is_charging(self) -> bool:
        return self.activity is Activity.CHARGING

    @property
    def is_under_way(self) -> bool:
        """Whether a session is under way that can still charge."""
        return self.activity in UNDER_WAY

    @property
    def is_paused(self) -> bool:
        """Whether the session is paused or being paused, until it is started again."""
        return self.state is not None and self.state.reason is NotCharging.PAUSED

    @property
    def status(self) -> str | None:
        """The status of OCPI 2.2, 8.4.19, in lower case; None if no state was read."""
        if self.state is None:
            return None
        match self.activity:
            case Activity.FAULTED:
                return "outoforder"
            case Activity.OUT_OF_SERVICE:
                return "inoperative"
            case _:
                return self.state.status

    @property
    def is_limit_below_minimum(self) -> bool:
        return self.limits.allowed is not None and self.limits.allowed < MINIMUM_AMPERES

    @cached_property
    def not_charging(self) -> NotCharging | None:
        """Why the plug does not charge; None while it charges."""
        if self.is_charging:
            return None
        if self.faults or self.activity is Activity.FAULTED:
            return NotCharging.FAULT
        if self.state is not None and self.state.reason is NotCharging.RESERVED:
            return NotCharging.RESERVED
        idle = self.state is not None and self.state.activity is Activity.IDLE
        if self.vehicle_connected is False or (idle and self.vehicle_connected is None):
            return NotCharging.NO_VEHICLE
        if self.enabled is False or self.activity is Activity.OUT_OF_SERVICE:
            return NotCharging.DISABLED
        if self.state is None:
            return NotCharging.UNKNOWN
        if self.state.limited and self.is_limit_below_minimum:
            return NotCharging.LIMIT_BELOW_MINIMUM
        return self.state.reason

    @property
    def sentence(self) -> str:
        """`not_charging` in words, completing "the plug does not charge: …"; empty while it charges."""
        if self.not_charging is None:
            return ""
        if self.state is not None and self.not_charging is self.state.reason:
            words = self.state.sentence
        else:
            words = catalogue().not_charging[self.not_charging]
        if self.not_charging is NotCharging.FAULT and self.faults:
            return f"{words} ({', '.join(self.faults)})"
        if self.not_charging is NotCharging.LIMIT_BELOW_MINIMUM:
            limit = f"{self.limits.allowed:.3g} A"
            return f"the current limit is {limit}, but a vehicle needs at least {MINIMUM_AMPERES} A"
        if self.not_charging is NotCharging.NO_VEHICLE and self.enabled is False:
            return f"{words}, and the plug is out of service"
        return words

    @property
    def stop_reason(self) -> str | None:
        """Why the last session stopped, in a word."""
        code = self.session.stop_reason
        return None if code is None else word(code, catalogue().codes["stop_reason"])


def word(code: float, words: Mapping[int, str]) -> str:
    """The word of a code; `unknown` where there is none."""
    return words.get(int(code), "unknown") if float(code).is_integer() else "unknown"


def words_of_bits(mask: float | None, words: Sequence[str]) -> tuple[str, ...] | None:
    """The words of the bits that are set; bits without a word, and what is no mask, are `unknown`."""
    if mask is None:
        return None
    if not float(mask).is_integer() or mask < 0:
        return ("unknown",)
    bits = int(mask)
    active = [word for position, word in enumerate(words) if bits >> position & 1]
    return (*active, "unknown") if bits >> len(words) else tuple(active)


def only_device(reading: Reading, role: str) -> str | None:
    """The id of the only device of a role; None if there is none or more than one."""
    found = [device.id for device in reading.devices.values() if reading.facts.role(device.type) == role]
    return found[0] if len(found) == 1 else None


def plug_infos(reading: Reading) -> list[PlugInfo]:
    """The plugs of plugInfo, else of chargeInfo and plugState, else the parts of an engine that have a STATE."""
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
    vehicle, meter = (only_device(reading, "vehicle"), only_device(reading, "meter")) if alone else (None, None)
    return [PlugInfo(name, vehicle_device=vehicle, meter=meter) for name in sorted(names)]


def _is_plug(reading: Reading, prefix: str) -> bool:
    """Whether a prefix within a device is a plug: of an engine, or of an untyped device with a plug's names."""
    device = reading.devices.get(reading.owner(prefix) or "")
    if device is None or prefix in reading.devices:
        return False
    if device.type is not None:
        return reading.facts.role(device.type) == "engine"
    return all(f"{prefix}.{name}" in reading.listed for name in ("ERROR", "CC"))


@cached_per_inventory
def shared_meters(inventory: Inventory) -> frozenset[str]:
    """Meters that several plugs name: what they measure belongs to none of the plugs alone."""
    meters = [plug.meter for plug in {plug.name: plug for plug in inventory.plugs}.values() if plug.meter]
    return frozenset(meter for meter in meters if meters.count(meter) > 1)


@cached_per_inventory
def conflicts(inventory: Inventory) -> tuple[str, ...]:
    """Contradictions within plugInfo, a sentence each."""
    names = [plug.name for plug in inventory.plugs]
    twice = sorted({name for name in names if names.count(name) > 1})
    return (
        *(f"plugInfo lists the plug {name} several times; only the last one is used" for name in twice),
        *(
            f"several plugs name the meter {meter}; what it measures is attributed to none of them"
            for meter in sorted(shared_meters(inventory))
        ),
    )


def plugs(reading: Reading) -> Iterable[Plug]:
    """Every plug of a snapshot, judged."""
    return [_Judge(reading, info).plug() for info in plug_infos(reading)]


class _Judge:
    """Judges one plug of a snapshot."""

    def __init__(self, reading: Reading, info: PlugInfo) -> None:
        self._reading = reading
        self._info = info
        self._record = reading.snapshot.plug_states.get(info.name, PlugStateRecord(info.name))
        self._charge = reading.snapshot.charges.get(info.name)
        shared = shared_meters(reading.snapshot.inventory)
        self._meter = info.meter if info.meter not in shared else None

    def plug(self) -> Plug:
        facts = self._reading.facts
        code = self._state_code()
        mask = self._own("ERROR", self._record.error)
        energy, is_register = self._energy()
        locked = self._record.locked
        return Plug(
            name=self._info.name,
            state=facts.plug_state(code),
            state_code=code,
            fault_mask=mask,
            faults=words_of_bits(mask, facts.bits["plug_error"]),
            enabled=self._enabled(),
            vehicle_connected=_bool(self._own("CC", self._record.vehicle_connected)),
            locked=_bool(self._variable("LOCK") if locked is None else locked),
            powers=self._measured("API", "watts", self._meter),
            currents=self._measured("AI", "amperes", self._meter),
            # A voltage is not summed, so that of a shared meter holds for each of its plugs.
            voltages=self._measured("VI", "volts", self._info.meter),
            energy=energy,
            is_register=is_register,
            limits=self._limits(),
            session=judge_session(self._charge) if self._charge is not None else Session(),
        )

    def _listed(self, device: str | None, variable: str) -> str | None:
        """The full id of a variable, if the engine lists it."""
        name = f"{device}.{variable}"
        return name if device is not None and name in self._reading.listed else None

    def _variable(self, variable: str) -> float | None:
        return self._reading.raw(self._listed(self._info.name, variable))

    def _own(self, variable: str, otherwise: float | None) -> float | None:
        """The plug's own variable if it can be read, else what plugState says."""
        value = self._variable(variable)
        return otherwise if value is None else value

    def _state_code(self) -> float | None:
        """Of the plug's own variable, else of plugState, else of chargeInfo."""
        charge = self._charge.state if self._charge is not None else None
        return self._own("STATE", charge if self._record.state is None else self._record.state)

    def _enabled(self) -> bool | None:
        """True if ENABLE is 1 and OUT_OF_SERVICE is 0, as far as they are listed; False if one differs.

        None if neither is listed, or if one cannot be read and the other does not say False.
        """
        enable = self._listed(self._info.name, "ENABLE")
        out = self._listed(self._info.vehicle_device, "OUT_OF_SERVICE")
        read = [(self._reading.raw(name), good) for name, good in ((enable, 1.0), (out, 0.0)) if name is not None]
        if any(value is not None and value != good for value, good in read):
            return False
        return True if read and all(value == good for value, good in read) else None

    def _energy(self) -> tuple[float | None, bool]:
        """The lifetime register in joules, and whether the engine lists a variable for it.

        What the engine lists decides the source, not what can be read now, as registers of alternating sources
        would fall, which Prometheus takes for a reset. A unit conflict makes chargeInfo the source.
        """
        name = self._listed(self._info.name, "AE")
        device = self._reading.owner(self._info.name)
        if name is None and (device is None or self._reading.devices[device].variables):
            name = self._listed(self._meter, "AE")
        if name is not None and name not in self._reading.unit_conflicts:
            return self._reading.number(name, "joules_total"), True
        shared = name is None and self._info.meter is not None and self._meter is None
        if self._charge is None or self._charge.meter_watt_hours is None or shared:
            return None, False
        return self._charge.meter_watt_hours * 3600, False

    def _measured(self, variable: str, quantity: str, meter: str | None) -> Measured:
        """By phase where the meter lists phases; else the plug's own variable, else the meter's.

        Never both, as the sum would count the same power twice.
        """
        number = self._reading.number
        phases = [phase for phase in PHASES if self._listed(meter, variable + phase)]
        if phases:
            return Measured(
                tuple((f"l{phase}", _finite(number(f"{meter}.{variable}{phase}", quantity))) for phase in phases)
            )
        name = self._listed(self._info.name, variable) or self._listed(meter, variable)
        return Measured((("", _finite(number(name, quantity))),)) if name is not None else Measured()

    def _limits(self) -> Limits:
        vehicle, number = self._info.vehicle_device, self._reading.number
        supported = self._info.supported_amperes
        intensity = self._listed(vehicle, "INTENSITY")
        rated = number(intensity, "amperes") if intensity is not None else supported
        reduction_name = self._listed(vehicle, "PREDUCTION")
        reduction = number(reduction_name, "ratio")
        cap_name = self._listed(self._info.name, "CURRENT_REDUCTION")
        cap = self._cap(cap_name)
        found: list[float | None] = []
        if reduction_name is not None:
            if rated and reduction is not None and 0 <= reduction <= 1:
                found.append(amperes_left(reduction * 100, rated))
            else:
                found.append(None)
        elif intensity is not None or rated is not None:
            found.append(rated)
        if cap_name is not None:
            found.append(cap)
        read = [limit for limit in found if limit is not None and limit >= 0]
        return Limits(
            supported=supported,
            rated=rated,
            reduction=reduction,
            cap=cap,
            allowed=min(read) if read and len(read) == len(found) else None,
        )

    def _cap(self, name: str | None) -> float | None:
        """CURRENT_REDUCTION in amperes; engines send it without a unit (protocol 9)."""
        value = self._reading.understand(name) if name is not None else None
        return value.value if value is not None and value.quantity in ("amperes", None) else None


def judge_session(charge: ChargeRecord) -> Session:
    """The session of chargeInfo; impossible dates and durations are None."""
    began, ended = session_date(charge.begun), session_date(charge.ended)
    if began is not None and ended is not None and ended < began:
        ended = None  # that of the session before, or one after the clock was set back
    return Session(
        requested=session_date(charge.requested),
        began=began,
        ended=ended,
        energy=None if charge.watt_hours is None else charge.watt_hours * 3600,
        duration=_duration(charge.seconds, began, ended),
        stop_reason=charge.stop_reason,
        meter_energy=None if charge.meter_watt_hours is None else charge.meter_watt_hours * 3600,
    )


def session_date(instant: float | None) -> float | None:
    """A date of a session in Unix seconds; None if it is before 2015, or in 2100 or later."""
    return instant if instant is not None and _FIRST_DATE <= instant < _LAST_DATE else None


def _duration(seconds: float | None, began: float | None, ended: float | None) -> float | None:
    """The duration of a session in seconds; None if it is not known or impossible.

    Without chargeTime it is the time from begin to end.
    """
    if began is None:
        return None
    between = None if ended is None else ended - began
    longest = _LONGEST_SESSION if between is None else min(between + _CLOCK_STEP, _LONGEST_SESSION)
    duration = between if seconds is None else seconds
    return duration if duration is not None and 0 <= duration <= longest else None


def _bool(value: float | None) -> bool | None:
    """None for any number but 0 and 1."""
    return value == 1 if value in (0, 1) else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
