"""The names of a Prometheus that scrapes the exporter."""

from collections.abc import Sequence

from alert_rules.chargers import VULNERABLE

from boards import cost
from boards.energy_queries import LONGEST_GAP
from boards.grafana import Data, Json, Target, merged
from boards.promql import PromQL
from boards.templating import annotation, query_variable
from boards.units import KWH, codes
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family

_STATION = 'job=~"$job", instance=~"$instance"'

VULNERABILITIES = "Known vulnerabilities"
"""The heading of a column about firmware."""

ANNOTATIONS: Sequence[Json] = (
    annotation(
        "prometheus",
        "Alerts",
        "red",
        expr=f'ALERTS{{alertstate="firing", {_STATION}}}',
        titleFormat="{{alertname}}",
        textFormat="{{instance}} {{plug}}",
        step="60s",
    ),
    annotation(
        "prometheus",
        "Reboots",
        "purple",
        expr=f"changes({f.STATION_BOOT.name}{{{_STATION}}}[10m]) > 0",
        titleFormat="Reboot",
        textFormat="{{instance}}",
        step="60s",
    ),
)
"""Marks on the graphs of every board."""


class Scraped(PromQL):
    """The exporter's own names, as a Prometheus has them that scrapes /metrics, or /probe by /sd."""

    by = ("job", "instance", "plug")
    station = _STATION
    plug = f"{station}, plug=~`${{plug:regex}}`"
    charge = (f.CHARGE_ENERGY, f.CHARGE_BEGIN, f.CHARGE_END, f.CHARGE_DURATION)
    session = "begin"
    variables: Sequence[Json] = (
        query_variable("prometheus", "job", "Job", "label_values(ccl_up, job)"),
        query_variable(
            "prometheus", "instance", "Instance", 'label_values(ccl_up{job=~"$job"}, instance)', first=True
        ),
        query_variable(
            "prometheus", "plug", "Plug", f"label_values(ccl_plug_status{{{station}}}, plug)", first=True
        ),
        *cost.VARIABLES,
        query_variable(
            "prometheus",
            "exporter",
            "Tariff of",
            f"label_values({f.TARIFF_PRICE.name}, instance)",
            description="The exporter whose configured tariff gives the prices; without one the variables do.",
            first=True,
        ),
        query_variable(
            "prometheus",
            "currency",
            "Currency",
            f'label_values({f.TARIFF_PRICE.name}{{instance=~"$exporter"}}, currency)',
            first=True,
            hidden=True,
        ),
    )
    annotations: Sequence[Json] = (
        *ANNOTATIONS,
        annotation(
            "prometheus",
            "Cheap hours",
            "green",
            expr=f'{f.TARIFF_CHEAP.name}{{instance=~"$exporter"}} == 1',
            titleFormat="Cheap hours",
            textFormat="",
            step="60s",
        ),
    )

    def name(self, family: Family) -> str:
        return family.name

    def known(self) -> str:
        return f'{f.PLUG_STATUS.name}{{{f.PLUG_STATUS.name}="unknown", {self.plug}}}'

    def down(self) -> str:
        """Also if the exporter does not answer for it."""
        answered = f"last_over_time({self.of_station(f.UP)}[{LONGEST_GAP}:10m])"
        return f"{super().down()} or (up{{{self.station}}} == 0 and on (job, instance) {answered})"

    def price(self, window: str) -> str:
        """That of the configured tariff, or of the variables where there was none."""
        tariff = f'max(avg_over_time({f.TARIFF_PRICE.name}{{instance=~"$exporter"}}[{window}]))'
        return f"({tariff} or {super().price(window)})"

    def sessions(self) -> str:
        # An end before the beginning is that of the session before, if a database shows it for some minutes more.
        ended = f"({self.of_plug(f.CHARGE_END)} >= {self.of_plug(f.CHARGE_BEGIN)}) >= $__from / 1000"
        return f"({self._begins()} and on ({', '.join(self.by)}) ({ended}))"

    def costs(self) -> str:
        energy = self.by_session(self.of_plug(f.CHARGE_ENERGY), KWH)
        return f"{energy} * on ({', '.join(self.by)}, begin) ({self._mean_price()})"

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

    def fault_targets(self) -> tuple[Target, ...]:
        return self.now(f"{self.of_plug(f.PLUG_ERROR)} == 1", legend=f"{{{{{f.PLUG_ERROR.name}}}}}").targets

    def firmware(self, order: Sequence[str]) -> Data | None:
        asked = (self.of_station(f.STATION_INFO), self.vulnerable())
        labels = {"instance": "Instance", **{label: label.capitalize() for label in f.STATION_INFO.labels}}
        targets = tuple(Target(one, instant=True, table=True) for one in asked)
        return Data(targets, merged(labels | {"Value #B": VULNERABILITIES}, order))

    def vulnerable(self) -> str:
        """The engines whose version has known vulnerabilities."""
        return f"{f.STATION_INFO.name}{{{self.station}, {VULNERABLE}}}"

    def rejected(self) -> Data | None:
        grown = f"increase({self.of_station(f.REJECTED)}[$__rate_interval])"
        query = f"sum by (instance, device, variable, reason) ({grown}) > 0"
        return self.one(query, legend="{{instance}} {{device}} {{variable}}: {{reason}}")

    def alerts(self, order: Sequence[str]) -> Data | None:
        target = Target(f'ALERTS{{alertstate="firing", {self.station}}}', instant=True, table=True)
        columns = {"alertname": "Alert", "severity": "Severity", "instance": "Instance", "plug": "Plug"}
        return Data((target,), merged(columns, order))
