"""What a person may write for a charger, a duration and a place to listen, and that no secret of theirs prints."""

import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError
from typer import BadParameter

from ccl_exporter.cli.shared import duration_of_at_least
from ccl_exporter.config.fields import Duration
from ccl_exporter.errors import UsageError
from ccl_exporter.settings import ChargerSettings, Credentials, ListenAddress, charger_settings, listen_address
from ccl_exporter.text import format_duration

SECRET = "hunter-4711"  # noqa: S105 - nobody's


class TestCharger:
    @pytest.mark.parametrize(
        ("text", "name", "url"),
        [
            pytest.param("evse", "evse", "http://evse", id="host"),
            pytest.param("evse.example", "evse.example", "http://evse.example", id="full host"),
            pytest.param("EVSE.Example", "evse.example", "http://evse.example", id="capitals"),
            pytest.param("192.0.2.10", "192.0.2.10", "http://192.0.2.10", id="address"),
            pytest.param("192.0.2.10:8080", "192.0.2.10:8080", "http://192.0.2.10:8080", id="address and port"),
            pytest.param("http://evse", "evse", "http://evse", id="URL"),
            pytest.param("http://evse/", "evse", "http://evse", id="URL with a slash"),
            pytest.param("HTTP://evse", "evse", "http://evse", id="URL in capitals"),
            pytest.param("https://evse:8443", "evse:8443", "https://evse:8443", id="https"),
            pytest.param("http://evse/site/", "evse", "http://evse/site", id="path"),
            pytest.param("evse/site", "evse", "http://evse/site", id="host and path"),
            pytest.param("  evse\n", "evse", "http://evse", id="blanks around"),
            pytest.param("http://Bücher.example", "bücher.example", "http://bücher.example", id="any script"),
            pytest.param("क्षेत्र.example", "क्षेत्र.example", "http://क्षेत्र.example", id="another script"),
            pytest.param("my_evse", "my_evse", "http://my_evse", id="underscore"),
            pytest.param("[2001:db8::1]", "[2001:db8::1]", "http://[2001:db8::1]", id="IPv6"),
            pytest.param(
                "http://[2001:db8::1]:81/", "[2001:db8::1]:81", "http://[2001:db8::1]:81", id="IPv6, port"
            ),
        ],
    )
    def test_a_charger_is_a_host_or_a_url(self, text: str, name: str, url: str) -> None:
        assert charger_settings(text, {}) == ChargerSettings(name, url)

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("", id="nothing"),
            pytest.param("  ", id="blanks"),
            pytest.param("http://", id="no host"),
            pytest.param("http:///path", id="no host but a path"),
            pytest.param(":8080", id="port only"),
            pytest.param("ftp://evse", id="another scheme"),
            pytest.param("file:///etc/hostname", id="file"),
            pytest.param("evse:http", id="port in letters"),
            pytest.param("evse:65536", id="port too large"),
            pytest.param("evse:-1", id="negative port"),
            pytest.param("2001:db8::1", id="IPv6 without brackets"),
            pytest.param("http://[2001:db8::1", id="half a bracket"),
            pytest.param("http://evse/?id=1", id="query"),
            pytest.param("http://evse/#top", id="fragment"),
            pytest.param("the charger", id="blank inside"),
            pytest.param("http://ev\x00se", id="zero byte"),
            pytest.param("http:/evse", id="one slash"),
            pytest.param("http://[192.0.2.10]", id="IPv4 in brackets"),
            pytest.param("http://[::1::2]", id="two gaps"),
            pytest.param("http://evs%e", id="per cent"),
            pytest.param("http://ü_x", id="no name in any script"),
        ],
    )
    def test_anything_else_is_an_error_that_is_named(self, text: str) -> None:
        with pytest.raises(UsageError, match="address of a charger"):
            charger_settings(text, {})

    @pytest.mark.parametrize(
        "text",
        [
            f"http://owner:{SECRET}@evse",
            f"owner:{SECRET}@evse",
            f"http://:{SECRET}@evse",
            f"{SECRET}@evse",
            f"ftp://owner:{SECRET}@evse",
            f"http://owner:{SECRET}@evse:99999",
            f"http://owner:{SECRET}@[evse",
            f"http://owner:{SECRET}@evse:http",
        ],
    )
    def test_a_password_in_the_address_is_refused_and_not_repeated(self, text: str) -> None:
        with pytest.raises(UsageError) as raised:
            charger_settings(text, {})

        assert SECRET not in str(raised.value)


