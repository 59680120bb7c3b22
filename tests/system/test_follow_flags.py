"""The flags of a follower: what it refuses, its defaults, its metrics."""

import math
import re
import subprocess
from pathlib import Path
from time import time

import pytest
from helpers.board_asking import Asker
from helpers.board_queries import defaults, queries
from helpers.following import MODE3, PLUG, TO_BE, input_file, limit_to, reduction, writes
from helpers.prometheus import await_value
from helpers.prometheus import running as prometheus
from helpers.support import COMMAND, PROJECT, Process, Scrape, Start, get, server

from ccl_exporter.control.state import JOURNAL
from ccl_exporter.metrics.families import FOLLOW
from ccl_exporter.simulator import Fault, Simulator


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "name the source of the input"),
        (("--stdin", "--file", "x"), "name the source of the input"),
        (("--stdin", "--stale", "60s"), "within 60 s"),
        (("--stdin", "--interval", "1m"), "within 60 s"),
        (("--stdin", "--timeout", "11s"), "--timeout is at most 10s: the safe current must be set within 60 s"),
        (("--stdin", "--mode", "supply"), "need --supply"),
        (("--stdin", "--supply", "60A", "--input", "available"), "--supply belongs to"),
        (("--stdin", "--full-between", "night"), "is not a window of the day"),
        (("--stdin", "--full-between", "tariff"), "needs a configuration file"),
        (("--stdin", "--safe", "3A"), "no current of this plug"),
        (("--stdin", "--safe", "40A"), "no current of this plug"),
        (("--stdin", "--floor", "2kW"), "is not a current"),
        (("--stdin", "--pv-peak", "16A"), "is not a power"),
        (("--topic", "x", "--broker", "http://x"), "not the URL of a broker"),
        (("--topic", "house/#/power"), "is not a topic"),
        (("--topic", "house/power+"), "is not a topic"),
        (("--topic", ""), "is not a topic"),
    ],
)
def test_what_cannot_be_followed_is_refused_before_anything_is_written(
    flags: tuple[str, ...], says: str, charging: Simulator, state: Path
) -> None:
    done = subprocess.run(
        [str(COMMAND), "charge", "follow", *flags, "-c", charging.url],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert says in done.stderr
    assert not (state / JOURNAL).exists() or not writes(state)


@pytest.mark.parametrize("largest", [13.0, 63.0])
@pytest.mark.parametrize(("mode", "left"), [("surplus", 0), ("floor", 0), ("supply", None)])
def test_the_defaults_suit_every_plug(mode: str, left: int | None, largest: float, charging: Simulator) -> None:
    limit_to(charging, 100.0)
    charging.site.set_value(f"{MODE3}.INTENSITY", largest)
    subprocess.run(
        [str(COMMAND), "charge", "follow", "--stdin", "--input", "available", "--mode", mode, "-c", charging.url],
        input="",
        text=True,
        check=True,
    )

    assert reduction(charging) == (100 - math.ceil(600 / largest) if left is None else left)


def test_a_follower_begins_though_the_meter_is_silent() -> None:
    with Simulator("twin", autopilot=False) as charger:
        charger.faults = (Fault("device-error", arg="Meter"),)
        plug, kind = ("--plug", "Poste Été.PLUG_A"), ("--input", "available")
        subprocess.run(
            [str(COMMAND), "charge", "follow", "--stdin", "--mode", "supply", *kind, *plug, "-c", charger.url],
            input="",
            text=True,
            check=True,
        )

        assert reduction(charger) == 81


def test_flags_of_version_0_1_are_accepted_with_a_warning(charging: Simulator, start: Start) -> None:
    process = start(
        *("charge", "follow", "--stdin", "--number", "available", "--roof", "4kW", "--dry-run"),
        *("-c", charging.url),
    )

    process.wait_for_log("--number is called --input since version 0.2")
    process.wait_for_log("--roof is called --pv-peak since version 0.2")
    shown = subprocess.run(
        [str(COMMAND), "charge", "follow", "--help"], check=True, capture_output=True, text=True
    )
    assert "--pv-peak" in shown.stdout
    assert not re.search("--number|--roof|--put-back", shown.stdout)
    old = subprocess.run(
        [str(COMMAND), "charge", "follow", "--put-back", "-c", charging.url],
        check=False,
        capture_output=True,
        text=True,
    )
    assert old.returncode == 6, old.stderr
    assert "--put-back is called --restore since version 0.2" in old.stderr


def test_the_metrics_of_a_follower_have_a_url_of_ipv6_too(
    charging: Simulator, start: Start, tmp_path: Path
) -> None:
    process = start(
        *("charge", "follow", "--file", str(tmp_path / "free"), "--dry-run", "-c", charging.url),
        *("--web.listen-address", "[::1]:0"),
    )

    url = process.line(r"http://\S+/metrics")[0]

    assert url.startswith("http://[::1]:")
    assert "ccl_follow_info" in get(url)


def test_a_follower_tells_what_it_does_as_metrics(charging: Simulator, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "free"
    with input_file(path, 4000.0):
        process: Process = start(
            *("charge", "follow", "--input", "available", "--file", str(path)),
            *("--web.listen-address", "127.0.0.1:0", "-c", charging.url),
        )
        url = process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]
        process.line(TO_BE)
        accept = "application/openmetrics-text; version=1.0.0"
        # The current is printed before it is written.
        while not (scrape := Scrape.of(get(url, Accept=accept))).get("ccl_follow_writes_total"):
            assert process.process.poll() is None
        linted = subprocess.run(
            [server("promtool"), "check", "metrics"], input=get(url), capture_output=True, text=True, check=False
        )

        port = url.split(":")[2].split("/")[0]
        targets = f"[{{targets: ['127.0.0.1:{port}'], labels: {{job: evse, instance: garage}}}}]"
        with prometheus(tmp_path, f"- {{job_name: follow, static_configs: {targets}}}\n") as database:
            await_value(database, "count_over_time(ccl_follow_limit_amperes[1m]) > 1")
            asker = Asker(database, defaults("charger.json"), time() + 1, range=60, interval=1)
            asked = [query for query in queries("charger.json") if "ccl_follow_" in query.text]
            answers = {query.place: asker.ask(query) for query in asked}

    assert len(answers) == 7
    assert [place for place, answer in answers.items() if not answer] == []
    assert scrape.word("ccl_follow_reason") in ("returning", "following")
    writes = scrape.get("ccl_follow_writes_total") or 0
    assert scrape.get("ccl_follow_writes_left") == 60 - writes
    assert scrape.get("ccl_follow_input_watts") == 4000
    assert scrape.get("ccl_follow_info", mode="surplus", plug=PLUG) == 1
    assert abs((scrape.get("ccl_follow_input_timestamp_seconds") or 0) - time()) < 60
    ours = [line for line in linted.stdout.splitlines() if "ccl_follow" in line]
    assert not ours, ours
    page = (PROJECT / "deploy" / "follow" / "README.md").read_text(encoding="utf-8")
    rows = [f"| `{family.name}` | {family.kind} | {family.help}" for family in FOLLOW]
    assert [row for row in rows if row not in page] == []
    assert scrape.names() == {family.name for family in FOLLOW}
