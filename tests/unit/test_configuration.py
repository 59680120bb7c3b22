"""The configuration file: what it may say, how every error in it is reported, and that no secret of it is."""

import json
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from textwrap import dedent
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ccl_exporter.config.charger_source import ChargerInventory
from ccl_exporter.config.document import Configuration, load
from ccl_exporter.errors import UsageError
from ccl_exporter.logs import warn_renamed
from ccl_exporter.settings import ChargerSettings, Credentials, InfluxSettings, Settings
from ccl_exporter.tariff import Tariff, window
from ccl_exporter.yaml_reader import MAX_BYTES, FileErrors, Reader, as_yaml

SECRET = "hunter-4711"  # noqa: S105 - nobody's

FULL = """\
    chargers:
      garage:
        url: http://192.0.2.10
        username: monitor
        password_file: garage.password
      car-park-7:
        url: HTTP://Evse.Example:8080/site/
        timeout: 10s
        pause: 200ms
        labels: {site: north, evse_id: GB*ABC*E7, open: no, since: 2024-01-01}
        title: Bay 7
        plugs: {EVSE.PLUG_A: {title: Left}, EVSE.PLUG_B: {title: Right}}
        source_address: 192.0.2.1
        max_power: 2000000
        variables: {exclude: ["CCL1Mini.PWMO*"]}
    probe:
      allow_networks: [192.0.2.0/24, "2001:db8::/32"]
    tariff:
      timezone: Europe/London
      currency: GBP
      price: 0.2877
      windows:
        - {from: 23:30, to: 04:30, price: 0.085}
        - {from: "16:00", to: "19:00", price: 1}
    """
