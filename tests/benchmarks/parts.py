"""The parts of the benchmark; each gives rows of ours, theirs and their ratio, measured in the same run."""

import json
import math
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from time import perf_counter, sleep

from helpers.support import Clock

from benchmarks import peers
from benchmarks.processes import HERE, MEASURED, Exporter, Farm, alone, exporter, farm
from ccl_exporter.exporter.charger import SHARED_FOR, Charger
from ccl_exporter.powerstudio.inventory import variable_ids
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.station.judge import core_variables


@dataclass(frozen=True)
class Row:
    """One figure: what was measured, ours and theirs with their unit, who they are, and what must be reached."""

    what: str
    ours: float
    theirs: float | None = None
    unit: str = ""
    peer: str = ""
    must: str = ""

    def cells(self) -> Sequence[str]:
        ratio = f"{self.ours / self.theirs:.3g}" if self.theirs else ""
        theirs = f"{self.theirs:.4g} {self.unit}" if self.theirs is not None else ""
        return self.what, f"{self.ours:.4g} {self.unit}".strip(), theirs.strip(), self.peer, ratio, self.must


def on_the_charger(short: bool) -> Iterator[Row]:
    """Requests and bytes of a scrape against a walk that asks for each variable alone."""
    scrapes = 20 if short else 240
    with farm(0.0) as chargers:
        plain = Charger(ChargerSettings("plain", chargers.url("idle-0"))).read(60)
        devices = [device.id for device in plain.inventory.devices]
        before = chargers.counts()
        peers.walk_by_variable(chargers.url("idle-1"), sorted(variable_ids(plain.inventory)), devices)
        walk = chargers.counts() - before
        for site, module in (
            ("idle", "both"),
            ("charging", "both"),
            ("idle", "core"),
            ("charging", "core"),
            ("proven", "both"),
            ("proven", "core"),
        ):
            clock = Clock(0.0)
            name = f"{site}-{module}"
            charger = Charger(ChargerSettings(name, chargers.url(name)), clock=clock.still)
            wanted = core_variables if module == "core" else None
            for _ in range(8):
                clock.at += 15
                charger.read(60, wanted)
            before = chargers.counts()
            for _ in range(scrapes):
                clock.at += 15
                assert charger.read(60, wanted).up
            requested = chargers.counts() - before
            for kind, unit in (("requests", ""), ("body bytes", "B"), ("wire bytes", "B")):
                must = {"requests": "1 to 2" if site != "proven" else "at most 6 more"}.get(kind, "")
                if module == "core" and site != "proven" and kind == "body bytes":
                    must = "at most 3,000 B"
                yield Row(
                    f"{kind} a scrape, {site}, {module}",
                    requested[f"{site} {kind}"] / scrapes,
                    walk[f"idle {kind}"],
                    unit,
                    "each variable alone",
                    must,
                )


def processor(short: bool) -> Iterator[Row]:
    """Processor time of a scrape against prometheus_client with a bare GET, and against snmp_exporter."""
    rounds, count = (1, 60) if short else (7, 600)
    ring = [f"idle-{number}" for number in range(count)]
    ours: dict[str, list[float]] = {"both": [], "core": []}
    client: list[float] = []
    snmp: list[float] = []
    with farm(0.0) as chargers, exporter(chargers, ring) as exporting, peers.snmp_exporter() as (peer, url):
        lines = {module: peers.series(exporting.get(_probe(ring[0], module))) for module in ours}
        for module in ours:
            for _ in range(3):
                exporting.load(module, "flat-out", str(len(ring)))
        snmp_lines = peers.series(peers.scrape(url, 50))
        for _ in range(rounds):
            for module, found in ours.items():
                began = exporting.cpu()
                exporting.load(module, "flat-out", str(len(ring)))
                found.append((exporting.cpu() - began) / len(ring) * 1e3)
            client.append(_client_and_get(chargers, count) * 1e3)
            began = peer.cpu()
            peers.scrape(url, count)
            snmp.append((peer.cpu() - began) / count * 1e3)
    library = f"prometheus_client {version('prometheus-client')} + requests {version('requests')}"
    debian = f"snmp_exporter {peers.snmp_version()}, {snmp_lines} series"
    full, less, theirs = (statistics.median(found) for found in (ours["both"], ours["core"], snmp))
    yield Row("a scrape, both layers", full, statistics.median(client), "ms", library, "at most 1.2")
    yield Row("a scrape, both layers", full, theirs, "ms", debian, "aim below 1")
    yield Row("a scrape, core", less, theirs, "ms", debian)
    per_series = theirs / snmp_lines * 1e3
    yield Row(f"a series of {lines['both']}", full / lines["both"] * 1e3, per_series, "µs", debian, "at most 0.5")
    yield Row(f"a series of {lines['core']}", less / lines["core"] * 1e3, per_series, "µs", debian)


def _probe(name: str, module: str) -> str:
    return f"/probe?target={name}" + ("" if module == "both" else f"&module={module}")


def _client_and_get(chargers: Farm, count: int) -> float:
    command = ("taskset", "-c", str(MEASURED), sys.executable, str(HERE / "peer.py"), chargers.url("idle-9999"))
    done = subprocess.run((*command, str(count)), stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout))


