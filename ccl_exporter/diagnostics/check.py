"""A check of a charger: what it can do, how fast, what is missing, or why it may not answer."""

import json
import re
import statistics
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from time import monotonic
from typing import Any

from ccl_exporter.diagnostics.in_parallel import in_parallel
from ccl_exporter.errors import ChargerError
from ccl_exporter.powerstudio.advice import advice, failure
from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.station.values import Reading
from ccl_exporter.text import align_columns, count, printable_text

ALL = 120.0
"""Seconds for all descriptions: a slow engine describes its variables one at a time."""

_SCRAPES = 3
_ENOUGH = 1.0  # seconds of scrapes
_AT_ONCE = 16

# protocol 7: published for CirCarLife before these versions.
_CVES = (
    ((4, 3), ("CVE-2018-12634", "CVE-2018-16668", "CVE-2018-16670", "CVE-2018-16671", "CVE-2018-16672")),
    ((4, 3, 1), ("CVE-2018-17918", "CVE-2018-17922")),
)


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found. Seconds are of the charger's answers; `requests` of one read each."""

    url: str
    product: str
    version: str
    devices: int
    variables: int
    understood: int
    described: int
    plugs: tuple[str, ...]
    way: str
    separator: str
    documents: tuple[str, ...]
    failing: tuple[str, ...]
    silent: tuple[str, ...]
    untyped: tuple[str, ...]
    first_requests: int
    first_seconds: float
    scrape_requests: int
    scrape_seconds: float
    cves: tuple[str, ...]

    def as_json(self) -> str:
        """The report for a program."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)

    def lines(self) -> list[str]:
        """The report for a person, worst news last."""
        report = [
            f"{self.url} is a PowerStudio engine: {self.product or 'unnamed product'} {self.version}".rstrip(),
            f"devices:    {self.devices}, variables: {self.variables} "
            f"({self.understood} with a number or date now, {self.described} with a description)",
            f"plugs:      {', '.join(self.plugs) or 'none'}",
            f"dialect:    {self.way}; between parameters: {self.separator or 'nothing is understood'}",
            f"documents:  {', '.join(self.documents)}",
            f"first read: {count(self.first_requests, 'request')} in {self.first_seconds:.2f} s",
            f"scrape:     {count(self.scrape_requests, 'request')} in {self.scrape_seconds:.2f} s",
        ]
        report += [f"failing:    {failing}" for failing in self.failing]
        report += [f"offline:    device {device} does not report STATUS 1" for device in self.silent]
        report += [
            f"hidden:     the type of device {device} is not known, so its texts and unknown numbers are not shown"
            for device in self.untyped
        ]
        if self.described < self.variables:
            report.append("missing:    without a description from the engine, units come from the catalogue")
        if self.cves:
            report.append(
                f"security:   this version has known vulnerabilities ({', '.join(self.cves)}); keep the charger in"
                " a network of its own, with the exporter as its only client"
            )
        # What a charger sends must not control the terminal.
        return [printable_text(line) for line in report]


def check(engine: Engine, patience: float) -> Report:
    """Read a charger a few times and report; raises `ChargerError` if there was no value.

    `patience` is in seconds, for its first answer.
    """
    began = monotonic()
    engine.reach(patience)
    first = engine.read(ALL)
    first = replace(first, requests=engine.requests, seconds=monotonic() - began)
    if not first.up:
        raise failure(first)
    # With an inventory that was known the first read is a scrape like any other; slow ones need no repetition.
    later = [first] if engine.was_known else [engine.read(ALL)]
    while len(later) < _SCRAPES and sum(scrape.seconds for scrape in later) < _ENOUGH:
        later.append(engine.read(ALL))
    last = later[-1]
    reading = Reading(last)
    information = last.inventory.information
    product, version = (information.product, information.version) if information is not None else ("", "")
    return Report(
        url=engine.url,
        product=product,
        version=version,
        devices=len(last.inventory.devices),
        variables=len(reading.listed),
        understood=len(reading.understood),
        described=len(last.inventory.variables),
        plugs=tuple(plug.name for plug in last.inventory.plugs),
        way=engine.way.value if engine.way is not None else "no values",
        separator=" ".join(engine.separators),
        documents=tuple(document.name for document in last.documents if document.success),
        failing=tuple(
            f"{document.name}: {document.failure}" for document in last.documents if not document.success
        ),
        silent=tuple(device for device in reading.devices if not reading.status_ok(device)),
        untyped=tuple(device.id for device in last.inventory.devices if device.type is None),
        first_requests=first.requests,
        first_seconds=first.seconds,
        scrape_requests=min(snapshot.requests for snapshot in later),
        scrape_seconds=statistics.median(snapshot.seconds for snapshot in later),
        cves=known_weaknesses(product, version),
    )


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one of several checks: either a report or an error."""

    charger: str
    url: str
    report: Report | None = None
    error: ChargerError | None = None

    @property
    def advice(self) -> str | None:
        return advice(self.error, self.url) if self.error is not None else None

    def facts(self) -> dict[str, Any]:
        """The result for a program."""
        return {
            "charger": self.charger,
            "url": self.url,
            "error": str(self.error) if self.error is not None else None,
            "advice": self.advice,
            "report": asdict(self.report) if self.report is not None else None,
        }

    def cells(self) -> tuple[str, ...]:
        report = self.report
        if report is None:
            return self.charger, "-", "-", "-", "-", "-", str(self.error)
        return (
            self.charger,
            f"{report.product} {report.version}".strip() or "-",
            str(len(report.plugs)),
            str(report.variables),
            f"{report.first_seconds:.2f}",
            f"{report.scrape_seconds:.2f}",
            f"{count(len(report.failing), 'document')} failing" if report.failing else "OK",
        )


def check_all(
    chargers: Collection[ChargerSettings],
    connect: Callable[[ChargerSettings], AbstractContextManager[Engine]],
    patience: float,
) -> Iterator[CheckResult]:
    """Check chargers, some at once, and yield each result as it comes."""

    def one(charger: ChargerSettings) -> CheckResult:
        with connect(charger) as engine:
            try:
                return CheckResult(charger.name, charger.url, check(engine, patience))
            except ChargerError as error:
                return CheckResult(charger.name, charger.url, error=error)

    return in_parallel(one, chargers, min(_AT_ONCE, len(chargers)))


def check_table(results: Sequence[CheckResult]) -> str:
    """The results as a table."""
    header = ("CHARGER", "PRODUCT", "PLUGS", "VARIABLES", "FIRST S", "SCRAPE S", "RESULT")
    return align_columns([header, *(result.cells() for result in results)])


def known_weaknesses(product: str, version: str) -> tuple[str, ...]:
    """CVEs published for this version of CirCarLife; none for other products or versions that cannot be read."""
    numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    if "circarlife" not in product.lower() or numbers is None:
        return ()
    mine = tuple(int(number or 0) for number in numbers.groups())
    return tuple(cve for fixed, cves in _CVES if mine < (*fixed, 0)[:3] for cve in cves)
