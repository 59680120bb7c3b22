"""A log line is one line, can be read back, and says when, how bad and what."""

import json
import logging
import re
import sys

import pytest

from ccl_exporter.logs import JsonFormatter, LogfmtFormatter

SECRET = "hunter-4711"  # noqa: S105 - nobody's
AT = 1_700_000_000.25
LINE_ENDS = ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
every_formatter = pytest.mark.parametrize(
    "formatter", [LogfmtFormatter(), JsonFormatter()], ids=["logfmt", "json"]
)


def record(message: str, *arguments: object, level: int = logging.INFO, at: float = AT) -> logging.LogRecord:
    made = logging.LogRecord("ccl_exporter", level, __file__, 1, message, arguments, None)
    made.created = at
    return made


def failed(error: Exception) -> logging.LogRecord:
    made = record("it failed", level=logging.ERROR)
    try:
        raise error
    except type(error):
        made.exc_info = sys.exc_info()
    return made


def fields(line: str) -> dict[str, str]:
    """A logfmt line read back: bare words or JSON strings."""
    found = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|[^" =]*)(?: |$)', line)
    assert " ".join(f"{key}={value}" for key, value in found) == line
    return {key: json.loads(value) if value.startswith('"') else value for key, value in found}


class TestLogfmt:
    @pytest.mark.parametrize(
        ("message", "written"),
        [
            pytest.param("started", "msg=started", id="word"),
            pytest.param("not started", 'msg="not started"', id="words"),
            pytest.param("", 'msg=""', id="nothing"),
            pytest.param("a=b", 'msg="a=b"', id="equals sign"),
            pytest.param('say "a"', r'msg="say \"a\""', id="quotes"),
            pytest.param("a\\b", r'msg="a\\b"', id="backslash"),
            pytest.param("a\nb", r'msg="a\nb"', id="line end"),
            pytest.param("a\tb", r'msg="a\tb"', id="tab"),
            pytest.param("100%", "msg=100%", id="percent"),
            pytest.param("http://evse/", "msg=http://evse/", id="URL"),
        ],
    )
    def test_a_message_is_quoted_where_it_needs_to_be(self, message: str, written: str) -> None:
        assert LogfmtFormatter().format(record(message)) == f"ts=2023-11-14T22:13:20.250Z level=info {written}"

    def test_an_error_is_named_behind(self) -> None:
        line = LogfmtFormatter().format(failed(ValueError("no such thing")))

        assert line.endswith('level=error msg="it failed" error="ValueError: no such thing"')

    def test_what_was_written_can_be_read_back(self) -> None:
        for message in ("plain", "two words", 'a="b"', "\\", "\\\\n", "", "\t", "é ½", "\U0001f50c"):
            assert fields(LogfmtFormatter().format(record("%s", message)))["msg"] == message


class TestJson:
    def test_a_line_is_an_object(self) -> None:
        assert json.loads(JsonFormatter().format(record("asked %s: %d", "evse", 3))) == {
            "ts": "2023-11-14T22:13:20.250Z",
            "level": "info",
            "msg": "asked evse: 3",
        }

    def test_an_error_is_a_field(self) -> None:
        assert json.loads(JsonFormatter().format(failed(OSError("gone"))))["error"] == "OSError: gone"

    def test_what_was_written_can_be_read_back(self) -> None:
        for message in ("plain", 'a="b"', "\\", "", "\t\n", "é ½", "\U0001f50c"):
            assert json.loads(JsonFormatter().format(record("%s", message)))["msg"] == message


class TestBoth:
    @every_formatter
    def test_a_record_is_always_one_line(self, formatter: logging.Formatter) -> None:
        lines = {ascii(end): formatter.format(record(f"first{end}level=error msg=forged")) for end in LINE_ENDS}

        assert [end for end, line in lines.items() if len(line.splitlines()) != 1] == []

    @every_formatter
    def test_an_error_of_several_lines_is_one_line(self, formatter: logging.Formatter) -> None:
        assert len(formatter.format(failed(ValueError("first\nsecond"))).splitlines()) == 1

    @every_formatter
    @pytest.mark.parametrize("character", ["\x1b", "\x07", "\x9b", "\u202e"], ids=ascii)
    def test_what_a_device_is_called_cannot_steer_a_terminal(
        self, formatter: logging.Formatter, character: str
    ) -> None:
        assert character not in formatter.format(record("the device %s is silent", f"A{character}[2J"))

    @every_formatter
    @pytest.mark.parametrize(
        ("level", "word"),
        [
            (logging.DEBUG, "debug"),
            (logging.INFO, "info"),
            (logging.WARNING, "warn"),
            (logging.ERROR, "error"),
            (logging.CRITICAL, "error"),
        ],
    )
    def test_levels_are_called_as_prometheus_calls_them(
        self, formatter: logging.Formatter, level: int, word: str
    ) -> None:
        assert re.search(rf'level"?[=:] ?"?{word}\b', formatter.format(record("x", level=level)))

    @every_formatter
    @pytest.mark.parametrize(
        ("at", "written"),
        [
            pytest.param(0.0, "1970-01-01T00:00:00.000Z", id="whole second"),
            pytest.param(1_700_000_000.0, "2023-11-14T22:13:20.000Z", id="another whole second"),
            pytest.param(1_700_000_000.9996, "2023-11-14T22:13:20.999Z", id="end of a second"),
        ],
    )
    def test_time_is_utc_with_milliseconds(self, formatter: logging.Formatter, at: float, written: str) -> None:
        assert written in formatter.format(record("x", at=at))

    @every_formatter
    @pytest.mark.parametrize(
        ("said", "written"),
        [
            pytest.param("(url=http://h/x?token={}): odd", "(url=http://h/x?(hidden)): odd", id="query"),
            pytest.param("https://h:1/x?a=1&b={}", "https://h:1/x?(hidden)", id="at the end"),
            pytest.param("http://h?{}, http://i?t={}.", "http://h?(hidden), http://i?(hidden).", id="two"),
            pytest.param("'HTTP://h/x?t={}' failed", "'HTTP://h/x?(hidden)' failed", id="capitals, quoted"),
            pytest.param("http://h/x?t={}?/:@y z", "http://h/x?(hidden) z", id="signs in the query"),
            pytest.param("http://h/x?t=({}", "http://h/x?(hidden)", id="half a bracket"),
            pytest.param("http://me:{}@h/x", "http://(hidden)@h/x", id="login"),
            pytest.param("http://me:a/{}@h/x", "http://(hidden)@h/x", id="slash in a password"),
            pytest.param("http://me:a@{}@h/x", "http://(hidden)@h/x", id="sign in a password"),
            pytest.param("mqtts://{}@h:1?t={} x", "mqtts://(hidden)@h:1?(hidden) x", id="broker"),
            pytest.param("http://me:a?{}@h/x", "http://(hidden)@h/x", id="question in a password"),
            pytest.param("https://h/x#token={}", "https://h/x#(hidden)", id="fragment"),
            pytest.param("mqtt://h?{}", "mqtt://h?(hidden)", id="broker's query"),
        ],
    )
    def test_no_login_and_no_query_of_a_url_is_written(
        self, formatter: logging.Formatter, said: str, written: str
    ) -> None:
        said, written = said.replace("{}", SECRET), json.dumps(written)[1:-1]

        assert written in formatter.format(record(said))
        assert written in formatter.format(record("%s", said))
        assert written in formatter.format(failed(ValueError(said)))
        assert SECRET not in formatter.format(record("%r", ValueError(said)))

    @every_formatter
    @pytest.mark.parametrize(
        "said",
        ["/probe?target=NAME", "what? http://h/x is gone", "at http://h:1/x?", "a@b, https://h/x", "ftp://h?x"],
    )
    def test_all_else_is_written(self, formatter: logging.Formatter, said: str) -> None:
        assert json.dumps(said)[1:-1] in formatter.format(record(f"it says {said}"))

    @every_formatter
    def test_a_record_without_an_error_names_none(self, formatter: logging.Formatter) -> None:
        made = record("x")
        made.exc_info = (None, None, None)

        assert "error" not in formatter.format(made)