def wall(short: bool) -> Iterator[Row]:
    """How long a scrape takes against bare GETs of the same documents."""
    for latency, must in ((0.005, ""), (0.3, "at most 1.15")):
        ours, bare = [], []
        with farm(latency) as chargers, exporter(chargers, ["charging-0"]) as exporting:
            for _ in range(4):
                exporting.get("/probe?target=charging-0")
                sleep(SHARED_FOR + 0.05)
            for _ in range(4 if short else 20):
                known = len(chargers.targets("charging-0"))
                began = perf_counter()
                exporting.get("/probe?target=charging-0")
                ours.append((perf_counter() - began) * 1e3)
                asked = chargers.targets("charging-0")[known:]
                bare.append(peers.bare_gets(chargers.url("charging-1"), asked) * 1e3)
                sleep(SHARED_FOR + 0.05)
        yield Row(
            f"a scrape, charger answering in {latency * 1e3:g} ms",
            statistics.median(ours),
            statistics.median(bare),
            "ms",
            "bare GETs of the same documents",
            must,
        )


def growth(short: bool) -> Iterator[Row]:
    """Many chargers from one process on one core; of a fifth nothing comes, or one byte a second."""
    plan = (
        ((1, 2.0), (10, 2.0), (60, 3.0))
        if short
        else ((1, 15), (10, 15), (100, 15), (1000, 15), (2000, 15), (5000, 30))
    )
    for count, interval in plan:
        slow = round(count / 10)
        names = [f"dead-{number}" for number in range(slow)] + [f"drip-{number}" for number in range(slow)]
        names += [f"{('idle', 'charging')[number % 2]}-{number}" for number in range(count - len(names))]
        random.Random(1).shuffle(names)
        healthy = [name for name in names if not name.startswith(("dead", "drip"))]
        with farm(0.005) as chargers, exporter(chargers, names) as exporting:
            first = _until_all_were_read(exporting, interval, len(healthy))
            cpu, rounds = exporting.cpu(), 2 if short else 4
            found = exporting.load("core", "paced", str(interval), str(rounds))
            cpu = (exporting.cpu() - cpu) / (interval * rounds)
            memory, threads = exporting.megabytes(), exporting.threads()
        seconds = sorted(found["seconds"].get("idle", []) + found["seconds"].get("charging", []))
        about = f"{count:,} charger{'s' if count > 1 else ''} every {interval:g} s"
        large = count >= 2000
        late = found["failed"] + len(healthy) * rounds - len(seconds) + sum(second > 1 for second in seconds)
        yield Row(f"{about}: late or failed, of {len(seconds)}", late, must="0" if large else "")
        yield Row(
            f"{about}: p99 of the healthy",
            seconds[int(len(seconds) * 0.99)] * 1e3,
            statistics.median(seconds) * 1e3,
            "ms",
            "their median",
            "below 500 ms" if large else "",
        )
        yield Row(f"{about}: share of a core", cpu, unit="cores")
        yield Row(f"{about}: memory", memory, unit="MB", must="below 250 MB" if large else "")
        yield Row(f"{about}: threads", threads)
        yield Row(f"{about}: all read for the first time after", first, unit="s")


_MOST_ROUNDS = 12
"""Rounds until all must have been read; a machine that is too busy for them shows in what is late or failed."""


def _until_all_were_read(exporting: Exporter, interval: float, healthy: int) -> float:
    """Scrape round after round until one brings all; how long that took."""
    began = perf_counter()
    for _ in range(_MOST_ROUNDS):
        found = exporting.load("core", "paced", str(interval), "1")
        answered = sum(len(seconds) for kind, seconds in found["seconds"].items() if kind in ("idle", "charging"))
        if found["failed"] == 0 and answered == healthy:
            return perf_counter() - began
    return math.inf


def sizes(short: bool) -> Iterator[Row]:
    """Processor time of a scrape by the number of variables, for each of them."""
    ring_of = 120 if short else 400
    base: float | None = None
    for variables in (171, 10, 2000):
        ring = [f"v{variables}-{number}" for number in range(ring_of)]
        with farm(0.0) as chargers, exporter(chargers, ring) as exporting:
            for _ in range(3):
                exporting.load("both", "flat-out", str(ring_of))
            began = exporting.cpu()
            for _ in range(2):
                exporting.load("both", "flat-out", str(ring_of))
            each = (exporting.cpu() - began) / (2 * ring_of) / variables * 1e6
        base = base if base is not None else each
        yield Row(f"a variable of {variables:,}", each, base, "µs", "one of 171")


def over_time(short: bool) -> Iterator[Row]:
    """Memory, descriptors and threads over many scrapes."""
    yield from endurance(2_000 if short else 50_000, "both")


def endurance(total: int, module: str) -> Iterator[Row]:
    """The same over any number of scrapes; ten looks after a tenth of them as warm-up."""
    with farm(0.0) as chargers, alone(chargers, "idle-0") as exporting:
        for _ in range(5):
            exporting.get("/metrics")
        yield Row("one charger: memory", exporting.megabytes(), unit="MB", must="at most 50 MB")
    ring = [f"{('idle', 'charging')[number % 2]}-{number}" for number in range(400)]
    with farm(0.0) as chargers, exporter(chargers, ring) as exporting:
        looks = []
        for _ in range(11):
            exporting.load(module, "flat-out", str(total // 11))
            looks.append((exporting.megabytes(), exporting.descriptors(), exporting.threads()))
    for what, unit, position in (("memory", "MB", 0), ("descriptors", "", 1), ("threads", "", 2)):
        now, half, tenth = (looks[at][position] for at in (-1, len(looks) // 2, 0))
        yield Row(f"{what} after {total:,} scrapes", now, tenth, unit, "after a tenth", "1")
        yield Row(f"{what} after {total:,} scrapes", now, half, unit, "after half", "1")


PARTS: dict[str, Callable[[bool], Iterator[Row]]] = {
    "charger": on_the_charger,
    "processor": processor,
    "wall": wall,
    "sizes": sizes,
    "growth": growth,
    "time": over_time,
}


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown."""
    lines: list[Sequence[str]] = [("what", "ours", "theirs", "who they are", "ratio", "must reach"), ("---",) * 6]
    lines += [row.cells() for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
