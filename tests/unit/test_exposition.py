"""Both expositions are what their own parsers read, in an order that never changes, and named by the rules."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import pytest
from helpers.support import PROJECT
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
)
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import FAMILIES, Family, Sample
from ccl_exporter.outputs.prometheus import exposition

GROUPS = (f.READING, f.CORE, f.DEVICES, (*f.VARIABLES.values(),), f.EXPORTER, f.FOLLOW, f.PLAN, f.FINISHED_CHARGE)
EVERY = tuple(family for group in GROUPS for family in group)
Parse = Callable[[str], Iterable[Metric]]
parse_openmetrics: Parse = openmetrics_parser.text_string_to_metric_families
TEXT = "text/plain; version=0.0.4"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
both_formats = pytest.mark.parametrize(
    ("accept", "parse"), [(TEXT, parse_text), (OPENMETRICS, parse_openmetrics)], ids=["text", "OpenMetrics"]
)
UNITS = (
    *("voltampere_seconds", "var_seconds", "seconds", "joules", "volts", "amperes", "watts", "voltamperes"),
    *("vars", "hertz", "celsius", "degrees", "ratio"),
)
LABELS = (
    "Yard",
    "Bay.A",
    'the "big" one',
    "back\\slash",
    "two\nlines",
    "Caña ½ \U0001f50c",
    "{a=b,c}",
    "",
    " ",
    "a\rb\x85c\u2028d",
)


def sample(family: Family, number: int) -> Sample:
    """Sample `number` of a family, with labels of its own."""
    labels = tuple(f"{name} {number}" for name in family.labels)
    return Sample(family, labels, 1.0 if family.kind == "info" else number + 0.5, family.states[:1])


ALL = [sample(family, number) for family in FAMILIES for number in range(3 if family.labels else 1)]


def written(samples: Iterable[Sample], accept: str) -> str:
    return exposition(samples, FAMILIES, accept)[0].decode()


def read(text: str, parse: Parse) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every series by name and labels; none may be there twice."""
    found = {}
    for family in parse(text):
        for series in family.samples:
            key = (series.name, frozenset(series.labels.items()))
            assert key not in found
            found[key] = series.value
            assert series.timestamp is None
    return found


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


class TestFormats:
    @both_formats
    def test_every_family_is_read_by_the_formats_own_parser(self, accept: str, parse: Parse) -> None:
        names = {name for name, _ in read(written(ALL, accept), parse)}

        assert names == {family.name for family in FAMILIES}

    @both_formats
    def test_each_family_has_its_help_and_type_once_and_in_one_piece(self, accept: str, parse: Parse) -> None:
        text = written(ALL, accept)
        seen = re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)

        assert seen == re.findall(r"^# HELP (\S+) \S", text, re.MULTILINE)
        assert len(seen) == len(set(seen)) == len(FAMILIES)
        assert [family.name for family in parse(text)] == [
            # The parser of the text format gives counters the name without its suffix.
            name.removesuffix("_total")
            for name in seen
        ]

    def test_in_openmetrics_a_family_is_of_its_own_kind(self) -> None:
        found = {
            (read_back.type, read_back.documentation, *sorted({series.name for series in read_back.samples}))
            for read_back in parse_openmetrics(written(ALL, OPENMETRICS))
        }

        assert found == {(family.kind, family.help, family.name) for family in FAMILIES}

    def test_in_openmetrics_the_end_is_marked(self) -> None:
        assert written(ALL, OPENMETRICS).endswith("\n# EOF\n")
        assert written([], OPENMETRICS) == "# EOF\n"

    def test_in_openmetrics_a_unit_is_named_where_the_name_ends_with_one(self) -> None:
        units = {family.name: family.unit for family in parse_openmetrics(written(ALL, OPENMETRICS))}

        assert units["ccl_plug_energy_joules"] == "joules"
        assert units["ccl_plug_power_reduction_ratio"] == "ratio"
        assert units["ccl_variable_voltamperes"] == "voltamperes"
        assert units["ccl_variable_voltampere_seconds"] == "voltampere_seconds"
        assert units["ccl_variable_timestamp_seconds"] == "seconds"
        assert units["ccl_variable_value"] == ""
        assert units["ccl_plug_state"] == ""

    def test_the_type_is_that_of_the_format(self) -> None:
        assert exposition([], FAMILIES, "")[1].startswith("text/plain; version=0.0.4")
        assert exposition([], FAMILIES, OPENMETRICS)[1].startswith("application/openmetrics-text; version=1.0.0")

    def test_prometheus_itself_gets_openmetrics(self) -> None:
        accept = (
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        )

        assert exposition([], FAMILIES, accept)[1].startswith("application/openmetrics-text; version=1.0.0")

    def test_any_other_accept_header_gets_text(self) -> None:
        wishes = ("", "*/*", "text/html", "nonsense", ";;,=q", "\u00ff")

        assert [one for one in wishes if not written([sample(f.UP, 0)], one).endswith("ccl_up 0.5\n")] == []

    def test_a_family_without_samples_is_not_named(self) -> None:
        assert "ccl_charge" not in written([sample(f.UP, 0)], TEXT)