TARIFF = "tariff: {timezone: Europe/London, currency: GBP, price: 0.2877, windows: [%s]}"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file, by default the configuration file; a text is taken without its indentation."""

    def run(text: str | bytes, name: str = "ccl.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return path

    return run


def errors_of(path: Path, environment: Mapping[str, str] | None = None) -> list[str]:
    """The lines of what is wrong with a file, each without the file's name."""
    with pytest.raises(UsageError) as raised:
        load(path, environment or {})
    error: BaseException | None = raised.value
    while error is not None:  # a log shows the causes, too
        assert SECRET not in str(error) + repr(error)
        error = error.__cause__ or error.__context__
    lines = str(raised.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


class TestGoodFile:
    def test_everything_in_it_becomes_settings(self, write: Callable[..., Path]) -> None:
        write(f"{SECRET}\n", "garage.password")

        configuration = load(write(FULL), {})

        assert configuration == Configuration(
            Settings(
                {
                    "garage": ChargerSettings("garage", "http://192.0.2.10", Credentials("monitor", SECRET)),
                    "car-park-7": ChargerSettings(
                        "car-park-7",
                        "http://evse.example:8080/site",
                        timeout=10.0,
                        pause=0.2,
                        labels={"site": "north", "evse_id": "GB*ABC*E7", "open": "no", "since": "2024-01-01"},
                        source_address="192.0.2.1",
                        exclude=("CCL1Mini.PWMO*",),
                        title="Bay 7",
                        plug_titles={"EVSE.PLUG_A": "Left", "EVSE.PLUG_B": "Right"},
                        max_power=2e6,
                    ),
                },
                (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
                tariff=Tariff(
                    ZoneInfo("Europe/London"),
                    "GBP",
                    0.2877,
                    (
                        (window("23:30-04:30", "Europe/London"), 0.085),
                        (window("16:00-19:00", "Europe/London"), 1.0),
                    ),
                ),
            )
        )

    def test_the_login_of_the_command_line_is_not_the_login_of_its_chargers(
        self, write: Callable[..., Path]
    ) -> None:
        path = write("chargers: {a: {url: evse}}")

        configuration = load(path, {"CCL_USERNAME": "monitor", "CCL_PASSWORD": SECRET})

        assert configuration.settings.chargers["a"].credentials is None

    @pytest.mark.parametrize(
        ("text", "seconds"), [("200ms", 0.2), ("10s", 10), ("1m", 60), ("1h", 3600), ("0001s", 1)]
    )
    def test_a_duration_has_a_unit(self, write: Callable[..., Path], text: str, seconds: float) -> None:
        path = write(f"chargers: {{a: {{url: evse, timeout: {text}}}}}")

        assert load(path, {}).settings.chargers["a"].timeout == seconds

    def test_networks_alone_are_enough_for_probes(self, write: Callable[..., Path]) -> None:
        assert load(write("probe: {allow_networks: [192.0.2.1]}"), {}).settings.chargers == {}


class TestSecrets:
    @pytest.mark.parametrize(
        ("written", "password"),
        [
            ("${EVSE_PASSWORD}", SECRET),
            ("a${EVSE_PASSWORD}b${EMPTY}", f"a{SECRET}b"),
            ("${TWICE}", "${EVSE_PASSWORD}"),
            ("$${EVSE_PASSWORD}", "${EVSE_PASSWORD}"),
            ("$EVSE_PASSWORD$$", "$EVSE_PASSWORD$$"),
            ("", ""),
        ],
    )
    def test_a_variable_in_a_password_stands_for_its_value_once(
        self, write: Callable[..., Path], written: str, password: str
    ) -> None:
        environment = {"EVSE_PASSWORD": SECRET, "EMPTY": "", "TWICE": "${EVSE_PASSWORD}"}
        path = write(f"chargers: {{a: {{url: evse, username: monitor, password: '{written}'}}}}")

        assert load(path, environment).settings.chargers["a"].credentials == Credentials("monitor", password)

    @pytest.mark.parametrize("name", ["secret", "./secret", "${FOLDER}/secret"])
    def test_a_password_file_is_beside_the_configuration_or_where_a_variable_says(
        self, write: Callable[..., Path], tmp_path: Path, name: str
    ) -> None:
        write(f" {SECRET} é\r\n".encode(), "secret")
        path = write(f"chargers: {{a: {{url: evse, username: monitor, password_file: '{name}'}}}}")

        configuration = load(path, {"FOLDER": str(tmp_path)})

        assert configuration.settings.chargers["a"].credentials == Credentials("monitor", f" {SECRET} é")

    def test_no_password_is_printed(self, write: Callable[..., Path]) -> None:
        write(f"b: {{url: b, username: monitor, password: {SECRET}}}", "more.yaml")
        write(SECRET, "garage.password")
        configuration = load(write(dedent(FULL) + "chargers_from: {file: more.yaml}\n"), {})

        assert len([c for c in configuration.settings.chargers.values() if c.credentials]) == 2
        assert SECRET not in configuration.masked() + repr(configuration) + str(configuration)

    def test_what_is_shown_of_the_configuration_can_be_read_again(self, write: Callable[..., Path]) -> None:
        write(SECRET, "garage.password")
        configuration = load(write(FULL), {})
        masked = configuration.masked()

        assert masked.count("<secret>") == 1
        assert load(write(masked.replace("<secret>", SECRET)), {}) == configuration


# What stands in the file, and the line, the place and a part of what is said.
INVALID = {
    "nothing": ("", "1: ", "empty"),
    "a comment": ("# later\n", "1: ", "empty"),
    "a word": ("chargers\n", "1: ", "must be a mapping"),
    "a list": ("- garage\n", "1: ", "must be a mapping"),
    "no charger": ("{}", "1: ", "no charger"),
    "half a bracket": ("chargers:\n  a: {url: evse\n", "3: ", "not YAML"),
    "a tab": ("chargers:\n\ta: 1\n", "2: ", "not YAML"),
    "a control character": ("chargers:\n  a: \x07\n", "1: ", "control character"),
    "two documents": ("chargers: {a: {url: evse}}\n---\n{}\n", "2: ", "second document"),
    "a pit": ("chargers: " + "[" * 60, "1: ", "too many levels"),
    "a list for a key": ("chargers: {a: {url: evse, [x]: y}}", "1: chargers.a.?: ", "plain word"),
    "an unknown key": ("charger: {}\n", "1: charger: ", "did you mean `chargers`"),
    "a key of later": ("chargers: {}\nocpp: []\n", "2: ocpp: ", "unknown key"),
    "nothing under a key": ("chargers:\n", "1: chargers: ", "no value"),
    "a list of chargers": ("chargers: [evse]", "1: chargers: ", "{garage: {url:"),
    "no mapping": ("chargers:\n  a: http://evse\n", "2: chargers.a: ", "{url: http://192.0.2.10}"),
    "no URL": ("chargers:\n  a: {timeout: 1s}\n", "2: chargers.a.url: ", "missing"),
    "a name with a blank": ("chargers: {a b: {url: evse}}", "1: chargers.'a b': ", "not a name"),
    "a name with a dot first": ("chargers: {.a: {url: evse}}", "1: chargers.'.a': ", "not a name"),
    "a long name": (f"chargers: {{{'a' * 65}: {{url: evse}}}}", "1: chargers.'aaa", "not a name"),
    "a name that asks for JSON": (
        "chargers: {a.json: {url: evse}}",
        "1: chargers.a.json: ",
        "'a.json' is not a charger's name: with `.json` at its end it asks for JSON",
    ),
    "one name twice": (
        "chargers:\n  a: {url: evse}\n  b: {url: b}\n  a: {url: c}\n",
        "4: chargers.a: ",
        "twice, first in line 2",
    ),
    "one key twice": ("chargers: {a: {url: a,\n url: b}}", "2: chargers.a.url: ", "twice"),
    "one URL twice": (
        "chargers:\n  a: {url: Evse}\n  b:\n    url: http://evse:80/\n",
        "4: chargers.b.url: ",
        "'a' has the same URL",
    ),
    "one URL with TLS twice": (
        "chargers:\n  a: {url: 'https://evse'}\n  b: {url: 'https://evse:443'}",
        "3: chargers.b.url: ",
        "same URL",
    ),
    "no address": ("chargers: {a: {url: 'ftp://evse'}}", "1: chargers.a.url: ", "address of a charger"),
    "a password in the URL": (
        f"chargers: {{a: {{url: 'http://a:{SECRET}@b'}}}}",
        "1: chargers.a.url: ",
        "password",
    ),
    "a number for a URL": ("chargers: {a: {url: 7}}", "1: chargers.a.url: ", "must be text"),
    "a number for a timeout": ("chargers: {a: {url: e, timeout: 10}}", "1: chargers.a.timeout: ", "write 10s"),
    "a fraction for a pause": ("chargers: {a: {url: e, pause: 0.2}}", "1: chargers.a.pause: ", "no unit"),
    "a word for a timeout": ("chargers: {a: {url: e, timeout: 10 s}}", "1: chargers.a.timeout: ", "like 200ms"),
    "a truth for a timeout": ("chargers: {a: {url: e, timeout: true}}", "1: chargers.a.timeout: ", "duration"),
    "no timeout": ("chargers: {a: {url: e, timeout: 0s}}", "1: chargers.a.timeout: ", "more than 0"),
    "a long timeout": ("chargers: {a: {url: e, timeout: 30d}}", "1: chargers.a.timeout: ", "at most 3600"),
    "a negative pause": ("chargers: {a: {url: e, pause: -1s}}", "1: chargers.a.pause: ", "not a duration"),
    "a unit for a power": ("chargers: {a: {url: e, max_power: 2MW}}", "1: chargers.a.max_power: ", "in watts"),
    "a truth for a power": ("chargers: {a: {url: e, max_power: true}}", "1: chargers.a.max_power: ", "in watts"),
    "no power": ("chargers: {a: {url: e, max_power: 0}}", "1: chargers.a.max_power: ", "in watts"),
    "any power": ("chargers: {a: {url: e, max_power: .inf}}", "1: chargers.a.max_power: ", "in watts"),
    "a label of ours": ("chargers: {a: {url: e, labels: {__x: y}}}", "1: chargers.a.labels.__x: ", "label"),
    "a label with a dash": ("chargers: {a: {url: e, labels: {a-b: y}}}", "1: chargers.a.labels.a-b: ", "label"),
    "a number for a label": ("chargers: {a: {url: e, labels: {a: 1}}}", "1: chargers.a.labels.a: ", "quotes"),
    "a truth for a label": ("chargers: {a: {url: e, labels: {a: true}}}", "1: chargers.a.labels.a: ", "quotes"),
    "a plug without a title": (
        "chargers: {a: {url: e, plugs: {P: {}}}}",
        "1: chargers.a.plugs.P.title: ",
        "missing",
    ),
    "a plug that is text": ("chargers: {a: {url: e, plugs: {P: Left}}}", "1: chargers.a.plugs.P: ", "mapping"),
    "no plugs": ("chargers: {a: {url: e, plugs: Left}}", "1: chargers.a.plugs: ", "{EVSE.PLUG: {title: Left}}"),
    "an empty title": ("chargers: {a: {url: e, title: ''}}", "1: chargers.a.title: ", "empty"),
    "no labels": ("chargers: {a: {url: e, labels: north}}", "1: chargers.a.labels: ", "{site: north}"),
    "no source": ("chargers: {a: {url: e, source_address: eth0}}", "1: chargers.a.source_address: ", "192.0.2.1"),
    "no list": (
        "chargers: {a: {url: e, variables: {exclude: x}}}",
        "1: chargers.a.variables.exclude: ",
        "must be a list",
    ),
    "an empty pattern": (
        "chargers:\n a:\n  url: e\n  walk:\n   exclude:\n   - x\n   - ''\n",
        "7: chargers.a.walk.exclude.1: ",
        "empty",
    ),
    "an alias": ("chargers: {a: &a {url: e}, b: *a}", "1: chargers.b: ", "alias"),
    "a tag": ("chargers: {a: {url: !!python/name:os.system e}}", "1: chargers.a.url: ", "tag"),
    "host bits": ("probe: {allow_networks: [192.0.2.1/24]}", "1: probe.allow_networks.0: ", "not a network"),
    "no tariff": ("tariff: 0.2877", "1: tariff: ", "{timezone: Europe/London"),
    "half a tariff": ("tariff: {timezone: Europe/London, price: 0.2}", "1: tariff.currency: ", "missing"),
    "no such zone": (TARIFF.replace("London", "Lndon") % "", "1: tariff.timezone: ", "no such time zone"),
    "no currency": (TARIFF.replace("GBP", "pounds") % "", "1: tariff.currency: ", "GBP or EUR"),
    "a word for a price": (TARIFF.replace("0.2877", "cheap") % "", "1: tariff.price: ", "a number"),
    "a truth for a price": (TARIFF.replace("0.2877", "true") % "", "1: tariff.price: ", "a number"),
    "a price without an end": (
        TARIFF % '{from: "00:30", to: "04:30", price: 1e999}',
        "1: tariff.windows.0.price: ",
        "a number",
    ),
    "an hour that is none": (
        TARIFF % "{from: 00:30, to: 24:00, price: 1}",
        "1: tariff.windows.0.to: ",
        "time of the day",
    ),
    "a window without a begin": (
        TARIFF % '{begin: "00:30", from: "00:30", to: "04:30", price: 1}',
        "1: tariff.windows.0.begin: ",
        "known: from, to, price",
    ),
    "a window of a whole day": (
        TARIFF % "{from: 00:30, to: 00:30, price: 1}",
        "1: tariff.windows.0: ",
        "ends when it begins",
    ),
    "two windows at once": (
        TARIFF % "{from: 23:30, to: 04:30, price: 1}, {from: 04:00, to: 05:00, price: 2}",
        "1: tariff: ",
        "overlap: 23:30-04:30 and 04:00-05:00",
    ),
    "no source of chargers": ("chargers_from: {interval: 5s}", "1: chargers_from.url: ", "either"),
    "two sources": ("chargers_from: {file: a, url: 'http://b'}", "1: chargers_from.url: ", "either"),
    "a file for a URL": ("chargers_from: {url: 'file:///etc/passwd'}", "1: chargers_from.url: ", "must be a URL"),
    "a login in it": (f"chargers_from: {{url: 'http://a:{SECRET}@b'}}", "1: chargers_from.url: ", "password"),
    "a hasty interval": ("chargers_from: {file: a, interval: 1ms}", "1: chargers_from.interval: ", "at least 1"),
    # Whatever stands where a secret belongs, or a secret where it does not belong.
    "no user": (f"chargers: {{a: {{url: e, password: {SECRET}}}}}", "1: chargers.a.username: ", "user name"),
    "no password": ("chargers:\n a:\n  url: e\n  username: x", "4: chargers.a.username: ", "`password_file`"),
    "no file": (
        f"chargers: {{a: {{url: e, username: x, password_file: {SECRET}}}}}",
        "1: chargers.a.password_file: ",
        "No such file",
    ),
    "a file with a zero": (
        f'chargers: {{a: {{url: e, username: x, password_file: "{SECRET}\\0"}}}}',
        "1: chargers.a.password_file: ",
        "cannot be read",
    ),
    "both": (
        f"chargers: {{a: {{url: e, username: x, password: {SECRET}, password_file: y}}}}",
        "1: chargers.a.password_file: ",
        "one of the two",
    ),
    "both and one wrong": (
        "chargers: {a: {url: e, username: x, password: 7, password_file: y}}",
        "1: chargers.a.password: ",
        "quotes",
    ),
    "a list of them": (
        f"chargers: {{a: {{url: e, username: x, password: [{SECRET}]}}}}",
        "1: chargers.a.password: ",
        "must be text",
    ),
    "an unset variable": (
        "chargers: {a: {url: e, username: x, password: '${NOT_SET}'}}",
        "1: chargers.a.password: ",
        "variable NOT_SET is not set",
    ),
    "an unset variable in a password": (
        "chargers: {a: {url: e, username: x, password: 'a${hunter}'}}",
        "1: chargers.a.password: ",
        "a variable in it is not set",
    ),
    "no variable": (
        f"chargers: {{a: {{url: e, username: x, password: '${{{SECRET}}}'}}}}",
        "1: chargers.a.password: ",
        "no ${VARIABLE}",
    ),
    "an alias for one": (
        f"chargers: {{a: {{url: e, username: x, password: *{SECRET}}}}}",
        "1: chargers.a.password: ",
        "alias",
    ),
    "a tag for one": (
        f"chargers: {{a: {{url: e, username: x, password: !{SECRET} x}}}}",
        "1: chargers.a.password: ",
        "tag",
    ),
    "an escape in one": (
        f'chargers:\n a: {{url: e, username: x, password: "{SECRET}\\q"}}',
        "2: ",
        "not YAML",
    ),
    "two values in one": (f"chargers:\n a:\n  password: x: {SECRET}\n", "3: ", "not YAML"),
    "one without a key": (f"chargers: {{a: {{url: e, {SECRET}}}}}", "1: chargers.a.?: ", "no value"),
    "a key for one": (f"chargers: {{a: {{url: e, password:{SECRET}}}}}", "1: chargers.a.?: ", "no value"),
    "an unknown key for one": (
        f"chargers: {{a: {{url: e, pasword: {SECRET}}}}}",
        "1: chargers.a.pasword: ",
        "`password`",
    ),
    "one at the root": (f"password: {SECRET}", "1: password: ", "unknown key"),
    "one as a charger": (f"chargers: {{password: {SECRET}}}", "1: chargers.password: ", "must be a mapping"),
}


class TestMistakes:
    def test_deep_nesting_is_an_error_too(self, write: Callable[..., Path]) -> None:
        first, *_ = errors_of(write(b"chargers: " + b"[" * 100_000))

        # Newer parsers of YAML look down before we do.
        assert re.search(r"^1: .*(too many levels|nesting depth)", first)

    @pytest.mark.parametrize(("text", "place", "said"), INVALID.values(), ids=INVALID)
    def test_each_is_named_with_its_place_and_without_a_secret(
        self, write: Callable[..., Path], text: str, place: str, said: str
    ) -> None:
        path = write(text.encode())

        first, *_ = errors_of(path)

        assert first.startswith(place)
        assert said in first.removeprefix(place)

    def test_all_are_named_at_once_in_the_order_of_the_file(self, write: Callable[..., Path]) -> None:
        path = write(
            f"""\
            chargers:
              garage:
                url: http://192.0.2.10
                username: monitor
                timeout: 10
                pasword: {SECRET}
              my charger:
                url: ftp://evse
              car-park-7:
                url: 192.0.2.10
                labels: {{site: 7, __site: north}}
                walk:
                  exclude: [7]
              garage: {{url: http://192.0.2.11}}
            chargers_from: {{file: 7}}
            probe: {{allow: [192.0.2.0/24]}}
            ocpp: {{password: {SECRET}}}
            """
        )

        assert [line.split(": ")[:2] for line in errors_of(path)] == [
            ["4", "chargers.garage.username"],
            ["5", "chargers.garage.timeout"],
            ["6", "chargers.garage.pasword"],
            ["7", "chargers.'my charger'"],
            ["8", "chargers.'my charger'.url"],
            ["10", "chargers.car-park-7.url"],
            ["11", "chargers.car-park-7.labels.site"],
            ["11", "chargers.car-park-7.labels.__site"],
            ["13", "chargers.car-park-7.walk.exclude.0"],
            ["14", "chargers.garage"],
            ["15", "chargers_from.file"],
            ["16", "probe.allow"],
            ["17", "ocpp"],
        ]

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "empty"),
            (b"\n", "empty"),
            (SECRET.encode() + b"\xff", "UTF-8"),
            (b"x" * (MAX_BYTES + 1), "larger"),
        ],
        ids=["empty", "a line end", "no text", "large"],
    )
    def test_a_password_file_that_holds_no_password_is_one(
        self, write: Callable[..., Path], content: bytes, said: str
    ) -> None:
        write(content, "secret")
        path = write("chargers: {a: {url: evse, username: x, password_file: secret}}")

        (line,) = errors_of(path)

        assert line.startswith("1: chargers.a.password_file: ")
        assert said in line

    @pytest.mark.parametrize("content", [None, SECRET.encode() + b"\xff", b"#" * (MAX_BYTES + 1)])
    def test_a_file_that_cannot_be_read_is_one(self, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "ccl.yaml"
        if content is not None:
            path.write_bytes(content)

        assert errors_of(path)


class TestInventoryFile:
    MAIN = "chargers: {main: {url: main}}\nchargers_from: {file: more/chargers.yaml, interval: 60s}\n"

    @pytest.fixture
    def more(self, write: Callable[..., Path], tmp_path: Path) -> Path:
        (tmp_path / "more").mkdir()
        return write("a: {url: http://192.0.2.1}\n", "more/chargers.yaml")

    @pytest.fixture
    def inventory(self, write: Callable[..., Path], more: Path) -> ChargerInventory:
        configuration = load(write(self.MAIN), {})
        assert configuration.source is not None
        return ChargerInventory(configuration.source, configuration.settings)

    def test_its_chargers_stand_beside_those_of_the_file_itself(
        self, write: Callable[..., Path], more: Path
    ) -> None:
        configuration = load(write(self.MAIN), {})

        assert {name: charger.url for name, charger in configuration.settings.chargers.items()} == {
            "main": "http://main",
            "a": "http://192.0.2.1",
        }
        assert yaml.safe_load(configuration.masked())["chargers_from"] == {"file": str(more), "interval": "1m"}

    def test_its_password_files_are_beside_it(self, write: Callable[..., Path], more: Path) -> None:
        write(SECRET, "more/secret")
        more.write_text("a: {url: evse, username: x, password_file: secret}")

        assert load(write(self.MAIN), {}).settings.chargers["a"].credentials == Credentials("x", SECRET)

    def test_it_may_be_json_as_programs_write_it(self, write: Callable[..., Path], more: Path) -> None:
        labels = {"site": 'n\u00f6rd\\li"ch \U0001f50c \\ud83d\\udd0c', "path": "a/b"}
        for indent in (None, 2, "\t"):
            for ascii_only in (True, False):
                text = json.dumps({"a": {"url": "evse", "labels": labels}}, indent=indent, ensure_ascii=ascii_only)
                more.write_text(text.replace("a/b", "a\\/b"), encoding="utf-8")

                assert load(write(self.MAIN), {}).settings.chargers["a"].labels == labels

    @pytest.mark.parametrize(
        ("text", "place", "said"),
        [
            ("", "1: ", "empty"),
            ("- a\n", "1: ", "must be a mapping"),
            ("a: {url: a}\nb: {url: a}\n", "2: b.url: ", "'a' has the same URL"),
            ("a: {url: a}\nb: {url: MAIN}\n", "2: b.url: ", "'main' has the same URL"),
            ("a: {url: a}\nmain: {url: b}\n", "2: main: ", "the configuration file has a charger of this name"),
            ("a:\n  url: a\n  timeout: 5\n", "3: a.timeout: ", "write 5s"),
            ("chargers: {a: {url: a}}\n", "1: chargers.url: ", "missing"),
            (f"a: {{url: a, pasword: {SECRET}}}", "1: a.pasword: ", "did you mean `password`"),
        ],
    )
    def test_its_errors_are_reported_with_their_places(
        self, write: Callable[..., Path], more: Path, text: str, place: str, said: str
    ) -> None:
        more.write_text(text)
        path = write(self.MAIN)

        with pytest.raises(UsageError) as raised:
            load(path, {})

        first = str(raised.value).splitlines()[0]
        assert first.startswith(f"{more}:{place}")
        assert said in first
        assert SECRET not in str(raised.value)

    def test_a_service_may_start_without_it(self, write: Callable[..., Path]) -> None:
        path = write(self.MAIN)
        with pytest.raises(UsageError, match=r"chargers\.yaml: cannot be read"):
            load(path, {})

        configuration = load(path, {}, patient=True)

        assert list(configuration.settings.chargers) == ["main"]
        assert "cannot be read" in (configuration.source_error or "")
        assert configuration.source is not None

    def test_the_errors_of_the_file_itself_are_never_excused(self, write: Callable[..., Path]) -> None:
        with pytest.raises(UsageError, match="allow: unknown key"):
            load(write(self.MAIN + "probe: {allow: x}"), {}, patient=True)

    def test_a_change_is_read_at_the_second_look(self, inventory: ChargerInventory, more: Path) -> None:
        """A program that writes the file may not be done at the first one."""
        assert not inventory.refresh(100.0)
        more.write_text("a: {url: http://192.0.2.1}\n")
        assert not inventory.refresh(101.0)
        more.write_text("a: {url: http://192.0.2.1}\nb: {url: http://192.0.2.2}\n")
        assert not inventory.refresh(102.0)

        assert inventory.refresh(103.0)

        assert list(inventory.settings.chargers) == ["main", "a", "b"]
        assert inventory.error is None

    @pytest.mark.parametrize("text", [f"a: {{url: evse, pasword: {SECRET}}}", f"{{{SECRET}", "", None])
    def test_a_broken_file_keeps_the_old_one_until_it_is_corrected(
        self, inventory: ChargerInventory, more: Path, text: str | None
    ) -> None:
        inventory.refresh(100.0)
        before = inventory.settings
        if text is None:
            more.unlink()
        else:
            more.write_text(text)

        assert not inventory.refresh(101.0)
        assert not inventory.refresh(101.5)

        assert inventory.settings is before
        assert inventory.error is not None
        assert str(more) in inventory.error
        assert SECRET not in inventory.error

        more.write_text("c: {url: http://192.0.2.3}")

        assert not inventory.refresh(102.0)
        assert inventory.refresh(102.5)
        assert list(inventory.settings.chargers) == ["main", "c"]
        assert not inventory.error

    def test_what_it_refers_to_is_read_again_when_the_interval_has_passed(
        self, inventory: ChargerInventory, write: Callable[..., Path], more: Path
    ) -> None:
        secret = write("old", "more/secret")
        more.write_text("a: {url: evse, username: x, password_file: secret}")
        assert inventory.refresh(100.0)
        secret.write_text(SECRET)

        assert not inventory.refresh(159.9)
        assert inventory.refresh(160.0)

        assert inventory.settings.chargers["a"].credentials == Credentials("x", SECRET)

    def test_a_file_replaced_by_one_of_the_same_size_and_time_is_a_change(
        self, inventory: ChargerInventory, write: Callable[..., Path], more: Path
    ) -> None:
        inventory.refresh(100.0)
        status = more.stat()
        new = write("b: {url: http://192.0.2.1}\n", "more/new")
        os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
        new.replace(more)

        assert not inventory.refresh(100.0)
        assert inventory.refresh(100.0)
        assert list(inventory.settings.chargers) == ["main", "b"]

    def test_a_clock_that_is_set_back_delays_nothing(
        self, inventory: ChargerInventory, write: Callable[..., Path], more: Path
    ) -> None:
        secret = write("old", "more/secret")
        more.write_text("a: {url: evse, username: x, password_file: secret}")
        inventory.refresh(1000.0)
        secret.write_text(SECRET)

        assert inventory.refresh(10.0)

        assert inventory.settings.chargers["a"].credentials == Credentials("x", SECRET)


@dataclass
class Host:
    """A web server on loopback that answers every GET with the same."""

    status: int = 200
    body: bytes = b"a: {url: http://192.0.2.1}\n"
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""
    enough: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving() -> Iterator[Host]:
    host = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host.asked.append(self.path)
            self.send_response(host.status)
            headers = {"Content-Length": str(len(host.body)), **host.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(host.body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        host.url = f"http://127.0.0.1:{server.server_port}/chargers.yaml?token={SECRET}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield host
        server.shutdown()
        thread.join()


@pytest.fixture
def host() -> Iterator[Host]:
    with serving() as running:
        yield running


class TestInventoryUrl:
    @pytest.fixture
    def inventory(self, write: Callable[..., Path], host: Host) -> ChargerInventory:
        configuration = load(write(f"chargers_from: {{url: '{host.url}', interval: 60s}}"), {})
        assert configuration.source is not None
        return ChargerInventory(configuration.source, configuration.settings)

    def test_its_chargers_are_read_every_interval(self, inventory: ChargerInventory, host: Host) -> None:
        assert list(inventory.settings.chargers) == ["a"]
        inventory.refresh(100.0)
        host.body = b'{\n\t"b": {"url": "http://192.0.2.2"}\n}'

        assert not inventory.refresh(159.0)
        assert inventory.refresh(160.0)

        assert list(inventory.settings.chargers) == ["b"]
        assert host.asked == [f"/chargers.yaml?token={SECRET}"] * 3

    def test_its_query_is_not_printed(self, write: Callable[..., Path], host: Host) -> None:
        configuration = load(write(f"chargers_from: {{url: '{host.url}'}}"), {})

        assert yaml.safe_load(configuration.masked())["chargers_from"]["url"] == host.url.partition("?")[0]
        assert SECRET not in configuration.masked() + repr(configuration)

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            pytest.param(Host(body=b"\x00\xff\xfe" * 9), "UTF-8", id="bytes"),
            pytest.param(Host(body=b"<html>not here</html>"), "must be a mapping", id="a page"),
            pytest.param(Host(body=b""), "empty", id="nothing"),
            pytest.param(Host(body=b"#" * (MAX_BYTES + 1)), "larger than", id="too large"),
            pytest.param(Host(500), "answers 500", id="500"),
            pytest.param(Host(404), "answers 404", id="404"),
            pytest.param(Host(204), "answers 204", id="204"),
            pytest.param(Host(302, headers={"Location": "http://localhost:1/"}), "another host", id="away"),
            pytest.param(Host(302, headers={"Location": "file:///etc/hostname"}), "another host", id="to a file"),
            pytest.param(Host(302, headers={"Location": "http://[/"}), "not HTTP", id="to nonsense"),
            pytest.param(Host(302), "another host", id="nowhere"),
            pytest.param(Host(302, headers={"Location": "/other"}), "redirects", id="in circles"),
            pytest.param(Host(headers={"Content-Length": "9999"}), "broke off", id="cut short"),
            pytest.param(Host(headers={"Content-Encoding": "gzip"}), "compressed", id="compressed"),
            pytest.param(Host(body=b"a: {url: evse, timeout: 5}"), ":1: a.timeout: 5 has", id="an error"),
        ],
    )
    def test_an_answer_that_is_none_keeps_the_old_chargers(
        self, inventory: ChargerInventory, host: Host, answer: Host, said: str
    ) -> None:
        before = inventory.settings
        host.status, host.body, host.headers = answer.status, answer.body, answer.headers

        assert not inventory.refresh(100.0)

        assert inventory.settings is before
        assert said in (inventory.error or "")
        assert host.url.partition("?")[0] in (inventory.error or "")
        assert SECRET not in (inventory.error or "")

    def test_a_server_that_comes_later_is_not_awaited_for_a_long_interval(
        self, write: Callable[..., Path], host: Host
    ) -> None:
        text = f"chargers_from: {{url: '{host.url}', interval: 1h}}"
        configuration = load(write(text), {}, fetch=False)
        assert configuration.source is not None
        inventory = ChargerInventory(configuration.source, configuration.settings)
        host.status = 503
        inventory.refresh(0.0)
        host.status = 200

        assert not inventory.refresh(59.0)
        assert inventory.refresh(60.0)

    def test_a_redirect_on_the_same_server_is_followed(self, inventory: ChargerInventory, host: Host) -> None:
        inventory.refresh(0.0)
        host.status, host.headers = 307, {"Location": "/new?x=1"}

        inventory.refresh(60.0)

        assert host.asked[-5:] == ["/new?x=1"] * 5

    def test_a_server_that_is_gone_keeps_the_old_chargers(self, write: Callable[..., Path]) -> None:
        with serving() as host:
            configuration = load(write(f"chargers_from: {{url: '{host.url}'}}"), {})
        assert configuration.source is not None
        inventory = ChargerInventory(configuration.source, configuration.settings)

        assert not inventory.refresh(0.0)

        assert list(inventory.settings.chargers) == ["a"]
        assert "no connection" in (inventory.error or "")
        assert SECRET not in (inventory.error or "")

    @pytest.mark.parametrize("password", ["password: '${HOME}'", "password_file: /etc/hostname"])
    def test_it_cannot_fetch_files_or_variables_of_this_machine(
        self, write: Callable[..., Path], host: Host, password: str
    ) -> None:
        host.body = f"a: {{url: evse, username: x, {password}}}".encode()

        with pytest.raises(UsageError, match="cannot use files or variables of this machine"):
            load(write(f"chargers_from: {{url: '{host.url}'}}"), {"HOME": SECRET})

    def test_while_one_thread_reads_the_others_go_on_with_what_is_there(
        self, inventory: ChargerInventory, host: Host
    ) -> None:
        before = len(host.asked)
        start = threading.Barrier(8)

        def refresh() -> None:
            start.wait()
            inventory.refresh(100.0)
            assert list(inventory.settings.chargers) == ["a"]

        threads = [threading.Thread(target=refresh) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(host.asked) == before + 1


WORDS = [
    *("chargers", "chargers_from", "probe", "garage", "url", "username", "password", "password_file", "timeout"),
    *(
        "pause",
        "max_power",
        "labels",
        "source_address",
        "variables",
        "exclude",
        "allow_networks",
        "file",
        "interval",
        "<<",
        "__x",
    ),
    *(
        "http://192.0.2.1",
        "evse:80",
        "[::::]",
        "10s",
        "0ms",
        "192.0.2.0/24",
        "${HOME}",
        "${",
        "$${",
        "~",
        "\ud800",
    ),
]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.binary(max_size=3)
DATA = st.recursive(
    st.sampled_from(WORDS) | st.text(max_size=5) | LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | LEAVES, inner, max_size=4)
    ),
)
CHARGER = st.fixed_dictionaries({}, optional=dict.fromkeys(WORDS[3:14], DATA))
FILES = st.fixed_dictionaries(
    {}, optional={"chargers": st.dictionaries(st.sampled_from(WORDS), CHARGER)} | {"probe": DATA}
)
LINES = st.lists(st.sampled_from([*WORDS, *":-{}[]\"'|>&*!%@#?,\n", "\n  ", "---"]))
TEXTS = st.one_of(
    st.binary(),
    st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
    LINES.map(lambda words: " ".join(words).encode("utf-8", "surrogatepass")),
    (DATA | FILES).map(lambda data: yaml.safe_dump(data).encode("utf-8", "surrogatepass")),
    (DATA | FILES).map(lambda data: json.dumps(data, default=str, skipkeys=True).encode()),
)


