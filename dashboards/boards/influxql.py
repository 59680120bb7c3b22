"""InfluxQL for the Charger board: InfluxDB 1, 2 with a mapping of the bucket, and 3.

Days are those of a variable, as InfluxDB does not know the time zone of the board. What a day costs comes from the
sessions that ended on it.
"""

from collections.abc import Sequence
from dataclasses import replace

from boards import cost
from boards.grafana import Data, DataSource, Json, Target, summed_by_month
from boards.influx_names import stored
from boards.templating import annotation, query_variable, text_variable
from boards.units import KWH, codes, unit
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family

CHARGER = '"charger" =~ /^${charger:regex}$/'
PLUG = f'{CHARGER} AND "plug" =~ /^${{plug:regex}}$/'

_NOW = "time > ${__to}ms - 15m AND time <= ${__to}ms"
"""The end of the range, so that a value that is no longer written is not shown as if it were."""

_ZONE = "tz('${timezone}')"

FAULT_TEXT = "faults"
"""What the series of `faults_now` is called."""

_PLUG_TAGS = ("charger", "plug")
_PHASES = ("l1", "l2", "l3")


def _least(some: str, limit: str) -> str:
    """InfluxQL knows no conditions: a whole number of days is 1 from the limit on and 0 before it."""
    over = f"({some} - {limit})"
    beyond = f"(({over} + 86400) - ({over} + 86400) % 86400) / 86400"
    return f"({some} - {over} * ({beyond}))"


COST = cost.of_charge(
    f'"{stored(f.FINISHED_ENERGY)[1]}"{KWH}',
    f'"{stored(f.FINISHED_BEGIN)[1]}"',
    f'"{stored(f.FINISHED_END)[1]}"',
    _least,
)


def _select(what: str, measurement: str, tags: Sequence[str], every: str = "", fill: str = "none") -> str:
    where = PLUG if "plug" in tags else CHARGER
    grouped = ", ".join([*([f"time({every})"] if every else []), *(f'"{tag}"' for tag in tags)])
    ending = f" fill({fill})" if every else ""
    return f'SELECT {what} FROM "{measurement}" WHERE $timeFilter AND {where} GROUP BY {grouped}{ending}'


def _over_time(what: str, measurement: str, tags: Sequence[str], alias: str = "") -> Target:
    legend = " ".join(f"$tag_{tag}" for tag in tags)
    return Target(_select(what, measurement, tags, "$__interval"), f"{legend} {alias}".strip())


def _now(what: str, measurement: str, tags: Sequence[str]) -> Target:
    query = _select(what, measurement, tags).replace("$timeFilter", _NOW)
    return Target(query, " ".join(f"$tag_{tag}" for tag in tags))


