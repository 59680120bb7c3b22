"""What we are measured against: a walk by variable, prometheus_client with a bare GET, snmp_exporter."""

import re
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import requests
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.openmetrics.exposition import generate_latest

from benchmarks.processes import MEASURED, OTHERS, Running, await_answer, running, server
from ccl_exporter.exporter.charger import Charger
from ccl_exporter.metrics.families import Family, Sample
from ccl_exporter.metrics.samples import samples
from ccl_exporter.settings import ChargerSettings

_INTERFACES = 100
# Labels as the module if_mib has them, which snmp_exporter's makers ship: three names for each interface (IF-MIB).
_NAMES = {
    "ifAlias": "1.3.6.1.2.1.31.1.1.1.18",
    "ifDescr": "1.3.6.1.2.1.2.2.1.2",
    "ifName": "1.3.6.1.2.1.31.1.1.1.1",
}
_COUNTERS = {
    "ifInOctets": "1.3.6.1.2.1.2.2.1.10",
    "ifInUcastPkts": "1.3.6.1.2.1.2.2.1.11",
    "ifOutOctets": "1.3.6.1.2.1.2.2.1.16",
    "ifOutUcastPkts": "1.3.6.1.2.1.2.2.1.17",
}


def walk_by_variable(url: str, variables: list[str], devices: list[str]) -> None:
    """What a plain client does: the devices, what each is, and each variable's description and value alone."""
    session = requests.Session()
    targets = [
        "services/user/devices.xml",
        *(f"services/user/deviceInfo.xml?id={_quoted(device)}" for device in devices),
        *(
            f"services/user/{document}?var={_quoted(variable)}"
            for variable in variables
            for document in ("varInfo.xml", "values.xml")
        ),
    ]
    for target in targets:
        session.get(f"{url}/{target}", timeout=30).raise_for_status()


def _quoted(name: str) -> str:
    return name.replace(" ", "%20")


class _Collector:
    """The samples as families of prometheus_client, made anew at each scrape as its collectors do."""

    def __init__(self, found: list[Sample]) -> None:
        self._by_family: dict[Family, list[Sample]] = {}
        for sample in found:
            self._by_family.setdefault(sample.family, []).append(sample)

    def collect(self) -> Iterator[Metric]:
        for family, mine in self._by_family.items():
            bare = family.name.removesuffix("_total").removesuffix("_info")
            metric: Any
            match family.kind:
                case "gauge":
                    metric = GaugeMetricFamily(bare, family.help, labels=family.labels)
                case "counter":
                    metric = CounterMetricFamily(bare, family.help, labels=family.labels)
                case "info":
                    metric = InfoMetricFamily(bare, family.help, labels=family.labels)
                case "stateset":
                    metric = StateSetMetricFamily(bare, family.help, labels=family.labels)
            for sample in mine:
                states = {word: word in sample.active for word in family.states}
                metric.add_metric(sample.labels, {"info": {}, "stateset": states}.get(family.kind, sample.value))
            yield metric


def client_and_get(url: str, count: int) -> float:
    """Seconds of processor time for one rendering of a charger's samples by prometheus_client and one bare GET."""
    snapshot = Charger(ChargerSettings("peer", url)).read(60)
    collector, session = _Collector(samples(snapshot)), requests.Session()
    ids = "&".join(f"id={_quoted(device.id)}" for device in snapshot.inventory.devices)
    target = f"{url}/services/user/values.xml?{ids}"
    for _ in range(20):
        _bare_scrape(session, target, collector)
    began = process_time()
    for _ in range(count):
        _bare_scrape(session, target, collector)
    return (process_time() - began) / count


def _bare_scrape(session: requests.Session, target: str, collector: _Collector) -> None:
    assert session.get(target, timeout=30).content
    assert generate_latest(collector)  # type: ignore[no-untyped-call] # it has no types


@contextmanager
def snmp_exporter() -> Iterator[tuple[Running, str]]:
    """Debian's snmp_exporter beside an snmpd with a table of 400 counters; the process and the URL of a scrape."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cells = [
            "".join(f'override .{oid}.{row} octet_str "{name} {row}"\n' for name, oid in _NAMES.items())
            + "".join(f"override .{oid}.{row} counter {row * 1000}\n" for oid in _COUNTERS.values())
            for row in range(1, _INTERFACES + 1)
        ]
        (folder / "snmpd.conf").write_text("rocommunity public 127.0.0.1\n" + "".join(cells))
        lookups = "".join(
            f"    - labels: [ifIndex]\n      labelname: {name}\n      oid: {oid}\n      type: DisplayString\n"
            for name, oid in _NAMES.items()
        )
        metrics = "".join(
            f"  - name: {name}\n    oid: {oid}\n    type: counter\n    help: {name} - {oid}\n"
            f"    indexes:\n    - labelname: ifIndex\n      type: gauge\n    lookups:\n{lookups}"
            for name, oid in _COUNTERS.items()
        )
        walk = "".join(f"  - {oid}\n" for oid in (*_NAMES.values(), *_COUNTERS.values()))
        (folder / "snmp.yml").write_text(
            f"bench:\n  walk:\n{walk}  version: 2\n  auth:\n    community: public\n  metrics:\n{metrics}"
        )
        udp, tcp = 16161, 19116
        state = {"SNMP_PERSISTENT_DIR": name, "MIBS": ""}
        agent = (server("snmpd"), "-f", "-C", "-c", str(folder / "snmpd.conf"), "-Lf", str(folder / "log"))
        command = (server("prometheus-snmp-exporter"), f"--config.file={folder / 'snmp.yml'}")
        with (
            running(*agent, f"udp:127.0.0.1:{udp}", core=OTHERS, env=state),
            running(
                *command, f"--web.listen-address=127.0.0.1:{tcp}", core=MEASURED, env={"GOMAXPROCS": "1"}
            ) as exporter,
        ):
            url = f"http://127.0.0.1:{tcp}/snmp?target=127.0.0.1:{udp}&module=bench"
            await_answer(f"http://127.0.0.1:{tcp}/")
            yield exporter, url


def snmp_version() -> str:
    """The version that Debian's snmp_exporter prints."""
    program = server("prometheus-snmp-exporter")
    printed = subprocess.run((program, "--version"), capture_output=True, text=True, check=True)
    found = re.search(r"version (\S+?),? ", printed.stdout + printed.stderr)
    return found[1] if found is not None else "?"


def series(text: str) -> int:
    """How many series an exposition has."""
    return sum(1 for line in text.splitlines() if line and not line.startswith("#"))


def scrape(url: str, count: int) -> str:
    """Scrape so many times, as Prometheus would; the last exposition."""
    text = ""
    for _ in range(count):
        with urllib.request.urlopen(url) as answer:
            text = answer.read().decode()
    return text


def bare_gets(url: str, targets: list[str]) -> float:
    """Seconds for these documents, one after the other over one connection that is open already."""
    session = requests.Session()
    session.get(f"{url}/{targets[0]}", timeout=30)
    began = perf_counter()
    for target in targets:
        assert session.get(f"{url}/{target}", timeout=30).content
    return perf_counter() - began
