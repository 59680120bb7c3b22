"""PromQL for the boards, whatever series are called; `scraped.py` and `pushed.py` know their names.

Values of variables go into patterns as `${plug:regex}` between backticks: quotes and backslashes in a
charger's names then stand for themselves.
"""

from collections.abc import Sequence

from boards.energy_queries import (
    LONGEST_GAP,
    MONTH,
    cost_per_day,
    in_a_minute,
    in_range,
    per_day,
    price_of_variables,
)
from boards.grafana import Data, DataSource, Json, Target, merged, summed_by_series
from boards.units import KWH, NOT_REACHABLE, unit
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family


class PromQL:
    """Questions about a charger in PromQL; how series are called is left to those who know."""

    source: DataSource = "prometheus"
    by: Sequence[str]
    station: str
    plug: str
    charge: Sequence[Family]
    """Energy, begin, end and duration of finished charges."""
    highest_power: Family | None = None
    variables: Sequence[Json]
    annotations: Sequence[Json]

    # Series

    def name(self, family: Family) -> str:
        """What a family is called here."""
        raise NotImplementedError

    def of_plug(self, family: Family) -> str:
        return f"{self.name(family)}{{{self.plug}}}"

    def of_station(self, family: Family) -> str:
        return f"{self.name(family)}{{{self.station}}}"

    def phases(self, family: Family) -> str:
        """A measurement with the label `phase` where there are several."""
        raise NotImplementedError

    def code(self, family: Family, table: str) -> str:
        """The state as the engine's number."""
        raise NotImplementedError

    def is_in(self, family: Family, *states: str) -> str:
        """1 or 0: whether the state of a plug is one of some."""
        raise NotImplementedError

    def faulty(self) -> str:
        """1 or 0: whether a plug has any fault."""
        raise NotImplementedError

    def faults(self, family: Family) -> Data:
        """A lane for each fault that holds."""
        raise NotImplementedError

    def faults_now(self) -> Data:
        """A 1 for each fault of the plug that holds, called as the fault; `not known` 0 if it is not reachable."""
        return Data((*self.fault_targets(), Target(self.not_reachable(0), "not known", instant=True)))

    def fault_targets(self) -> tuple[Target, ...]:
        raise NotImplementedError

    def known(self) -> str:
        """One series for each plug while its charger answers, whatever else it reports."""
        raise NotImplementedError

    def down(self) -> str:
        """0 for each charger that is not reachable."""
        return f"{self.of_station(f.UP)} == 0"

    def price(self, window: str) -> str:
        """The price of a kilowatt-hour in the minute or half-hour (`1m`, `30m`) that ends now."""
        return price_of_variables({"1m": 60, "30m": 1800}[window])

    @property
    def legend(self) -> str:
        return " ".join(f"{{{{{label}}}}}" for label in self.by if label != "job")

    @property
    def station_legend(self) -> str:
        return f"{{{{{self.by[-2]}}}}}"

    def one(self, expression: str, *, legend: str = "") -> Data:
        return Data((Target(expression, legend or self.legend),))

    def summed(self, expression: str) -> str:
        return f"sum by ({', '.join(self.by)}) ({expression})"

    def most(self, expression: str) -> str:
        return f"max by ({', '.join(self.by)}) ({expression})"

    def now(self, expression: str, *, legend: str = "") -> Data:
        """Only the end of the range: a value that is no longer there is not shown as if it were."""
        return Data((Target(expression, legend or self.legend, instant=True),))

    def seen(self) -> str:
        """One series for each plug whose charger has answered within `LONGEST_GAP`."""
        return self.summed(f"last_over_time({self.known()}[{LONGEST_GAP}:10m])")

    def not_reachable(self, number: float) -> str:
        """A number for each plug of a charger that does not answer and did within `LONGEST_GAP`."""
        charger = ", ".join(self.by[:-1])
        return f"({self.seen()} * 0 + {number:g} and on ({charger}) ({self.down()}))"

    def or_not_reachable(self, expression: str, number: float = NOT_REACHABLE) -> str:
        return f"{expression} or {self.not_reachable(number)}"

    # The plug now

    def gauge(self, family: Family) -> Data:
        """A value of the plug, in the unit that is shown."""
        return self.one(f"{self.of_plug(family)}{unit(family).factor}")

    def gauge_now(self, family: Family) -> Data:
        return self.now(f"{self.of_plug(family)}{unit(family).factor}")

    def station_now(self, family: Family) -> Data:
        return self.now(f"{self.of_station(family)}{unit(family).factor}", legend=self.station_legend)

    def of_the_station(self, family: Family) -> Data:
        return self.one(f"{self.of_station(family)}{unit(family).factor}", legend=self.station_legend)

    def state_now(self) -> Data:
        return self.now(self.or_not_reachable(self.code(f.PLUG_STATE, "plug_state")))

    def station_state(self) -> Data:
        return self.one(self.code(f.STATION_STATE, "station_state"), legend=self.station_legend)

    def reason(self) -> Data:
        """The number of the reason why a plug does not charge (units.REASONS); 0 while it charges."""
        return self.one(self.or_not_reachable(self.code(f.PLUG_NOT_CHARGING, "not_charging")))

    def reason_now(self) -> Data:
        return Data(tuple(Target(one.query, one.legend, instant=True) for one in self.reason().targets))

    def power(self) -> Data:
        return self.one(self.summed(self.phases(f.PLUG_POWER)))

    def power_now(self) -> Data:
        return self.now(self.summed(self.phases(f.PLUG_POWER)))

    def by_phase(self, family: Family) -> Data:
        return self.one(self.phases(family), legend=f"{self.legend} {{{{phase}}}}")

    def current_now(self) -> Data:
        """The highest of the phases."""
        return self.now(self.most(self.phases(f.PLUG_CURRENT)))

    def voltage_now(self) -> Data:
        """The mean of the phases."""
        return self.now(f"avg by ({', '.join(self.by)}) ({self.phases(f.PLUG_VOLTAGE)})")

    def current_and_limits(self) -> Data:
        return Data(
            (
                *self.by_phase(f.PLUG_CURRENT).targets,
                Target(self.of_plug(f.PLUG_CURRENT_LIMIT), f"{self.legend} limit"),
                Target(self.of_plug(f.PLUG_CURRENT_MAX), f"{self.legend} socket"),
            )
        )

    def in_use(self) -> Data:
        return Data(
            (
                Target(self.of_plug(f.PLUG_CONNECTED), f"vehicle {self.legend}"),
                Target(self.of_plug(f.PLUG_LOCKED), f"locked {self.legend}"),
                Target(self.of_plug(f.PLUG_ENABLED), f"in service {self.legend}"),
            )
        )

    # Energy, cost and charges

    def energy_in_range(self) -> Data:
        """Kilowatt-hours since the beginning of the range of the panel."""
        return self.now(self.summed(in_range(self.of_plug(f.PLUG_ENERGY))))

    def cost_in_range(self) -> Data:
        """Their cost: each minute's energy at its price, that of a time without readings at their mean."""
        register = self.of_plug(f.PLUG_ENERGY)
        grown = self.summed(in_a_minute(register))
        paid = f"sum_over_time(({grown} * on () group_left () {self.price('1m')})[$__range:1m])"
        mean = f"{paid} / (sum_over_time({grown}[$__range:1m]) > 0)"
        energy = self.summed(in_range(register))
        current = f"{energy} * 0 + on () group_left () {self.price('1m')}"
        return self.now(f"{energy} * on ({', '.join(self.by)}) ({mean} or {current})")

    def session_cost(self) -> Data:
        """The cost of the session that is under way, or of the last one."""
        energy = self.summed(self.of_plug(f.CHARGE_ENERGY))
        mean = f"{self._mean_price()} and on ({', '.join(self.by)}, begin) {self._begins()}"
        return self.now(f"{energy}{KWH} * on ({', '.join(self.by)}) {self.summed(mean)}")

    def _begins(self) -> str:
        """The beginning of the session that is under way, or of the last one, also as a label."""
        return f"count_values without () (`begin`, {self.of_plug(f.CHARGE_BEGIN)})"

    def _mean_price(self) -> str:
        """What a kilowatt-hour of each session in the range has cost, by the label `begin`.

        From each minute's growth of the register at its price.
        """
        grown = self.summed(in_a_minute(self.of_plug(f.PLUG_ENERGY)))
        join = f"* on ({', '.join(self.by)}) group_left (begin) {self._begins()}"
        paid = f"{grown} * on () group_left () {self.price('1m')} {join}"
        return f"sum_over_time(({paid})[$__range:1m]) / (sum_over_time(({grown} {join})[$__range:1m]) > 0)"

    def energy_per_day(self) -> Data:
        return self.one(self.summed(per_day(self.of_plug(f.PLUG_ENERGY))))

    def cost_per_day(self) -> Data:
        return self.one(self.summed(cost_per_day(self.of_plug(f.PLUG_ENERGY), self.price("30m"))))

    def energy_per_month(self) -> Data:
        return self._per_month(per_day(self.of_plug(f.PLUG_ENERGY)))

    def cost_per_month(self) -> Data:
        return self._per_month(cost_per_day(self.of_plug(f.PLUG_ENERGY), self.price("30m")))

    def _per_month(self, of_a_day: str) -> Data:
        query = f"sum by (month) ({of_a_day} * on () group_left (month) {MONTH})"
        return Data((Target(query, "{{month}}"),), summed_by_series())

    def hours_per_day(self, condition: str) -> str:
        """Hours of the day that begins now in which a condition (1 or 0) was seen, to two minutes."""
        return f"sum_over_time(({condition})[86399s:2m] offset -1d) / 30"

    def idle(self) -> str:
        """1 while a vehicle is connected and does not charge, else 0."""
        charging = self.is_in(f.PLUG_STATE, "charging")
        return f"{self.most(self.of_plug(f.PLUG_CONNECTED))} * (1 - {charging})"

    def idle_per_day(self) -> Data:
        return self.one(self.hours_per_day(self.idle()))

    def charges(self, order: Sequence[str]) -> Data:
        """A row for each session that ended in the range."""
        energy, begin, end, duration = map(self.of_plug, self.charge)
        asked = [
            (self.by_session(end, " * 1000"), "End"),
            (self.by_session(begin, " * 1000"), "Begin"),
            (self.by_session(energy, KWH), "Energy"),
            (self.by_session(duration), "Duration"),
            (self.by_session(self.stop_reason()), "Stopped by"),
            (self.costs(), "Cost"),
        ]
        if self.highest_power is not None:
            asked.append((self.by_session(self.of_plug(self.highest_power)), "Highest power"))
        targets = tuple(Target(expression, instant=True, table=True) for expression, _ in asked)
        columns = {f"Value #{letter}": heading for letter, (_, heading) in zip("ABCDEFG", asked, strict=False)}
        places = {label: label.capitalize() for label in self.by if label != "job"}
        return Data(targets, merged(places | columns, order))

    def charges_summed(self) -> tuple[Data, Data, Data]:
        """Of the sessions that ended in the range: how many, their energy, their cost."""
        energy, _, end, _ = map(self.of_plug, self.charge)
        asked = (("count", self.by_session(end)), ("sum", self.by_session(energy, KWH)), ("sum", self.costs()))
        count, total, paid = (self.now(f"{how} by ({', '.join(self.by)}) ({one})") for how, one in asked)
        return count, total, paid

    def stop_reason(self) -> str:
        return self.code(f.CHARGE_STOP_REASON, "stop_reason")

    def by_session(self, expression: str, factor: str = "") -> str:
        """The last value for each session that ended in the range, with what it is known by as a label."""
        join = f"* on ({', '.join(self.by)}) group_left ({self.session})"
        return f"last_over_time((({self.summed(expression)}) {join} {self.sessions()})[$__range:1m]){factor}"

    session: str
    """The label by which a session is known."""

    def sessions(self) -> str:
        """The session that ended last, if in the range, with its label."""
        raise NotImplementedError

    def costs(self) -> str:
        """What each session that ended in the range has cost, with its label."""
        raise NotImplementedError

    # The station

    def contact(self) -> Data:
        """1 while the charger is reachable, else 0."""
        return self.one(f"{self.of_station(f.UP)} or {self.down()}", legend=self.station_legend)

    def contact_now(self) -> Data:
        return Data(tuple(Target(one.query, one.legend, instant=True) for one in self.contact().targets))

    def reading_time(self) -> Data:
        """How long readings take and may take."""
        return Data(
            (
                Target(self.of_station(f.SCRAPE_DURATION), f"{self.station_legend} took"),
                Target(self.of_station(f.SCRAPE_TIMEOUT), f"{self.station_legend} allowed"),
            )
        )

    def documents(self) -> Data:
        return self.one(self.of_station(f.DOCUMENT_SUCCESS), legend=f"{self.station_legend} {{{{document}}}}")

    def firmware(self, order: Sequence[str]) -> Data | None:
        """The text that an engine tells of itself, where texts are kept."""
        return None

    def rejected(self) -> Data | None:
        return None

    def alerts(self, order: Sequence[str]) -> Data | None:
        """The alerts that are firing, where alerts are kept."""
        return None
