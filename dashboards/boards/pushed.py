"""The names of a VictoriaMetrics that the exporter writes to."""

from collections.abc import Iterator

from boards import cost
from boards.grafana import Data, Target
from boards.promql import PromQL
from boards.templating import annotation, query_variable
from boards.units import KWH, codes
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family
from ccl_exporter.station.catalogue import catalogue


def _least(some: str, limit: str) -> str:
    return f"clamp_max({some}, {limit})"


def _bits(mask: str, table: str) -> Iterator[tuple[str, str]]:
    """The words of a mask, each with a query that gives 1 while its bit is set."""
    for position, word in enumerate(catalogue().bits[table]):
        yield word, f"(floor({mask} / {2**position}) % 2) == 1"


class Pushed(PromQL):
    """Names that VictoriaMetrics makes of pushed points: measurement and field (ccl_exporter/outputs/README.md).

    States are the engine's numbers, faults the mask, phases a part of the name; texts are lost.
    """

    by = ("charger", "plug")
    station = "charger=~`${charger:regex}`"
    plug = f"{station}, plug=~`${{plug:regex}}`"
    charge = (f.FINISHED_ENERGY, f.FINISHED_BEGIN, f.FINISHED_END, f.FINISHED_DURATION)
    highest_power = f.FINISHED_HIGHEST_POWER
    session = "end"
    variables = (
        query_variable("prometheus", "charger", "Charger", "label_values(ccl_scrape_up, charger)", first=True),
        query_variable(
            "prometheus", "plug", "Plug", f"label_values(ccl_plug_state{{{station}}}, plug)", first=True
        ),
        *cost.VARIABLES,
        cost.CURRENCY,
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

    def known(self) -> str:
        return self.of_plug(f.PLUG_STATE)

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
        return Data(
            tuple(
                Target(query, f"{legend} {word}")
                for word, query in _bits(series, "plug_error" if family.labels else "station_error")
            )
        )

    def fault_targets(self) -> tuple[Target, ...]:
        found = _bits(self.of_plug(f.PLUG_ERROR), "plug_error")
        return tuple(Target(query, word, instant=True) for word, query in found)

    def stop_reason(self) -> str:
        return self.of_plug(f.FINISHED_STOP_REASON)

    def sessions(self) -> str:
        # The point of a session without an end must not be taken for the one before, whose end was written last.
        energy, end = self.of_plug(f.FINISHED_ENERGY), self.of_plug(f.FINISHED_END)
        ended = f"({end} and timestamp({end}) >= timestamp({energy}))"
        return f"count_values without () (`end`, {ended} >= $__from / 1000)"

    def costs(self) -> str:
        energy, begin, end, _ = map(self.of_plug, self.charge)
        return self.by_session(cost.of_charge(energy + KWH, begin, end, _least))
