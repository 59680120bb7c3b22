"""Prices from a URL: asked for rarely, kept over failures and restarts, bounded in time and size."""

import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ccl_exporter.control.plan.price_source import EVERY, MOST, UrlPrices, token_header
from ccl_exporter.control.plan.prices import Slot, parse
from ccl_exporter.errors import UsageError

PRICES = '[{"begin": "2026-05-25T22:00Z", "end": "2026-05-25T22:30Z", "price": 7}]'
OTHER = PRICES.replace("7}", "9}")


@dataclass
class Market:
    """A server of prices: what it answers, and what it was asked."""

    body: bytes = PRICES.encode()
    status: int = 200
    etag: str = '"one"'
    location: str = ""
    drips: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@pytest.fixture
def market() -> Iterator[Market]:
    found = Market()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(dict(self.headers))
            if self.headers.get("If-None-Match") == found.etag:
                self.send_response(304)
                self.end_headers()
                return
            self.send_response(found.status)
            if found.location:
                self.send_header("Location", found.location)
            self.send_header("ETag", found.etag)
            self.send_header("Content-Length", str(len(found.body)))
            self.end_headers()
            self.wfile.write(found.body[:1])
            self.wfile.flush()
            if found.drips:
                found.released.wait(30)
            self.wfile.write(found.body[1:])

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}/prices?key=secret"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.released.set()
        server.shutdown()
        thread.join()


@dataclass
class Buyer:
    """Who asks for prices, at a time that the test moves."""

    market: Market
    folder: Path
    at: float = 1_000_000.0
    said: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def source(self, deadline: float = 60.0) -> UrlPrices:
        now: Callable[[], float] = lambda: self.at  # noqa: E731 - one place for the time
        return UrlPrices(self.market.url, self.folder, parse, self.said.append, self.headers, now, deadline)


@pytest.fixture
def buyer(market: Market, tmp_path: Path) -> Buyer:
    return Buyer(market, tmp_path)


def prices(slots: object) -> list[float]:
    assert isinstance(slots, list | tuple)
    assert all(isinstance(slot, Slot) for slot in slots)
    return [slot.price for slot in slots]


def test_prices_are_asked_for_every_half_an_hour_and_only_sent_if_they_changed(
    market: Market, buyer: Buyer
) -> None:
    source = buyer.source()
    for _ in range(10):
        assert prices(source.read()) == [7]
        buyer.at += EVERY / 10 - 1
    assert len(market.asked) == 1
    buyer.at += 100
    assert prices(source.read()) == [7]
    assert [asked.get("If-None-Match") for asked in market.asked] == [None, '"one"']
    assert source.age() == 0, "that they are the same was confirmed"
    market.body, market.etag = OTHER.encode(), '"two"'
    buyer.at += EVERY

    assert prices(source.read()) == [9]
    assert buyer.said == []


def test_a_restart_neither_forgets_prices_nor_asks_again_at_once(market: Market, buyer: Buyer) -> None:
    buyer.source().read()
    buyer.at += EVERY - 1
    source = buyer.source()

    assert prices(source.read()) == [7]
    assert len(market.asked) == 1
    assert source.age() == EVERY - 1
    (file,) = (buyer.folder / "prices").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "secret" not in file.name


def test_the_last_good_prices_count_while_there_are_none_and_their_age_is_said_once(
    market: Market, buyer: Buyer
) -> None:
    source = buyer.source()
    source.read()
    for status, body in ((503, b"later"), (200, b"<html>"), (200, b"\xff")):
        market.status, market.body, market.etag = status, body, ""
        for _ in range(3):
            buyer.at += EVERY
            assert prices(source.read()) == [7]
    market.status, market.body = 200, OTHER.encode()
    buyer.at += EVERY
    assert prices(source.read()) == [9]

    where = market.url.partition("?")[0]
    assert [line.removeprefix(f"{where}?(hidden)") for line in buyer.said] == [
        ": it answers 503; the prices of 0.5 h ago are used",
        ": the first line has no begin, end, price: it names <html>; the prices of 2.0 h ago are used",
        ": its answer cannot be used (UnicodeDecodeError); the prices of 3.5 h ago are used",
        " gives prices again",
    ]