def _table(query: str) -> Data:
    headings = {tag: tag.capitalize() for tag in _PLUG_TAGS}
    options = {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": headings}
    return Data((Target(query, table=True),), ({"id": "organize", "options": options},))


def _of_phases(how: str, field: str) -> str:
    """The sum of the phases."""
    phases = (f'{how}("{field}_{phase}")' for phase in _PHASES)
    return f"({' + '.join(phases)})"


class InfluxQL:
    """Questions about a charger in InfluxQL."""

    source: DataSource = "influxdb"
    variables: Sequence[Json] = (
        query_variable(
            "influxdb",
            "charger",
            "Charger",
            'SHOW TAG VALUES FROM "ccl_scrape" WITH KEY = "charger"',
            first=True,
        ),
        query_variable(
            "influxdb",
            "plug",
            "Plug",
            f'SHOW TAG VALUES FROM "ccl_plug" WITH KEY = "plug" WHERE {CHARGER}',
            first=True,
        ),
        *cost.VARIABLES,
        cost.CURRENCY,
        text_variable("timezone", "Time zone", "UTC", "Of days and months, such as Europe/London."),
    )
    annotations: Sequence[Json] = (
        annotation(
            "influxdb",
            "Reboots",
            "purple",
            query='SELECT "moved" FROM (SELECT difference("boot_timestamp_seconds") AS "moved" FROM "ccl_station" '
            f'WHERE $timeFilter AND {CHARGER} GROUP BY "charger") WHERE "moved" != 0',
            tagsColumn="",
            textColumn="moved",
            timeEndColumn="",
            titleColumn="",
        ),
    )

    # The plug now

    def gauge(self, family: Family) -> Data:
        measurement, field = stored(family)
        return Data((_over_time(f'last("{field}"){unit(family).factor}', measurement, _PLUG_TAGS),))

    def of_the_station(self, family: Family) -> Data:
        measurement, field = stored(family)
        return Data((_over_time(f'last("{field}"){unit(family).factor}', measurement, ("charger",)),))

    def gauge_now(self, family: Family) -> Data:
        measurement, field = stored(family)
        return Data((_now(f'last("{field}"){unit(family).factor}', measurement, _PLUG_TAGS),))

    def station_now(self, family: Family) -> Data:
        measurement, field = stored(family)
        return Data((_now(f'last("{field}"){unit(family).factor}', measurement, _PLUG_TAGS[:1]),))

    def state_now(self) -> Data:
        return self.gauge_now(f.PLUG_STATE)

    def station_state(self) -> Data:
        return self.of_the_station(f.STATION_STATE)

    def reason(self) -> Data:
        return self.gauge(f.PLUG_NOT_CHARGING)

    def reason_now(self) -> Data:
        return self.gauge_now(f.PLUG_NOT_CHARGING)

    def power(self) -> Data:
        measurement, field = stored(f.PLUG_POWER)
        asked = (f'mean("{field}")', _of_phases("mean", field))
        return Data(tuple(_over_time(what, measurement, _PLUG_TAGS) for what in asked))

    def power_now(self) -> Data:
        return self._of_phases_now(f.PLUG_POWER, "")

    def voltage_now(self) -> Data:
        """The mean of the phases."""
        return self._of_phases_now(f.PLUG_VOLTAGE, " / 3")

    def _of_phases_now(self, family: Family, shared: str) -> Data:
        measurement, field = stored(family)
        asked = (f'last("{field}")', f"{_of_phases('last', field)}{shared}")
        return Data(tuple(_now(what, measurement, _PLUG_TAGS) for what in asked))

    def by_phase(self, family: Family) -> Data:
        measurement, field = stored(family)
        phases = ", ".join(f'mean("{field}_{phase}") AS "{phase}"' for phase in _PHASES)
        return Data(
            (
                _over_time(f'mean("{field}")', measurement, _PLUG_TAGS),
                _over_time(phases, measurement, _PLUG_TAGS, "$col"),
            )
        )

    def current_now(self) -> Data:
        """The mean of the phases."""
        return self._of_phases_now(f.PLUG_CURRENT, " / 3")

    def current_and_limits(self) -> Data:
        limits = ((f.PLUG_CURRENT_LIMIT, "limit"), (f.PLUG_CURRENT_MAX, "socket"))
        return Data(
            (
                *self.by_phase(f.PLUG_CURRENT).targets,
                *(
                    _over_time(f'last("{stored(family)[1]}")', "ccl_plug", _PLUG_TAGS, name)
                    for family, name in limits
                ),
            )
        )

    def in_use(self) -> Data:
        parts = ((f.PLUG_CONNECTED, "vehicle"), (f.PLUG_LOCKED, "locked"), (f.PLUG_ENABLED, "in service"))
        return Data(
            tuple(
                _over_time(f'last("{stored(family)[1]}")', "ccl_plug", _PLUG_TAGS, name) for family, name in parts
            )
        )

    def faults_now(self) -> Data:
        """The faults of the plug that hold, as one text."""
        measurement, field = stored(f.PLUG_ERROR)
        target = _now(f'last("{field}_text")', measurement, _PLUG_TAGS)
        return Data((replace(target, legend=FAULT_TEXT),))

    def faults(self, family: Family) -> Data:
        """The faults that hold, as one text."""
        measurement, field = stored(family)
        tags = _PLUG_TAGS if family.labels else _PLUG_TAGS[:1]
        return Data((_over_time(f'last("{field}_text")', measurement, tags),))

    # Energy, cost and charges

    def _days(self) -> str:
        measurement, field = stored(f.PLUG_ENERGY)
        what = f'non_negative_difference(last("{field}")){KWH} AS "Energy"'
        return f"{_select(what, measurement, _PLUG_TAGS, '1d', 'previous')} {_ZONE}"

    def _costs(self) -> str:
        return f'SELECT {COST} AS "paid" FROM "ccl_finished_charge" WHERE $timeFilter AND {PLUG}'

    def energy_in_range(self) -> Data:
        """Kilowatt-hours between the first and the last reading of the range of the panel."""
        measurement, field = stored(f.PLUG_ENERGY)
        what = f'(last("{field}") - first("{field}")){KWH}'
        return Data((Target(_select(what, measurement, _PLUG_TAGS), "$tag_charger $tag_plug"),))

    def cost_in_range(self) -> Data:
        """Of the sessions that ended in the range of the panel."""
        return self.charges_summed()[2]

    def session_cost(self) -> Data:
        """Of the session that is under way, or of the last one."""
        energy, begin, duration = (
            f'last("{stored(family)[1]}")' for family in (f.CHARGE_ENERGY, f.CHARGE_BEGIN, f.CHARGE_DURATION)
        )
        price = cost.of_charge(energy + KWH, begin, f"({begin} + {duration})", _least)
        return Data((_now(price, "ccl_charge", _PLUG_TAGS),))

    def energy_per_day(self) -> Data:
        return Data((Target(self._days(), "$tag_charger $tag_plug"),))

    def cost_per_day(self) -> Data:
        return self._days_of(f'SELECT sum("paid") FROM ({self._costs()})')

    def _days_of(self, query: str) -> Data:
        days = f'{query} WHERE $timeFilter GROUP BY time(1d), "charger", "plug" fill(none) {_ZONE}'
        return Data((Target(days, "$tag_charger $tag_plug"),))

    def energy_per_month(self) -> Data:
        return Data((Target(self._days(), table=True),), summed_by_month("Time", "Energy"))

    def cost_per_month(self) -> Data:
        days = (
            f'SELECT sum("paid") AS "Cost" FROM ({self._costs()}) '
            f"WHERE $timeFilter GROUP BY time(1d) fill(none) {_ZONE}"
        )
        return Data((Target(days, table=True),), summed_by_month("Time", "Cost"))

    def idle_per_day(self) -> Data:
        """Hours in which a vehicle was seen that did not charge, from minutes."""
        number = next(code for code, word in codes("plug_state").items() if word == "charging")
        idle = f'"vehicle_connected" = 1 AND "state" != {number}'
        seen = (
            f'SELECT max("state") AS "seen" FROM "ccl_plug" WHERE $timeFilter AND {idle} AND {PLUG} '
            'GROUP BY time(1m), "charger", "plug" fill(none)'
        )
        return self._days_of(f'SELECT count("seen") / 60 FROM ({seen})')

    def charges(self, order: Sequence[str]) -> Data:
        asked = {
            "Charger": '"charger"',
            "Plug": '"plug"',
            "Begin": f'"{stored(f.FINISHED_BEGIN)[1]}" * 1000',
            "End": f'"{stored(f.FINISHED_END)[1]}" * 1000',
            "Energy": f'"{stored(f.FINISHED_ENERGY)[1]}"{KWH}',
            "Cost": COST,
            "Duration": f'"{stored(f.FINISHED_DURATION)[1]}"',
            "Highest power": f'"{stored(f.FINISHED_HIGHEST_POWER)[1]}"',
            "Stopped by": f'"{stored(f.FINISHED_STOP_REASON)[1]}"',
        }
        what = ", ".join(f'{asked[heading]} AS "{heading}"' for heading in order if heading in asked)
        return _table(f'SELECT {what} FROM "ccl_finished_charge" WHERE $timeFilter AND {PLUG}')

    def charges_summed(self) -> tuple[Data, Data, Data]:
        energy, end = stored(f.FINISHED_ENERGY)[1], stored(f.FINISHED_END)[1]
        legend = "$tag_charger $tag_plug"
        count, total = (
            _select(what, "ccl_finished_charge", _PLUG_TAGS)
            for what in (f'count("{end}")', f'sum("{energy}"){KWH}')
        )
        paid = f'SELECT sum("paid") FROM ({self._costs()}) WHERE $timeFilter GROUP BY "charger", "plug"'
        return Data((Target(count, legend),)), Data((Target(total, legend),)), Data((Target(paid, legend),))

    # The station

    def contact(self) -> Data:
        return self.of_the_station(f.UP)

    def contact_now(self) -> Data:
        return self.station_now(f.UP)

    def reading_time(self) -> Data:
        parts = ((f.SCRAPE_DURATION, "took"), (f.SCRAPE_TIMEOUT, "allowed"))
        return Data(
            tuple(
                _over_time(f'max("{stored(family)[1]}")', "ccl_scrape", ("charger",), name)
                for family, name in parts
            )
        )

    def documents(self) -> Data:
        return Data((_over_time('last("document_success")', "ccl_scrape", ("charger", "document")),))

    def firmware(self, order: Sequence[str]) -> Data | None:
        what = ", ".join(f'last("{label}") AS "{label.capitalize()}"' for label in f.STATION_INFO.labels)
        return _table(_select(what, "ccl_station", ("charger",)))

    def rejected(self) -> Data | None:
        return None

    def alerts(self, order: Sequence[str]) -> Data | None:
        return None