@given(TEXTS)
def test_any_text_is_a_configuration_or_an_error_with_its_line(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ccl.yaml")
        path.write_bytes(data)
        try:
            said = load(path, {"HOME": "/"}).masked()
        except UsageError as error:
            said = str(error)

        assert said.startswith(("chargers:", f"{path}:"))
        assert said.replace("\n", "").isprintable()


def test_names_of_version_0_1_are_accepted_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ccl.yaml"
    path.write_text(
        "chargers: {a: {url: http://192.0.2.1, walk: {exclude: ['M.X']}}, b: {url: http://192.0.2.2, walk: {}}}\n"
        "influxdb: [{url: http://127.0.0.1:8086, version: 1, database: d, modules: [meaning, walk]}]\n"
    )
    warn_renamed.cache_clear()

    load(path, {})
    settings = load(path, {}).settings

    assert settings.chargers["a"].exclude == ("M.X",)
    (database,) = settings.outputs
    assert isinstance(database, InfluxSettings)
    assert database.modules == ("core", "variables")
    said = [record.getMessage().partition(" since")[0] for record in caplog.records]
    assert said == [
        "`walk:` is called `variables:`",
        "`modules: [meaning]` is called `modules: [core]`",
        "`modules: [walk]` is called `modules: [variables]`",
    ]


def test_an_old_name_beside_the_new_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ccl.yaml"
    path.write_text("chargers: {a: {url: http://h, variables: {exclude: [x]}, walk: {exclude: [y]}}}\n")

    with pytest.raises(UsageError, match="is the old name of `variables`"):
        load(path, {})


@pytest.mark.parametrize(
    "text", ["0089", "12", "-1.5", "tRue", "nUll", "~", "", "no", "0x1f", "1e5", "1:30", "a: #b"]
)
def test_a_text_that_is_written_is_read_as_the_same_text(text: str) -> None:
    assert _read(as_yaml({text or "key": text})) == {text or "key": text}


@given(
    st.dictionaries(st.text(min_size=1), st.text() | st.integers(0, 10**12) | st.floats(0, 1e9) | st.booleans())
)
def test_what_is_written_is_read_as_the_same(document: dict[str, object]) -> None:
    found = _read(as_yaml({"document": document, "list": [document]}))

    assert found == {
        "document": {key: pytest.approx(value, abs=1e-14) for key, value in document.items()},
        "list": [{key: pytest.approx(value, abs=1e-14) for key, value in document.items()}],
    }


def _read(text: str) -> object:
    errors = FileErrors("ccl.yaml")
    found = Reader(text, errors).read()
    errors.check()
    return found
