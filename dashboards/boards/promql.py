"""PromQL for the boards: what is asked of a Prometheus that scrapes, and of a VictoriaMetrics that the push fills.

Values of variables go into patterns as `${plug:regex}` between backticks: quotes and backslashes in a
charger's names then stand for themselves.
"""

from collections.abc import Sequence

from boards import cost
from boards.energy_queries import MONTH, PRICE, total_per_day
from boards.grafana import Data, DataSource, Json, Target, merged, summed_by_series
from boards.templating import annotation, query_variable
from boards.units import KWH, codes, unit
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family
from ccl_exporter.station.catalogue import catalogue


def _least(some: str, limit: str) -> str:
    return f"clamp_max({some}, {limit})"


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

    # The plug now

    def gauge(self, family: Family) -> Data:
        """A value of the plug, in the unit that is shown."""
        return self.one(f"{self.of_plug(family)}{unit(family).factor}")

    def of_the_station(self, family: Family) -> Data:
        return self.one(f"{self.of_station(family)}{unit(family).factor}", legend=self.station_legend)

    def state(self) -> Data:
        return self.one(self.code(f.PLUG_STATE, "plug_state"))

    def station_state(self) -> Data:
        return self.one(self.code(f.STATION_STATE, "station_state"), legend=self.station_legend)

    def reason(self) -> Data:
        """The number of the reason why a plug does not charge (units.REASONS); 0 while it charges."""
        return self.one(self.code(f.PLUG_NOT_CHARGING, "not_charging"))

    def power(self) -> Data:
        return self.one(self.summed(self.phases(f.PLUG_POWER)))

    def by_phase(self, family: Family) -> Data:
        return self.one(self.phases(family), legend=f"{self.legend} {{{{phase}}}}")

    def current(self) -> Data:
        """The highest of the phases."""
        return self.one(self.most(self.phases(f.PLUG_CURRENT)))

    def voltage(self) -> Data:
        """The mean of the phases."""
        return self.one(f"avg by ({', '.join(self.by)}) ({self.phases(f.PLUG_VOLTAGE)})")

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
                Target(self.of_plug(f.PLUG_CONNECTED), f"{self.legend} vehicle"),
                Target(self.of_plug(f.PLUG_LOCKED), f"{self.legend} locked"),
                Target(self.of_plug(f.PLUG_ENABLED), f"{self.legend} in service"),
            )
        )

    # Energy, cost and charges

    def energy_per_day(self) -> Data:
        return self.one(self.summed(total_per_day(self.of_plug(f.PLUG_ENERGY))))

    def cost_per_day(self) -> Data:
        return self.one(self.summed(total_per_day(self.of_plug(f.PLUG_ENERGY), PRICE)))

    def energy_per_month(self) -> Data:
        return self._per_month(total_per_day(self.of_plug(f.PLUG_ENERGY)))

    def cost_per_month(self) -> Data:
        return self._per_month(total_per_day(self.of_plug(f.PLUG_ENERGY), PRICE))

    def _per_month(self, per_day: str) -> Data:
        query = f"sum by (month) ({per_day} * on () group_left (month) {MONTH})"
        return Data((Target(query, "{{month}}"),), summed_by_series())

    def seconds_per_day(self, condition: str) -> str:
        """Seconds of the day that begins now in which a condition (1 or 0) was seen, to two minutes."""
        return f"sum_over_time(({condition})[86399s:2m] offset -1d) * 120"

    def idle(self) -> str:
        """1 while a vehicle is connected and does not charge, else 0."""
        charging = self.is_in(f.PLUG_STATE, "charging")
        return f"{self.most(self.of_plug(f.PLUG_CONNECTED))} * (1 - {charging})"

    def idle_per_day(self) -> Data:
        return self.one(self.seconds_per_day(self.idle()))

    def charges(self, order: Sequence[str]) -> Data:
        """A row for each charge that ended in the range; a charge is known by its end."""
        energy, begin, end, duration = map(self.of_plug, self.charge)
        price = cost.of_charge(energy + KWH, begin, end, _least)
        asked = [
            (end, "End", " * 1000"),
            (begin, "Begin", " * 1000"),
            (energy, "Energy", KWH),
            (duration, "Duration", ""),
            (self.stop_reason(), "Stopped by", ""),
            (price, "Cost", ""),
        ]
        if self.highest_power is not None:
            asked.append((self.of_plug(self.highest_power), "Highest power", ""))
        targets = tuple(
            Target(self._by_end(expression, end) + factor, instant=True, table=True)
            for expression, _, factor in asked
        )
        columns = {f"Value #{letter}": heading for letter, (_, heading, _) in zip("ABCDEFG", asked, strict=False)}
        places = {label: label.capitalize() for label in self.by if label != "job"}
        return Data(targets, merged(places | columns, order))

    def charges_summed(self) -> tuple[Data, Data, Data]:
        """Of the charges that ended in the range: how many, their energy, their cost."""
        energy, begin, end, _ = map(self.of_plug, self.charge)
        price = cost.of_charge(energy + KWH, begin, end, _least)
        labels = ", ".join(self.by)
        targets = (
            Target(f"{how} by ({labels}) ({self._by_end(expression, end)})", self.legend, instant=True)
            for how, expression in (("count", end), ("sum", energy + KWH), ("sum", price))
        )
        count, total, paid = (Data((target,)) for target in targets)
        return count, total, paid

    def stop_reason(self) -> str:
        return self.code(f.CHARGE_STOP_REASON, "stop_reason")

    def _by_end(self, expression: str, end: str) -> str:
        """The last value in the range for each charge, with its end as a label; what has none yet is left out."""
        labels = ", ".join(self.by)
        ends = f"count_values without () (`end`, {end} >= $__from / 1000)"
        return (
            f"last_over_time((({self.summed(expression)}) * on ({labels}) group_left (end) {ends})[$__range:1m])"
        )

    # The station

    def contact(self) -> Data:
        return self.of_the_station(f.UP)

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