class Collected:
    """Samples as a collector of prometheus_client, made with its classes and without ours."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = list(samples)

    def collect(self) -> Iterable[Metric]:
        for family in FAMILIES:
            mine = sorted((s for s in self._samples if s.family is family), key=lambda s: s.labels)
            phases = any(s.labels[1] for s in mine) if "phase" in family.labels else None
            names = family.labels if phases is not False else family.labels[:1]
            bare = family.name.removesuffix("_total").removesuffix("_info")
            unit = next((unit for unit in UNITS if bare.endswith(f"_{unit}")), "")
            metric: Any
            match family.kind:
                case "gauge":
                    metric = GaugeMetricFamily(bare, family.help, labels=names, unit=unit)
                case "counter":
                    metric = CounterMetricFamily(bare, family.help, labels=names, unit=unit)
                case "info":
                    metric = InfoMetricFamily(bare, family.help, labels=names)
                case "stateset":
                    metric = StateSetMetricFamily(bare, family.help, labels=names)
            for one in mine:
                words = {word: word in one.active for word in family.states}
                value = {"info": {}, "stateset": words}.get(family.kind, one.value)
                metric.add_metric(one.labels[: len(names)], value)
            if mine:
                yield metric


class TestAsTheLibrary:
    """What is kept from scrape to scrape changes no byte of what prometheus_client would write."""

    @pytest.mark.parametrize(
        "accept",
        [
            TEXT,
            "text/plain; version=1.0.0; escaping=allow-utf-8",
            "text/plain; version=1.0.0; escaping=dots",
            OPENMETRICS,
            "application/openmetrics-text; version=1.0.0; escaping=allow-utf-8",
            "application/openmetrics-text; version=1.0.0; escaping=values",
            "application/openmetrics-text; version=2.0.0",
            "application/openmetrics-text",
        ],
    )
    @given(data=st.data())
    @settings(max_examples=40, deadline=None)
    def test_every_family_is_written_as_the_library_writes_it(self, accept: str, data: st.DataObject) -> None:
        text = st.one_of(st.sampled_from(LABELS), st.text(st.characters(codec="utf-8"), max_size=8))
        value = st.one_of(st.sampled_from([0.0, 1.0, 1e6, 1e7, 17479404000.0, 1e22, -1e9]), st.floats())
        made: dict[tuple[str, tuple[str, ...]], Sample] = {}
        for family in data.draw(st.lists(st.sampled_from(FAMILIES), max_size=12)):
            labels = tuple(data.draw(text) for _ in family.labels)
            active = tuple(word for word in family.states if data.draw(st.booleans()))
            number = 1.0 if family.kind == "info" else data.draw(value)
            made[family.name, labels] = Sample(family, labels, number, active)
        encode, kind = choose_encoder(accept)

        # Twice, as the first time nothing is kept yet.
        for _ in range(2):
            assert exposition(made.values(), FAMILIES, accept) == (encode(Collected(made.values())), kind)


class TestOrder:
    @both_formats
    def test_the_order_of_the_samples_does_not_show(self, accept: str, parse: Parse) -> None:
        expected = written(ALL, accept)
        for seed in range(5):
            shuffled = ALL.copy()
            random.Random(seed).shuffle(shuffled)

            assert written(shuffled, accept) == expected

    def test_families_come_in_the_order_of_the_list(self) -> None:
        names = re.findall(r"^# TYPE (\S+) ", written(ALL, TEXT), re.MULTILINE)

        assert names == [family.name for family in FAMILIES]

    def test_samples_come_by_their_labels(self) -> None:
        made = [Sample(f.DEVICE_UP, (name,), 1.0) for name in ("b", "B", "a", "a.b", "a b")]

        found = re.findall(r'device="(.*)"', written(made, TEXT))

        assert found == ["B", "a", "a b", "a.b", "b"]


class TestSeries:
    @both_formats
    def test_a_label_is_read_as_it_was_given(self, accept: str, parse: Parse) -> None:
        made = [Sample(f.DEVICE_UP, (label,), 1.0) for label in LABELS]
        made += [Sample(f.DEVICE_INFO, (label, label, label), 1.0) for label in LABELS]

        found = read(written(made, accept), parse)

        assert found == {
            **{key("ccl_device_up", device=label): 1 for label in LABELS},
            **{key("ccl_device_info", device=label, type=label, description=label): 1 for label in LABELS},
        }

    @given(labels=st.lists(st.text(st.characters(codec="utf-8"), max_size=12), unique=True, max_size=5))
    @settings(max_examples=100, deadline=None)
    def test_any_labels_are_read_as_they_were_given(self, labels: list[str]) -> None:
        made = [Sample(f.DEVICE_UP, (label,), float(number)) for number, label in enumerate(labels)]

        found = read(written(made, OPENMETRICS), parse_openmetrics)

        assert found == {key("ccl_device_up", device=label): number for number, label in enumerate(labels)}

    @both_formats
    def test_a_value_is_read_as_it_was_given(self, accept: str, parse: Parse) -> None:
        values = (
            0.0,
            1.0,
            -0.5,
            4855.39,
            17479404000.0,
            1e-9,
            1.7e308,
            1700000000.125,
            0.1 + 0.2,
            123456789.123456,
        )
        made = [Sample(f.VARIABLES[None], ("Yard", f"{value!r}"), value) for value in values]

        found = read(written(made, accept), parse)

        assert found == {
            key("ccl_variable_value", device="Yard", variable=f"{value!r}"): value for value in values
        }

    @both_formats
    def test_a_counter_is_written_without_a_time_of_creation(self, accept: str, parse: Parse) -> None:
        found = read(written([Sample(f.PLUG_ENERGY, ("Bay.A",), 3.6e9)], accept), parse)

        assert found == {key("ccl_plug_energy_joules_total", plug="Bay.A"): 3.6e9}

    @both_formats
    def test_of_a_state_all_words_are_there_and_one_holds(self, accept: str, parse: Parse) -> None:
        found = read(written([Sample(f.PLUG_STATE, ("Bay.A",), 8.0, ("charging",))], accept), parse)

        assert {dict(labels)["ccl_plug_state"]: value for (_, labels), value in found.items()} == {
            word: float(word == "charging") for word in f.PLUG_STATE.states
        }

    @both_formats
    def test_of_faults_several_may_hold_or_none(self, accept: str, parse: Parse) -> None:
        made = [
            Sample(f.PLUG_ERROR, ("A",), 33.0, ("cfg", "rcd")),
            Sample(f.PLUG_ERROR, ("B",), 0.0),
            Sample(f.STATION_ERROR, (), 0.0),
        ]

        found = read(written(made, accept), parse)

        assert {labels for (_, labels), value in found.items() if value} == {
            frozenset({("plug", "A"), ("ccl_plug_error", "cfg")}),
            frozenset({("plug", "A"), ("ccl_plug_error", "rcd")}),
        }
        assert len(found) == 2 * len(f.PLUG_ERROR.states) + len(f.STATION_ERROR.states)

    def test_the_code_of_a_state_does_not_show(self) -> None:
        one, other = (written([Sample(f.PLUG_STATE, ("A",), code, ("unknown",))], TEXT) for code in (98.0, 99.0))

        assert one == other


class TestPhases:
    @both_formats
    def test_without_phases_there_is_no_such_label(self, accept: str, parse: Parse) -> None:
        made = [Sample(f.PLUG_POWER, (plug, ""), 7.0) for plug in ("A", "B")]

        found = read(written(made, accept), parse)

        assert found == {key("ccl_plug_power_watts", plug=plug): 7.0 for plug in ("A", "B")}

    @both_formats
    def test_with_phases_each_has_its_series(self, accept: str, parse: Parse) -> None:
        made = [Sample(f.PLUG_POWER, ("A", phase), 7.0) for phase in ("l3", "l1", "l2")]

        found = read(written(made, accept), parse)

        assert found == {key("ccl_plug_power_watts", plug="A", phase=phase): 7.0 for phase in ("l1", "l2", "l3")}

    @both_formats
    def test_a_plug_with_and_one_without_phases_can_stand_together(self, accept: str, parse: Parse) -> None:
        made = [Sample(f.PLUG_POWER, labels, 7.0) for labels in (("A", "l1"), ("A", "l2"), ("B", ""))]

        assert len(read(written(made, accept), parse)) == 3

    def test_one_family_with_phases_gives_none_to_another(self) -> None:
        made = [Sample(f.PLUG_POWER, ("A", "l1"), 7.0), Sample(f.PLUG_VOLTAGE, ("A", ""), 230.0)]

        assert 'ccl_plug_voltage_volts{plug="A"} 230.0' in written(made, TEXT).splitlines()


class TestLists:
    """Outputs write what their list holds, so a family that is in none would never be seen."""

    def test_every_family_is_in_exactly_one_list(self) -> None:
        defined = [value for value in vars(f).values() if isinstance(value, Family)]
        counts = Counter(family.name for family in EVERY)

        assert [family.name for family in (*defined, *f.VARIABLES.values()) if counts[family.name] != 1] == []
        assert len(EVERY) == len(defined) + len(f.VARIABLES)

    def test_the_list_of_a_charger_is_made_of_its_parts(self) -> None:
        assert [*FAMILIES] == [family for group in GROUPS[:4] for family in group]

    def test_families_are_defined_in_one_module_only(self) -> None:
        package = PROJECT / "ccl_exporter"
        places = {
            str(path.relative_to(package))
            for path in package.rglob("*.py")
            if re.search(r"\bFamily\(", path.read_text(encoding="utf-8"))
        }

        assert places == {"metrics/families.py"}

    @pytest.mark.parametrize("accept", [TEXT, OPENMETRICS, "text/plain; version=1.0.0; escaping=dots"])
    def test_a_sample_of_a_family_that_is_not_in_the_list_is_an_error_that_names_it(self, accept: str) -> None:
        made = [sample(f.UP, 0), sample(f.READS, 0), sample(f.MQTT_SENT, 0)]

        with pytest.raises(ValueError, match="ccl_exporter_charger_reads_total, ccl_mqtt_sent_messages_total"):
            exposition(made, FAMILIES, accept)

        assert exposition(made, (*FAMILIES, *f.EXPORTER), accept)


def words(family: Family) -> set[str]:
    return set(family.name.split("_"))


def names_of(wrong: Callable[[Family], object]) -> list[str]:
    """The families of any output for which something holds."""
    return [family.name for family in EVERY if wrong(family)]


class TestNames:
    """The rules of names, over every family; each test lists all families that break one."""

    def test_no_name_is_there_twice(self) -> None:
        assert [name for name, count in Counter(family.name for family in EVERY).items() if count > 1] == []

    def test_no_name_is_anothers_with_a_suffix(self) -> None:
        suffixes = ("_total", "_info", "_created", "_bucket", "_count", "_sum", "_gcount", "_gsum")
        bare = {family.name: family.name.removesuffix("_total").removesuffix("_info") for family in EVERY}
        clashes = [
            (one.name, other.name)
            for one, other in product(EVERY, repeat=2)
            if one is not other
            and (
                bare[one.name] == bare[other.name]
                or any(other.name == name + suffix for suffix in suffixes for name in (one.name, bare[one.name]))
            )
        ]

        assert clashes == []

    def test_a_name_is_in_snake_case_behind_the_prefix(self) -> None:
        assert names_of(lambda family: not re.fullmatch(r"ccl(_[a-z]+)+", family.name)) == []

    def test_units_are_base_units_in_full(self) -> None:
        prefixed = r"(kilo|milli|mega|giga|micro)"
        units = {
            *("hours", "minutes", "days", "percent", "watthours", "kwh", "wh", "fahrenheit", "grams"),
            *("s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d", "w", "a"),
        }

        # What a kilowatt-hour costs is what every tariff says.
        price = [f.TARIFF_PRICE.name]
        assert names_of(lambda family: any(re.match(prefixed, word) for word in words(family))) == price
        assert names_of(lambda family: words(family) & units) == []

    def test_counters_end_in_total_and_nothing_else_does(self) -> None:
        assert names_of(lambda family: (family.kind == "counter") is not family.name.endswith("_total")) == []

    def test_infos_end_in_info_and_nothing_else_does(self) -> None:
        assert names_of(lambda family: (family.kind == "info") is not family.name.endswith("_info")) == []

    def test_no_name_ends_like_a_part_of_a_histogram(self) -> None:
        endings = ("_sum", "_count", "_bucket", "_created")

        assert names_of(lambda family: family.name.endswith(endings)) == []

    def test_no_name_reports_its_type(self) -> None:
        types = {"gauge", "counter", "stateset", "summary", "histogram", "metric"}

        assert names_of(lambda family: words(family) & types) == []

    def test_no_age_is_given_where_an_instant_can_be(self) -> None:
        assert names_of(lambda family: words(family) & {"age", "since", "ago", "elapsed"}) == []

    def test_labels_are_in_snake_case_and_differ(self) -> None:
        wrong = names_of(
            lambda family: (
                len(set(family.labels)) < len(family.labels)
                or not all(re.fullmatch(r"[a-z]+(_[a-z]+)*", label) for label in family.labels)
            )
        )

        assert wrong == []

    def test_no_label_names_a_person_a_session_or_the_charger(self) -> None:
        forbidden = {
            *("tag", "user", "card", "session", "charge", "charge_id", "serial", "error", "text"),
            *("instance", "job", "host", "target", "le", "quantile"),
        }

        assert names_of(lambda family: set(family.labels) & forbidden) == []
        # The exporter's own page tells of all chargers, whose names are a label there.
        assert names_of(lambda family: "charger" in family.labels and family not in f.EXPORTER) == []

    def test_only_a_device_reports_its_type_as_a_label(self) -> None:
        assert names_of(lambda family: "type" in family.labels) == [f.DEVICE_INFO.name]

    def test_help_is_a_sentence(self) -> None:
        assert names_of(lambda family: not re.fullmatch(r"[A-Z1].*[^.]\.", family.help)) == []

    def test_only_a_state_has_words_which_differ(self) -> None:
        assert names_of(lambda family: (family.kind == "stateset") is not bool(family.states)) == []
        assert names_of(lambda family: len(set(family.states)) < len(family.states)) == []

    def test_a_state_that_a_charger_reports_may_be_unknown(self) -> None:
        # The follower's reason is its own decision.
        wrong = names_of(lambda family: family.kind == "stateset" and "unknown" not in family.states)

        assert wrong == [f.FOLLOW_REASON.name]

    def test_a_state_has_no_label_of_its_own_name(self) -> None:
        assert names_of(lambda family: family.name in family.labels) == []
