"""Past one machine: exporters that know all chargers behind a balancer, and Prometheus servers that share them."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from helpers import databases, prometheus
from helpers.balancer import FLEET, await_true, balanced
from helpers.databases import Victoria
from helpers.support import OPENMETRICS, Process, Scrape, Start, get

from ccl_exporter.simulator import Simulator

CHARGERS = int(os.environ.get("CCL_CLUSTER_CHARGERS", "16"))
"""How many; the long form has 100."""

INTERVAL = int(os.environ.get("CCL_CLUSTER_INTERVAL", "2"))
"""Seconds between two scrapes of a charger; the long form has 10."""

ROUNDS = 6
PATIENCE = 120 + 20 * ROUNDS * INTERVAL


def block_of_the_readme(about: str) -> str:
    text = (FLEET.parent / "README.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    (block,) = [block for block in blocks if about in block]
    return block


def scrape_configuration(balancer: str, shard: int) -> str:
    """That of the README, for one of its two Prometheus servers."""
    block = block_of_the_readme("hashmod")
    for old, new in (
        ("ccl-exporter:9986", balancer),
        ("scrape_interval: 15s", f"scrape_interval: {INTERVAL}s"),
        ('regex: "0"', f'regex: "{shard}"'),
    ):
        assert old in block
        block = block.replace(old, new)
    return block.removeprefix("scrape_configs:\n")


@dataclass
class Cluster:
    simulators: list[Simulator]
    exporters: list[Process]
    urls: list[str]
    prometheus: list[str]

    def readings(self) -> list[list[float]]:
        """When each charger was read, by the clock of this machine.

        A reading asks for the values of each device once, of all together or, after a bad start, one by one.
        """
        return [
            [at.at for at in simulator.requests if "values.xml" in at.target and "CCL1Mini" in at.target]
            for simulator in self.simulators
        ]

    def await_readings(self, count: int) -> list[list[float]]:
        """Forget the readings so far and wait until each charger has been read that often again."""
        for simulator in self.simulators:
            simulator.clear_requests()
        await_true(lambda: min(map(len, self.readings())) >= count, lambda: [*map(len, self.readings())], PATIENCE)
        return self.readings()

    def known(self) -> set[str]:
        """The chargers that a Prometheus server has a reading of."""
        return {
            name
            for url in self.prometheus
            for name, points in scraped(url, "ccl_up[1h]").items()
            if any(value for _, value in points)
        }

    def read_by(self, url: str) -> set[str]:
        """The chargers that an exporter has read."""
        samples = Scrape.of(get(f"{url}/metrics", Accept=OPENMETRICS)).samples
        return {
            dict(labels)["charger"]
            for (name, labels), value in samples.items()
            if name == "ccl_exporter_charger_reads_total" and value
        }


@pytest.fixture
def cluster(tmp_path: Path, start: Start) -> Iterator[Cluster]:
    with ExitStack() as running:
        simulators = [running.enter_context(Simulator(seed=number)) for number in range(CHARGERS)]
        config = tmp_path / "ccl.yaml"
        config.write_text(
            "chargers:\n"
            + "".join(f"  bay-{number}: {{url: '{one.url}'}}\n" for number, one in enumerate(simulators))
        )
        exporters = [
            start(
                "serve",
                "--config.file",
                str(config),
                "--web.listen-address",
                "127.0.0.1:0",
                # Each is a machine of its own: they share no locks.
                env={"STATE_DIRECTORY": str(tmp_path / f"state-{number}")},
            )
            for number in range(2)
        ]
        addresses = [one.line(r"http://(127\.0\.0\.1:\d+)/metrics")[1] for one in exporters]
        balancer, _ = running.enter_context(balanced(tmp_path, addresses))
        urls = []
        for shard in range(2):
            folder = tmp_path / f"prometheus-{shard}"
            folder.mkdir()
            text = scrape_configuration(balancer, shard)
            urls.append(running.enter_context(prometheus.running(folder, text)))
        yield Cluster(simulators, exporters, [f"http://{address}" for address in addresses], urls)


def scraped(url: str, expression: str) -> dict[str, list[tuple[float, float]]]:
    """The samples of a query over a range, times and values by instance."""
    results = json.loads(get(f"{url}/api/v1/query?query={quote(expression)}"))["data"]["result"]
    return {
        result["metric"]["instance"]: [(at, float(value)) for at, value in result["values"]] for result in results
    }


@pytest.mark.alone
def test_each_charger_is_read_once_an_interval_even_when_an_exporter_dies(cluster: Cluster) -> None:
    """By one exporter and for one Prometheus; none is missed for longer than two intervals.

    Long form: CCL_CLUSTER_CHARGERS=100 CCL_CLUSTER_INTERVAL=10.
    """
    names = {f"bay-{number}" for number in range(CHARGERS)}
    cluster.await_readings(1)
    # Their first ones take more requests, and are over once Prometheus has something of them.
    await_true(lambda: cluster.known() == names, lambda: sorted(names - cluster.known()), PATIENCE)
    found = cluster.await_readings(ROUNDS)

    for times in found:
        elapsed = times[-1] - times[0]
        # Never more often; a busy machine may let Prometheus miss an instant.
        assert -INTERVAL <= elapsed - (len(times) - 1) * INTERVAL <= 2 * INTERVAL
    shards = [set(scraped(url, "ccl_up[1h]")) for url in cluster.prometheus]
    assert all(shards)
    assert shards[0].isdisjoint(shards[1])
    assert shards[0] | shards[1] == names
    owners = [cluster.read_by(url) for url in cluster.urls]
    assert all(owners)
    assert owners[0].isdisjoint(owners[1])
    assert max(simulator.max_in_flight for simulator in cluster.simulators) == 1

    cluster.exporters[0].process.kill()
    cluster.await_readings(ROUNDS)

    times_of: dict[str, list[float]] = {}
    for url in cluster.prometheus:
        for name, points in scraped(url, "ccl_up[1h]").items():
            times_of[name] = [at for at, value in points if value == 1]
    gaps = {name: max(after - before for before, after in pairwise(times)) for name, times in times_of.items()}
    assert set(gaps) == names
    # Prometheus asks at fixed instants, but for some milliseconds.
    assert max(gaps.values()) < 2.5 * INTERVAL, gaps
    assert cluster.read_by(cluster.urls[1]) == names


def test_an_agent_forwards_the_readings_to_a_store(tmp_path: Path, serve: Callable[[str], str]) -> None:
    """To VictoriaMetrics, with the lines of the README; Mimir and Thanos take the same protocol."""
    store = Victoria(tmp_path / "victoria")
    forward = block_of_the_readme("remote_write")
    assert "http://victoriametrics:8428" in forward
    with Simulator() as simulator, databases.running(store):
        target = urlsplit(serve(simulator.url)).netloc
        jobs = f"  - job_name: evse\n    static_configs: [{{targets: ['{target}']}}]\n"
        with prometheus.running(
            tmp_path, jobs + forward.replace("http://victoriametrics:8428", store.url), agent=True
        ):
            await_true(lambda: bool(store.export("ccl_up")), list, PATIENCE)
            ((labels, _, values),) = store.export("ccl_up")

    assert labels["job"] == "evse"
    assert set(values) == {1.0}