class Scraped(PromQL):
    """The exporter's own names, as a Prometheus has them that scrapes /metrics, or /probe by /sd."""

    by = ("job", "instance", "plug")
    station = 'job=~"$job", instance=~"$instance"'
    plug = f"{station}, plug=~`${{plug:regex}}`"
    charge = (f.CHARGE_ENERGY, f.CHARGE_BEGIN, f.CHARGE_END, f.CHARGE_DURATION)
    variables: Sequence[Json] = (
        query_variable("prometheus", "job", "Job", "label_values(ccl_up, job)"),
        query_variable("prometheus", "instance", "Instance", 'label_values(ccl_up{job=~"$job"}, instance)'),
        query_variable("prometheus", "plug", "Plug", f"label_values(ccl_plug_status{{{station}}}, plug)"),
    )
    annotations = (
        annotation(
            "prometheus",
            "Alerts",
            "red",
            expr=f'ALERTS{{alertstate="firing", {station}}}',
            titleFormat="{{alertname}}",
            textFormat="{{instance}} {{plug}}",
            step="60s",
        ),
        annotation(
            "prometheus",
            "Reboots",
            "purple",
            expr=f"changes({f.STATION_BOOT.name}{{{station}}}[10m]) > 0",
            titleFormat="Reboot",
            textFormat="{{instance}}",
            step="60s",
        ),
    )

    def name(self, family: Family) -> str:
        return family.name

    def phases(self, family: Family) -> str:
        return self.of_plug(family)

    def code(self, family: Family, table: str) -> str:
        own = bool(family.labels)
        labels, matchers = (self.by, self.plug) if own else (self.by[:2], self.station)
        number = {word: code for code, word in codes(table).items()}
        terms = (
            f'{family.name}{{{family.name}="{word}", {matchers}}} * {number[word]}'
            for word in family.states
            if number[word]
        )
        # The sum of zeros is the word that has the number zero.
        return f"sum by ({', '.join(labels)}) ({' or '.join(terms)})"

    def is_in(self, family: Family, *states: str) -> str:
        word = f'="{states[0]}"' if len(states) == 1 else f'=~"{"|".join(states)}"'
        return self.most(f"{family.name}{{{family.name}{word}, {self.plug}}}")

    def faulty(self) -> str:
        return self.most(self.of_plug(f.PLUG_ERROR))

    def faults(self, family: Family) -> Data:
        series, legend = (
            (self.of_plug(family), self.legend)
            if family.labels
            else (self.of_station(family), self.station_legend)
        )
        return self.one(f"{series} == 1", legend=f"{legend} {{{{{family.name}}}}}")

    def firmware(self, order: Sequence[str]) -> Data | None:
        target = Target(self.of_station(f.STATION_INFO), instant=True, table=True)
        columns = {"instance": "Instance", **{label: label.capitalize() for label in f.STATION_INFO.labels}}
        return Data((target,), merged(columns, order))

    def rejected(self) -> Data | None:
        grown = f"increase({self.of_station(f.REJECTED)}[$__rate_interval])"
        query = f"sum by (instance, device, variable, reason) ({grown}) > 0"
        return self.one(query, legend="{{instance}} {{device}} {{variable}}: {{reason}}")


