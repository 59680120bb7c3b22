"""Units that an engine changes while it runs: a wrong factor makes a number wrong by a thousand.

The variable has no value until the new unit is confirmed (protocol 11 #11).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import chain
from math import log10

from ccl_exporter.powerstudio.snapshot import Value
from ccl_exporter.station.bounds import SETTLE_READINGS, SETTLE_SECONDS
from ccl_exporter.station.plug import PHASES
from ccl_exporter.station.values import Reading, Variable, Variables, variables

Continues = Callable[[str, float], bool | None]
"""Whether a register, by full id, may have this value in base units now; None if its level is not known."""


@dataclass(frozen=True, slots=True)
class _Change:
    """The variable as described before, its last number as sent then, and how long `_settles` has held."""

    before: Variable
    raw: float | None
    since: float = 0.0
    readings: int = 0


class UnitWatch:
    """Tracks the unit changes of one charger's variables until they are confirmed."""

    def __init__(self) -> None:
        self._variables: Variables | None = None
        self._values: Mapping[str, Value] = {}
        self._changes: dict[str, _Change] = {}
        self._contradicted: frozenset[str] = frozenset()

    def judge(self, reading: Reading, continues: Continues, now: float) -> tuple[AbstractSet[str], Sequence[str]]:
        """The variables whose unit is not confirmed, by full id, and what changed, as sentences for the log."""
        described, values = variables(reading.snapshot.inventory), reading.snapshot.values
        sentences = list(self._compare(reading)) if described is not self._variables else []
        self._variables = described
        # A read of fewer variables does not replace the last one of all.
        self._values = max(values, self._values, key=len)
        if self._changes:
            sentences += self._check(reading, continues, now)
        # A register whose unit chargeInfo contradicted stays so in a read in which chargeInfo has no energy.
        self._contradicted = self._contradicted - reading.register_ratios.keys() | reading.unit_conflicts
        # A register in conflict has no unit, and its plug's energy is chargeInfo's. Zero is zero in any unit.
        unsure = {name for name in self._changes.keys() | self._contradicted if values.get(name)}
        return unsure - reading.unit_conflicts, sentences

    def _compare(self, reading: Reading) -> Iterator[str]:
        """Note the variables that a new inventory converts to base units in another way."""
        if self._variables is None:
            return
        for variable in reading.walk():
            name = variable.id
            change = self._changes.get(name)
            before = change.before if change is not None else self._variables.get(name)
            if before is not None and _is_rescaled(before, variable):
                value = self._values.get(name)
                raw = value if isinstance(value, float) else None
                if change is None:
                    yield f"{name}: the unit changed from {before.symbol} to {variable.symbol}, not confirmed yet"
                self._changes[name] = change or _Change(before, raw)
            elif change is not None:
                del self._changes[name]
                yield f"{name}: the unit is {variable.symbol} again"

    def _check(self, reading: Reading, continues: Continues, now: float) -> Iterator[str]:
        for name, change in list(self._changes.items()):
            variable, raw = reading.variable(name), reading.raw(name)
            if variable is None or not raw:
                continue
            shift = (variable.base(raw) or 1.0) / (change.before.base(raw) or 1.0)
            if variable.register:
                is_right = _is_right_register(reading, variable, change.before, raw, continues)
            else:
                is_right = _is_right_power(reading, name, shift, self._changes.keys() - {name})
            if is_right is None and is_of_catalogue(reading, variable):
                is_right = True
            if is_right is None:
                is_right, self._changes[name] = _settles(change, raw, shift, now)
            if is_right:
                del self._changes[name]
                yield f"{name}: the unit is {variable.symbol}, as other values confirm"


def _is_rescaled(before: Variable, after: Variable) -> bool:
    one, other = before.unit, after.unit
    # Only a change of the engine's own unit counts: it may replace one of the catalogue at any time.
    is_of_engine = before.info is not None and before.info.unit is not None
    return (
        one is not None
        and other is not None
        and is_of_engine
        and one.quantity == other.quantity
        and (one.scale * before.power, one.offset) != (other.scale * after.power, other.offset)
    )


def _is_right_register(
    reading: Reading, variable: Variable, before: Variable, raw: float, continues: Continues
) -> bool | None:
    """Whether a register has the right unit: by chargeInfo, else by its level; None if they cannot decide."""
    ratio = reading.register_ratios.get(variable.id)
    if ratio is not None and abs(ratio - 1) < 0.02:
        return True
    after, then = continues(variable.id, variable.base(raw)), continues(variable.id, before.base(raw))
    return after if after != then else None


def _is_right_power(reading: Reading, name: str, shift: float, changed: AbstractSet[str]) -> bool | None:
    """Whether a power, current or voltage has the right unit, as power is current times voltage.

    None for any other variable, if nothing flows, if both units fit or neither, or if another of these variables
    is in `changed`.
    """
    prefix, _, variable = name.rpartition(".")
    phase = variable[-1] if variable[-1] in PHASES and f"{prefix}.API{variable[-1]}" in reading.listed else ""
    quantity = variable.rstrip("123")
    if quantity not in ("API", "AI", "VI"):
        return None
    power = f"{prefix}.API{phase}"
    pairs = [
        (f"{prefix}.AI{each}", f"{prefix}.VI{each}")
        for each in ((phase,) if f"{prefix}.AI{phase}" in reading.listed else PHASES)
    ]
    if not changed.isdisjoint((power, *chain(*pairs))):
        return None
    watts = reading.number(power, "watts") or 0.0
    product = sum(
        (reading.number(amperes, "amperes") or 0.0) * (reading.number(volts, "volts") or 0.0)
        for amperes, volts in pairs
    )
    if not watts or not product:
        return None
    share = abs(watts / product)
    # In the unit of before the power was another one, or the product was.
    after, before = _is_share(share), _is_share(share / shift if quantity == "API" else share * shift)
    return after if after != before else None


def _is_share(share: float) -> bool:
    """Whether power may be this share of current times voltage: a power factor, of up to three phases."""
    return 0.1 <= share <= 4


def is_of_catalogue(reading: Reading, variable: Variable) -> bool:
    """Whether the engine describes a variable as the catalogue does."""
    known, info = reading.facts.known(variable.device.type, variable.name), variable.info
    return known is not None and info is not None and (known.unit, known.factor) == (info.unit, info.factor)


def _settles(change: _Change, raw: float, shift: float, now: float) -> tuple[bool, _Change]:
    """Whether a unit is right that no other value confirms: the number changed as the unit did, and it lasts."""
    if not change.raw or raw / change.raw < 0 or shift <= 0 or shift == 1:
        return False, change
    wanted = -log10(shift)
    if abs(log10(raw / change.raw) - wanted) > abs(wanted) / 4:
        return False, replace(change, readings=0)
    change = replace(change, since=change.since if change.readings else now, readings=change.readings + 1)
    return change.readings >= SETTLE_READINGS and now - change.since >= SETTLE_SECONDS, change
