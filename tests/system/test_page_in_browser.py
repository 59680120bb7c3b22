"""The live page in a real Chromium: it follows a charge, a hostile charger is inert, it fits a telephone."""

import json
import re
import subprocess
import threading
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, product
from math import nan
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from helpers.pages import context, page, view
from helpers.support import Clock, server

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.exporter.web.page import CONTENT_SECURITY_POLICY, charger_page, front_page
from ccl_exporter.exporter.web.views import ChargerHistory, ChargerView
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.sessions.tracker import FinishedSession
from ccl_exporter.settings import ChargerSettings
from ccl_exporter.simulator import Simulator

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOSTILE = "<img src=x onerror=document.title='owned'>"

Make = Callable[[str], bytes]
Serve = Callable[[Make], "PageServer"]


class Browser:
    """A Chromium behind its WebDriver (w3.org/TR/webdriver2), spoken plainly."""

    def __init__(self, driver: str, chromium: str, profile: Path) -> None:
        self._process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        ports = (re.search(r"successfully on port (\d+)", line) for line in self._process.stdout)
        port = next((found[1] for found in ports if found), None)
        assert port is not None, "chromedriver did not start"
        self._base = f"http://127.0.0.1:{port}"
        options = {"binary": chromium, "args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
        try:
            session = self._call("/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        except BaseException:
            self._stop()
            raise
        self._base += f"/session/{session['sessionId']}"

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _call(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self._base + path, data, method=method)
            ) as response:
                return json.load(response)["value"]
        except HTTPError as error:
            with error:
                raise AssertionError(json.load(error)["value"]["message"]) from error

    def close(self) -> None:
        try:
            self._call("", method="DELETE")
        finally:
            self._stop()

    def open(self, url: str) -> None:
        """Load a page to its end."""
        self._call("/url", {"url": url})

    def run(self, script: str) -> Any:
        """What a script returns that the browser itself runs, whatever the page's policy."""
        return self._call("/execute/sync", {"script": script, "args": []})

    def click(self, selector: str) -> None:
        found = self._call("/element", {"using": "css selector", "value": selector})
        self._call(f"/element/{next(iter(found.values()))}/click", {})

    def text(self) -> str:
        """What a person reads, blanks made one."""
        return " ".join(self.run("return document.body.innerText").split())

    def screenshot(self, path: Path) -> bytes:
        path.write_bytes(b64decode(self._call("/screenshot")))
        return path.read_bytes()

    def allow_scripts(self, allowed: bool) -> None:
        """Let pages run scripts, or not, as somebody chooses in the settings."""
        command = {"cmd": "Emulation.setScriptExecutionDisabled", "params": {"value": not allowed}}
        self._call("/goog/cdp/execute", command)

    def emulate(self, width: int, height: int, scheme: str) -> None:
        """A screen of this size in CSS pixels, for somebody who prefers `light` or `dark`."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        for command, parameters in (("setDeviceMetricsOverride", size), ("setEmulatedMedia", media)):
            self._call("/goog/cdp/execute", {"cmd": f"Emulation.{command}", "params": parameters})


class PageServer(ThreadingHTTPServer):
    """Serves what `make` returns for a query, with the page's policy, and notes what it was asked for."""

    daemon_threads = True

    def __init__(self, make: Make) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.make = make
        self.paths: list[str] = []
        self._asked = threading.Condition()
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def note(self, path: str) -> None:
        with self._asked:
            self.paths.append(path)
            self._asked.notify_all()

    def wait_for(self, requests: int) -> None:
        """Until so many requests came in all; the limit only ends a test that hangs."""
        with self._asked:
            assert self._asked.wait_for(lambda: len(self.paths) >= requests, timeout=60)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        self.server.note(self.path)
        body = self.server.make(self.path.partition("?")[2])
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """The requests are noted; standard error stays clean."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(server("chromedriver"), server("chromium"), tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[tuple[PageServer, threading.Thread]] = []

    def run(make: Make) -> PageServer:
        pages = PageServer(make)
        thread = threading.Thread(target=pages.serve_forever)
        thread.start()
        running.append((pages, thread))
        return pages

    yield run
    for pages, thread in running:
        pages.shutdown()
        thread.join()
        pages.server_close()


def look(simulator: Simulator, clock: Clock, name: str = "garage", **more: Any) -> ChargerView:
    """A charger read just now by one that never saw it; its read is of simulated time."""
    with closing(Charger(ChargerSettings(name, simulator.url))) as charger:
        return view(name, replace(charger.read(30), taken=clock.at - 2), url=simulator.url, **more)


def history(plugs: Sequence[str], now: float) -> ChargerHistory:
    """A day with a charge in it and a gap, and ten sessions."""
    watts = [0.0] * 500 + [nan] * 100 + [7400.0] * 600 + [0.0] * 240
    sessions = [
        FinishedSession(
            "garage", plugs[n % len(plugs)], None, at := now - 86400.0 * n, at + 3600, 3e7, 3600.0, n % 10, 7e3
        )
        for n in range(10)
    ]
    days = {plug: {f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}": 3e7} for plug in plugs}
    return ChargerHistory(dict.fromkeys(plugs, watts), days, sessions)


def test_the_page_follows_a_charge_from_its_request_to_its_end(
    browser: Browser, serve: Serve, wallbox: Simulator, clock: Clock, tmp_path: Path
) -> None:
    browser.emulate(1200, 900, "light")
    (plug,) = wallbox.site.plugs
    pages = serve(lambda _: page([look(wallbox, clock)], clock.at))
    browser.open(pages.url)
    shots = [browser.screenshot(tmp_path / "available.png")]
    assert "EVSE.PLUG Available Not charging: no vehicle is connected." in browser.text()
    assert "Power 0.00 kW" in browser.text()

    def shown(name: str) -> str:
        """What an open page shows after it has updated itself."""
        browser.run("return renew()")
        shots.append(browser.screenshot(tmp_path / f"{name}.png"))
        return browser.text()

    plug.plug_in(need_wh=3000)
    connected = shown("connected")
    assert "Waiting for permission Not charging: it waits for permission: an RFID tag or a remote" in connected
    assert (
        f"Hold your card to the charger, or run: ccl-exporter charge start --charger {wallbox.url} " in connected
    )
    assert "Vehicle connected" in connected

    plug.authorise()
    clock.at += 600
    charging = shown("charging")
    assert f"EVSE.PLUG Charging Power {plug.watts / 1000:.2f} kW" in charging
    assert f"This session {plug.charge_wh / 1000:.2f} kWh 9 min 56 s since " in charging
    assert "Not charging" not in charging
    assert browser.run("return document.title") == f"Charging {plug.watts / 1000:.2f} kW | garage | ccl-exporter"

    clock.at += 7200
    finished = shown("finished")
    assert "Waiting for disconnection Not charging: the session has ended and the vehicle is still" in finished
    assert "ended by the vehicle" in finished
    assert f"This session {plug.charge_wh / 1000:.2f} kWh" in finished

    plug.fail(0b100000)
    assert "Error Not charging: a fault prevents it: safety switch (RCD) tripped." in shown("fault")

    wallbox.stop()
    assert "Not reachable" in shown("gone")
    assert len(set(shots)) == len(shots)
    assert set(pages.paths) == {"/"}


def test_a_hostile_charger_is_inert(browser: Browser, serve: Serve, wallbox: Simulator, clock: Clock) -> None:
    model = wallbox.site.model
    (display,) = (device for device in model.devices if device.name == "Display")
    titled = tuple(replace(variable, title=HOSTILE) for variable in display.variables)
    hostile = replace(display, name=HOSTILE, type=HOSTILE, variables=titled)
    devices = tuple(hostile if device is display else device for device in model.devices)
    wallbox.site.model = replace(model, devices=devices)
    seen = look(wallbox, clock, title=HOSTILE, plug_titles={"EVSE.PLUG": HOSTILE})
    assert seen.last is not None
    whole = charger_page(seen, seen.last.snapshot, context(clock.at))
    html = {
        "": page([seen], clock.at),
        "all": whole,
        "many": page([seen, view("new", None, title=HOSTILE)], clock.at),
    }
    pages = serve(lambda query: html[query])
    texts = []
    for query in html:
        browser.open(f"{pages.url}?{query}")
        texts.append(browser.text())
        browser.run("return renew()")
        assert browser.run("return document.images.length") == 0
        assert browser.run("return document.scripts.length") == 1
        assert "owned" not in browser.run("return document.title").replace(HOSTILE, "")
        browser.run("document.querySelectorAll('*').forEach(one => { if (one.onerror) throw one })")

    assert [HOSTILE in text for text in texts] == [True] * 3
    assert texts[1].count(HOSTILE) >= 4, "it is all there to be read"
    assert {path.partition("?")[0] for path in pages.paths} == {"/"}


@pytest.mark.parametrize("model", ["wallbox", "twin"])
def test_it_fits_a_telephone_and_follows_the_preference_for_light_or_dark(
    browser: Browser, serve: Serve, clock: Clock, tmp_path: Path, model: str
) -> None:
    name = "the-charger-with-the-longest-name-that-anybody-ever-gave-one-in-a-car-park"
    with Simulator(model, autopilot=False, clock=clock) as simulator:
        for plug in simulator.site.plugs:
            plug.plug_in()
            plug.authorise()
        clock.at += 60
        simulator.site.plugs[-1].fail(0b111100000)
        one = look(simulator, clock, name)
        assert one.last is not None
        full = replace(one, history=history([plug.name for plug in one.last.plugs], clock.at))
    html = {
        "one": page([full], clock.at),
        "many": page([one, view("not-read-yet", None)] * 60, clock.at, "state=fault"),
        "all": charger_page(full, one.last.snapshot, context(clock.at)),
    }
    pages = serve(lambda query: html[query])
    grounds = {}
    for scheme in ("light", "dark"):
        for width, kind in product((1280, 390, 320), html):
            browser.emulate(width, 800, scheme)
            browser.open(f"{pages.url}?{kind}")
            browser.screenshot(tmp_path / f"{model}-{kind}-{scheme}-{width}.png")
            assert browser.run("return window.innerWidth") == width
            root = "document.documentElement"
            assert browser.run(f"return {root}.scrollWidth <= {root}.clientWidth"), (kind, width)
        grounds[scheme] = browser.run("return getComputedStyle(document.body).backgroundColor")

    # A stylesheet that its policy kept out would leave both without a colour.
    assert grounds == {"light": "rgb(243, 245, 247)", "dark": "rgb(15, 21, 27)"}


class TestUpdates:
    @pytest.fixture
    def pages(self, browser: Browser, serve: Serve, wallbox: Simulator, clock: Clock) -> PageServer:
        """The page of all variables, on a small screen, with values that differ each time."""
        browser.emulate(1200, 400, "light")
        seen = look(wallbox, clock)
        assert seen.last is not None
        snapshot = seen.last.snapshot
        requests = count(1)

        def make(query: str) -> bytes:
            values = {**snapshot.values, "EVSE.PLUG.AE": 5000.0 + next(requests)}
            return charger_page(seen, replace(snapshot, values=values), context(clock.at))

        pages = serve(make)
        browser.open(pages.url)
        return pages

    def test_what_is_folded_the_position_the_focus_and_what_is_being_typed_stay(
        self, browser: Browser, pages: PageServer
    ) -> None:
        assert "5001 kWh" in browser.text()
        browser.click("details summary")
        browser.run("document.querySelector('input').focus(); document.querySelector('input').value = 'half a wo'")
        browser.run("scrollTo(0, 700)")
        browser.run("return renew()")

        assert "5002 kWh" in browser.text()
        assert "5001 kWh" not in browser.text()
        assert browser.run("return [...document.querySelectorAll('details')].map(one => one.open)")[:2] == [
            False,
            True,
        ]
        assert browser.run("return document.activeElement === document.querySelector('input')")
        assert browser.run("return document.querySelector('input').value") == "half a wo"
        assert browser.run("return scrollY") == 700

    def test_it_updates_itself(self, browser: Browser, pages: PageServer) -> None:
        pages.wait_for(2)
        for _ in range(600):
            if "5002 kWh" in browser.text():
                return
        raise AssertionError("what came was not shown")

    def test_it_says_when_the_exporter_does_not_answer_and_when_it_does_again(
        self, browser: Browser, pages: PageServer
    ) -> None:
        lost = "The exporter does not answer."
        assert lost not in browser.text()
        make, pages.make = pages.make, lambda _: b"no page"
        browser.run("return renew()")
        assert lost in browser.text()

        pages.make = make
        browser.run("return renew()")
        assert lost not in browser.text()

    def test_it_is_not_asked_twice_at_a_time(self, browser: Browser, pages: PageServer) -> None:
        before = len(pages.paths)
        browser.run("return Promise.all([renew(), renew(), renew()])")

        assert len(pages.paths) == before + 1


@pytest.mark.parametrize("query", ["", "?state=fault"])
def test_without_a_script_it_reloads_whatever_its_address_points_to(
    browser: Browser, serve: Serve, query: str
) -> None:
    # Chromium takes a refresh to the same address with a fragment for a jump within the page.
    pages = serve(
        lambda query: page([view("one", None), view("two", None)], 0.0, query).replace(
            b'content="10; ', b'content="1; '
        )
    )
    browser.allow_scripts(False)
    try:
        browser.open(f"{pages.url}{query}#lost")
        pages.wait_for(3)
    finally:
        browser.allow_scripts(True)
    assert {path.rstrip("?") for path in pages.paths} == {f"/{query}"}


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, of npm."""
    folder = tmp_path_factory.mktemp("axe")
    (folder / "package.json").write_text('{"private": true}')
    install = [server("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", "axe-core@4.14.1"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(
    browser: Browser, serve: Serve, wallbox: Simulator, clock: Clock, axe: str, scheme: str, width: int
) -> None:
    (plug,) = wallbox.site.plugs
    plug.plug_in()
    one = look(wallbox, clock, history=history(["EVSE.PLUG"], clock.at))
    assert one.last is not None
    plug.fail(0b100000)
    fault = look(wallbox, clock, "fault")
    wallbox.stop()
    down = look(wallbox, clock, "down")
    outputs = [Sample(f.MQTT_CONNECTED, (), 0.0), Sample(f.INFLUXDB_LAST_SUCCESS, ("home",), clock.at)]
    html = {
        "one": front_page([one], context(clock.at, outputs=outputs)),
        "down": page([down], clock.at),
        "many": page([one, fault, down, view("new", None)] * 20, clock.at),
        "none": page([], clock.at),
        "all": charger_page(one, one.last.snapshot, context(clock.at)),
    }
    pages = serve(lambda query: html[query])
    browser.emulate(width, 800, scheme)
    for kind in html:
        browser.open(f"{pages.url}?{kind}")
        found = browser.run(f"{axe}; return axe.run()")
        assert found["passes"], "it did not run"
        severe = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
        assert [(kind, one["id"], one["nodes"][0]["html"]) for one in severe] == []
    # It would have found a text without contrast.
    browser.run("document.querySelector('h1').setAttribute('aria-labelledby', 'nothing')")
    browser.run("document.querySelector('html').removeAttribute('lang')")
    assert browser.run(f"{axe}; return axe.run()")["violations"]