class Pushed(PromQL):
    """Names that VictoriaMetrics makes of pushed points: measurement and field (ccl_exporter/outputs/README.md).

    States are the engine's numbers, faults the mask, phases a part of the name; texts are lost.
    """

    by = ("charger", "plug")
    station = "charger=~`${charger:regex}`"
    plug = f"{station}, plug=~`${{plug:regex}}`"
    charge = (f.FINISHED_ENERGY, f.FINISHED_BEGIN, f.FINISHED_END, f.FINISHED_DURATION)
    highest_power = f.FINISHED_HIGHEST_POWER
    variables = (
        query_variable("prometheus", "charger", "Charger", "label_values(ccl_scrape_up, charger)"),
        query_variable("prometheus", "plug", "Plug", f"label_values(ccl_plug_state{{{station}}}, plug)"),
    )
    annotations = (
        annotation(
            "prometheus",
            "Reboots",
            "purple",
            expr=f"changes({f.STATION_BOOT.name}{{{station}}}[10m]) > 0",
            titleFormat="Reboot",
            textFormat="{{charger}}",
            step="60s",
        ),
    )

    def name(self, family: Family) -> str:
        return "ccl_scrape_up" if family is f.UP else family.name

    def phases(self, family: Family) -> str:
        series = f'{{__name__=~"{family.name}(_l[123])?", {self.plug}}}'
        return f"label_replace({series}, `phase`, `$1`, `__name__`, `.*_(l[123])`)"

    def code(self, family: Family, table: str) -> str:
        return self.of_plug(family) if family.labels else self.of_station(family)

    def is_in(self, family: Family, *states: str) -> str:
        number = {word: code for code, word in codes("plug_state").items()}
        return self.most(" + ".join(f"({self.of_plug(family)} == bool {number[state]})" for state in states))

    def faulty(self) -> str:
        return self.most(f"{self.of_plug(f.PLUG_ERROR)} > bool 0")

    def faults(self, family: Family) -> Data:
        series, legend = (
            (self.of_plug(family), self.legend)
            if family.labels
            else (self.of_station(family), self.station_legend)
        )
        bits = catalogue().bits["plug_error" if family.labels else "station_error"]
        return Data(
            tuple(
                Target(f"(floor({series} / {2**position}) % 2) == 1", f"{legend} {word}")
                for position, word in enumerate(bits)
            )
        )

    def stop_reason(self) -> str:
        return self.of_plug(f.FINISHED_STOP_REASON)

    def _by_end(self, expression: str, end: str) -> str:
        # The point of a session without an end must not be taken for the one before, whose end was written last.
        energy = self.of_plug(f.FINISHED_ENERGY)
        return super()._by_end(expression, f"({end} and timestamp({end}) >= timestamp({energy}))")