class TestLogin:
    def test_without_one_there_is_none(self) -> None:
        assert charger_settings("evse", {"HOME": "/", "CCL_USERNAME": ""}).credentials is None

    def test_it_stands_in_the_environment(self) -> None:
        address = charger_settings("evse", {"CCL_USERNAME": "reader", "CCL_PASSWORD": SECRET})

        assert address.credentials == Credentials("reader", SECRET)

    @pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=["no line end", "line end", "line end of Windows"])
    def test_the_password_may_stand_in_a_file(self, tmp_path: Path, end: str) -> None:
        path = tmp_path / "password"
        path.write_bytes(f" {SECRET} é{end}".encode())

        address = charger_settings("evse", {"CCL_USERNAME": "reader", "CCL_PASSWORD_FILE": str(path)})

        assert address.credentials == Credentials("reader", f" {SECRET} é")

    def test_it_never_prints(self) -> None:
        address = charger_settings("evse", {"CCL_USERNAME": "reader", "CCL_PASSWORD": SECRET})

        assert SECRET not in repr(address) + str(address) + repr(address.credentials)

    @pytest.mark.parametrize(
        ("environment", "hint"),
        [
            pytest.param({"CCL_PASSWORD": SECRET}, "CCL_USERNAME", id="password only"),
            pytest.param({"CCL_USERNAME": "reader\n", "CCL_PASSWORD": SECRET}, "no login", id="a line's end"),
            pytest.param({"CCL_PASSWORD_FILE": "/nowhere"}, "CCL_USERNAME", id="file only"),
            pytest.param({"CCL_USERNAME": "reader"}, "CCL_PASSWORD_FILE", id="user only"),
            pytest.param(
                {"CCL_USERNAME": "reader", "CCL_PASSWORD_FILE": "/nowhere"}, "/nowhere", id="no such file"
            ),
            pytest.param({"CCL_USERNAME": "reader", "CCL_PASSWORD_FILE": "/"}, "cannot be read", id="a folder"),
        ],
    )
    def test_an_incomplete_or_impossible_login_is_an_error_that_says_what_is_wrong(
        self, environment: dict[str, str], hint: str
    ) -> None:
        with pytest.raises(UsageError, match=hint) as raised:
            charger_settings("evse", environment)

        assert SECRET not in str(raised.value)

    def test_a_file_that_is_no_text_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "password"
        path.write_bytes(b"\xff\xfe")

        with pytest.raises(UsageError, match="cannot be read"):
            charger_settings("evse", {"CCL_USERNAME": "reader", "CCL_PASSWORD_FILE": str(path)})


class TestListen:
    @pytest.mark.parametrize(
        ("text", "host", "port"),
        [
            pytest.param("127.0.0.1:9986", "127.0.0.1", 9986, id="loopback"),
            pytest.param("localhost:0", "localhost", 0, id="any free port"),
            pytest.param("[::1]:9986", "::1", 9986, id="IPv6"),
            pytest.param("192.0.2.1:65535", "192.0.2.1", 65535, id="last port"),
            pytest.param(" 127.0.0.1:9986 ", "127.0.0.1", 9986, id="blanks around"),
        ],
    )
    def test_a_place_to_listen_is_a_host_and_a_port(self, text: str, host: str, port: int) -> None:
        assert listen_address(text) == ListenAddress(host, port)

    def test_without_a_host_it_is_every_interface(self) -> None:
        assert listen_address(":9986").host in ("0.0.0.0", "::", "")  # noqa: S104 - that is the point
        assert listen_address(":9986").port == 9986

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("", id="nothing"),
            pytest.param("9986", id="port only"),
            pytest.param("127.0.0.1", id="host only"),
            pytest.param("127.0.0.1:", id="no port"),
            pytest.param("127.0.0.1:http", id="port in letters"),
            pytest.param("127.0.0.1:65536", id="port too large"),
            pytest.param("127.0.0.1:-1", id="negative port"),
            pytest.param("127.0.0.1:9 986", id="blank in the port"),
            pytest.param("127.0.0.1:\u00b2", id="superscript port"),
            pytest.param("http://127.0.0.1:9986", id="a URL"),
        ],
    )
    def test_anything_else_is_an_error_that_is_named(self, text: str) -> None:
        with pytest.raises(UsageError, match="address to listen on"):
            listen_address(text)


DURATIONS = {"90s": 90.0, "15m": 900.0, "2h": 7200.0, "1d": 86400.0, "30d": 2592000.0}


@pytest.mark.parametrize("text", DURATIONS)
def test_a_command_and_a_file_read_the_same_durations(text: str) -> None:
    assert duration_of_at_least(1, needs_unit=True)(text) == DURATIONS[text]
    assert TypeAdapter(Duration).validate_python(text) == DURATIONS[text]


@pytest.mark.parametrize("text", DURATIONS)
def test_a_duration_is_written_as_it_was_read(text: str) -> None:
    assert format_duration(DURATIONS[text]) == text


@pytest.mark.parametrize("text", ["2 days", "1w", "10", "-1s", "1.5h", "", "1234567890s"])
def test_the_error_for_what_is_no_duration_names_all_units(text: str) -> None:
    says = f"{text!r} is not a duration; it looks like 200ms, 10s, 1m, 1h or 30d"

    with pytest.raises(BadParameter, match=re.escape(says)):
        duration_of_at_least(1, needs_unit=True)(text)
    with pytest.raises(ValidationError, match=re.escape(says)):
        TypeAdapter(Duration).validate_python(text)


@pytest.mark.parametrize("text", ["0s", "0d", "999ms"])
def test_a_command_stays_for_a_second_at_least(text: str) -> None:
    with pytest.raises(BadParameter, match=f"{text} is too short: give at least 1s"):
        duration_of_at_least(1, needs_unit=True)(text)