def test_without_any_answer_there_are_no_prices_and_it_is_tried_again_after_a_minute(
    market: Market, buyer: Buyer
) -> None:
    url, market.url = market.url, "http://127.0.0.1:1/prices?key=secret"
    source = buyer.source()
    assert prices(source.read()) == []
    assert buyer.said == [
        "http://127.0.0.1:1/prices?(hidden): no connection; without prices the car charges as late as possible"
    ]
    source.url = url
    buyer.at += 59
    source.read()
    assert market.asked == []
    buyer.at += 2

    assert prices(source.read()) == [7]


def test_an_answer_that_does_not_end_holds_nothing_up_and_is_not_asked_for_twice(
    market: Market, buyer: Buyer
) -> None:
    market.drips = True
    # Long enough to connect on a busy machine, which is another error.
    source = buyer.source(deadline=1.0)
    assert prices(source.read()) == []
    buyer.at += 61
    assert prices(source.read()) == []
    assert all("no complete answer" in line for line in buyer.said)
    assert len(market.asked) <= 2
    market.drips = False
    market.released.set()
    source.deadline = 60.0
    while not prices(source.read()):
        buyer.at += 61


def test_an_answer_that_is_too_large_is_not_read_to_its_end(market: Market, buyer: Buyer) -> None:
    market.body = b" " * (MOST + 1) + PRICES.encode()

    assert prices(buyer.source().read()) == []
    assert "has more than 8 MB" in buyer.said[0]


def test_a_token_goes_with_the_request_also_where_a_login_is_stored(
    market: Market, buyer: Buyer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    buyer.headers = dict(token_header({"CCL_PRICES_TOKEN": "abc"}))
    buyer.source().read()

    assert market.asked[0]["Authorization"] == "Bearer abc"


def test_a_token_goes_with_the_request_and_not_to_another_place(
    market: Market, buyer: Buyer, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("auth-token: abc\n")
    buyer.headers = dict(token_header({"CCL_PRICES_TOKEN_FILE": str(tmp_path / "token")}))
    buyer.source().read()
    assert market.asked[0]["auth-token"] == "abc"
    assert token_header({"CCL_PRICES_TOKEN": "abc"}) == {"Authorization": "Bearer abc"}
    assert token_header({}) == {}
    for environment in ({"CCL_PRICES_TOKEN": "a\nb"}, {"CCL_PRICES_TOKEN_FILE": "/nonexistent"}):
        with pytest.raises(UsageError):
            token_header(environment)

    market.status, market.location, market.etag = 302, market.url.replace("/prices", "/elsewhere"), ""
    buyer.at += EVERY
    buyer.source().read()
    assert len(market.asked) == 2
    assert "it answers 302" in buyer.said[-1]


def test_prices_that_cannot_be_stored_are_used_all_the_same(market: Market, buyer: Buyer) -> None:
    (buyer.folder / "prices").write_text("in the way")
    source = buyer.source()
    for _ in range(3):
        assert prices(source.read()) == [7]
        buyer.at += EVERY

    assert len(buyer.said) == 1
    assert "cannot be written, so a restart does not know these prices" in buyer.said[0]


def test_what_is_stored_and_damaged_is_asked_for_again(market: Market, buyer: Buyer) -> None:
    buyer.source().read()
    (file,) = (buyer.folder / "prices").iterdir()
    for text in ("{", "[]", '{"taken": 1}', '{"taken": "x", "asked": 0, "etag": "", "text": ""}'):
        file.write_text(text)
        assert prices(buyer.source().read()) == [7]
    assert len(market.asked) == 5
