"""The live page in a real Chromium: it follows a charge, a hostile charger is inert, it fits a telephone."""

import json
import re
import subprocess
import threading
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from helpers.support import Clock, server

from ccl_exporter.exporter.charger import Charger
from ccl_exporter.exporter.web.page import CONTENT_SECURITY_POLICY, ChargerView, page
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


def look(simulator: Simulator, clock: Clock, name: str = "garage") -> ChargerView:
    """A charger read just now by one that never saw it; its reading is told in simulated time."""
    with closing(Charger(ChargerSettings(name, simulator.url))) as charger:
        return ChargerView(name, replace(charger.read(30), taken=clock.at - 2))


def test_the_page_follows_a_charge_from_its_request_to_its_end(
    browser: Browser, serve: Serve, wallbox: Simulator, clock: Clock, tmp_path: Path
) -> None:
    browser.emulate(1200, 900, "light")
    (plug,) = wallbox.site.plugs
    pages = serve(lambda _: page([look(wallbox, clock)], clock.at, "0.1.0"))
    shots = []

    def shown(name: str) -> str:
        browser.open(pages.url)
        shots.append(browser.screenshot(tmp_path / f"{name}.png"))
        return browser.text()

    available = shown("available")
    assert "EVSE.PLUG Available Not charging: No vehicle is connected." in available
    assert "Power 0.00 kW" in available

    plug.plug_in(need_wh=3000)
    connected = shown("connected")
    assert "Waiting for permission Not charging: It waits for permission: an RFID tag or a remote" in connected
    assert "Vehicle connected" in connected

    plug.authorise()
    clock.at += 600
    charging = shown("charging")
    assert f"EVSE.PLUG Charging Power {plug.watts / 1000:.2f} kW Current {plug.amperes:.1f} A" in charging
    assert f"This charge {plug.charge_wh / 1000:.2f} kWh 9 min 56 s since " in charging
    assert "Not charging" not in charging
    assert browser.run("return document.title") == "Chargers: 1 of 1 charging | ccl-exporter"

    clock.at += 7200
    finished = shown("finished")
    assert (
        "Waiting for disconnection Not charging: The session has ended and the vehicle is still conn" in finished
    )
    assert "ended by the vehicle" in finished
    assert f"This charge {plug.charge_wh / 1000:.2f} kWh" in finished

    plug.fail(0b100000)
    assert "Error Not charging: A fault prevents it: residual-current device (RCD)." in shown("fault")

    wallbox.stop()
    assert "Not reachable" in shown("gone")
    assert len(set(shots)) == len(shots)


def test_a_hostile_charger_is_inert(browser: Browser, serve: Serve, wallbox: Simulator, clock: Clock) -> None:
    model = wallbox.site.model
    (display,) = (device for device in model.devices if device.name == "Display")
    titled = tuple(replace(variable, title=HOSTILE) for variable in display.variables)
    hostile = replace(display, name=HOSTILE, type=HOSTILE, variables=titled)
    devices = tuple(hostile if device is display else device for device in model.devices)
    wallbox.site.model = replace(model, devices=devices)
    html = page(
        [look(wallbox, clock, HOSTILE), ChargerView(HOSTILE, None)], clock.at, HOSTILE, "charger-1-device-2"
    )
    pages = serve(lambda _: html)
    browser.open(pages.url)

    assert browser.run("return document.querySelector('details[open] summary a').innerText") == HOSTILE
    assert browser.text().count(HOSTILE) >= 8, "it is all there to be read"
    assert browser.run("return document.title") == "Chargers: 0 of 2 charging | ccl-exporter"
    assert browser.run("return document.images.length + document.scripts.length") == 0
    assert set(pages.paths) == {"/"}


@pytest.mark.parametrize("model", ["wallbox", "twin"])
def test_it_fits_a_telephone_and_follows_the_wish_for_light_or_dark(
    browser: Browser, serve: Serve, clock: Clock, tmp_path: Path, model: str
) -> None:
    name = "the-charger-with-the-longest-name-that-anybody-ever-gave-one-in-a-car-park"
    with Simulator(model, autopilot=False, clock=clock) as simulator:
        simulator.site.plugs[0].plug_in()
        simulator.site.plugs[0].authorise()
        clock.at += 60
        views = [look(simulator, clock, name), ChargerView("not read yet", None)]
    html = page(views, clock.at, "0.1.0").replace(b"<details>", b"<details open>")
    pages = serve(lambda _: html)
    grounds = {}
    for scheme in ("light", "dark"):
        for width in (1200, 360):
            browser.emulate(width, 800, scheme)
            browser.open(pages.url)
            browser.screenshot(tmp_path / f"{model}-{scheme}-{width}.png")
            assert browser.run("return window.innerWidth") == width
            root = "document.documentElement"
            assert browser.run(f"return {root}.scrollWidth <= {root}.clientWidth")
        grounds[scheme] = browser.run("return getComputedStyle(document.body).backgroundColor")

    # A stylesheet that its policy kept out would leave both without a colour.
    assert grounds == {"light": "rgb(243, 245, 247)", "dark": "rgb(15, 21, 27)"}


def test_a_device_stays_unfolded_and_the_page_where_it_was_when_it_renews_itself(
    browser: Browser, serve: Serve, wallbox: Simulator, clock: Clock
) -> None:
    browser.emulate(1200, 400, "light")
    view = look(wallbox, clock)

    def hasty(query: str) -> bytes:
        """In no haste before the click, which must find the page that it was meant for."""
        html = page([view], clock.at, "0.1.0", query)
        assert b'content="10; ' in html
        return html.replace(b'content="10; ', b'content="1; ') if query else html

    pages = serve(hasty)
    browser.open(pages.url)
    unfolded = "return document.querySelector('details:has(#charger-1-device-6)').open"
    assert browser.run(unfolded) is False

    browser.click('summary a[href$="#charger-1-device-6"]')
    assert browser.run(unfolded) is True
    scrolled = browser.run("scrollBy(0, 100); return scrollY")
    assert scrolled > 100
    # Two more requests: the page that the first of them brought was shown, and has renewed itself.
    pages.wait_for(len(pages.paths) + 2)

    assert browser.run(unfolded) is True
    assert browser.run("return scrollY") == scrolled
    assert pages.paths[-2:] == ["/?charger-1-device-6"] * 2


def test_an_address_that_points_into_the_page_does_not_keep_it_from_renewing_itself(
    browser: Browser, serve: Serve
) -> None:
    # Chromium takes a refresh to the same address with a fragment for a jump within the page.
    html = page([ChargerView("one", None), ChargerView("two", None)], 0.0, "0.1.0").replace(
        b'content="10; ', b'content="1; '
    )
    pages = serve(lambda _: html)
    browser.open(f"{pages.url}#charger-2")

    pages.wait_for(3)
