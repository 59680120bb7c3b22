"""Databases in the configuration file: what may be said, how errors are reported, and that no secret is shown."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ccl_exporter.config.document import load
from ccl_exporter.errors import UsageError
from ccl_exporter.settings import Credentials, InfluxSettings, SpoolSettings

SECRET = "hunter-4711"  # noqa: S105 - nobody's

FULL = """\
chargers: {garage: {url: http://192.0.2.10}}
influxdb:
  - url: http://127.0.0.1:8086/
    version: 1
    database: evse
    retention_policy: a year
    username: ccl
    password_file: influxdb.password
    interval: 15s
    timeout: 5s
    modules: [core]
    spool: {path: spool.db, max_bytes: 1GiB, max_age: 30d}
  - {url: 'https://db.example/influx', name: cloud, version: 2, org: me, bucket: evse, token: '${TOKEN}'}
  - {url: 'http://127.0.0.1:8181', version: 3, bucket: evse}
  - {url: 'http://127.0.0.1:8181', version: 1, database: other, layout: narrow, spool: {max_bytes: 500MB}}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def run(text: str) -> Path:
        path = tmp_path / "ccl.yaml"
        path.write_text(text)
        (tmp_path / "influxdb.password").write_text(f"{SECRET}\n")
        return path

    return run


def test_everything_that_is_said_becomes_settings(write: Callable[[str], Path]) -> None:
    found = load(write(FULL), {"TOKEN": SECRET}).settings.outputs

    assert found == (
        InfluxSettings(
            "127.0.0.1:8086",
            "http://127.0.0.1:8086",
            1,
            SpoolSettings(Path("spool.db"), 2**30, 30 * 86400.0),
            database="evse",
            retention_policy="a year",
            credentials=Credentials("ccl", SECRET),
            interval=15.0,
            timeout=5.0,
            modules=("core",),
        ),
        InfluxSettings(
            "cloud",
            "https://db.example/influx",
            2,
            SpoolSettings(Path("influxdb-cloud.db")),
            org="me",
            bucket="evse",
            token=SECRET,
        ),
        InfluxSettings(
            "127.0.0.1:8181",
            "http://127.0.0.1:8181",
            3,
            SpoolSettings(Path("influxdb-127.0.0.1_8181.db")),
            bucket="evse",
            layout="narrow",
        ),
        InfluxSettings(
            "127.0.0.1:8181-4",
            "http://127.0.0.1:8181",
            1,
            SpoolSettings(Path("influxdb-127.0.0.1_8181-4.db"), 500_000_000),
            database="other",
            layout="narrow",
        ),
    )


def test_what_is_shown_holds_no_secret_and_can_be_read_again(write: Callable[[str], Path]) -> None:
    configuration = load(write(FULL), {"TOKEN": SECRET})
    masked = configuration.masked()

    assert SECRET not in masked + repr(configuration)
    assert masked.count("<secret>") == 2
    assert load(write(masked.replace("<secret>", SECRET)), {}).settings == configuration.settings


A = "url: 'http://a', "

# What stands in the only entry (or is the list), the place and a part of what is said.
INVALID = {
    "no list": ("influxdb: {url: a}", "influxdb", "must be a list"),
    "no mapping": ("influxdb: [http://a]", "influxdb.0", "it looks like {url: http://127.0.0.1:8086"),
    "no version": (f"influxdb: [{{{A}database: b}}]", "influxdb.0.version", "missing"),
    "another version": (f"influxdb: [{{{A}version: 4, database: b}}]", "influxdb.0.version", "must be 1, 2 or 3"),
    "no database": (f"influxdb: [{{{A}version: 1}}]", "influxdb.0", "version 1 needs `database`"),
    "no organisation": (f"influxdb: [{{{A}version: 2, bucket: b}}]", "influxdb.0", "version 2 needs `org`"),
    "no bucket": (f"influxdb: [{{{A}version: 3}}]", "influxdb.0", "version 3 needs `bucket`"),
    "a token for version 1": (
        f"influxdb: [{{{A}version: 1, database: b, token: {SECRET}}}]",
        "influxdb.0",
        "version 1 has no `token`",
    ),
    "a database for version 3": (
        f"influxdb: [{{{A}version: 3, bucket: b, database: c}}]",
        "influxdb.0",
        "version 3 has no `database`; it has `org`, `bucket`",
    ),
    "half a login": (
        f"influxdb: [{{{A}version: 1, database: b, password: {SECRET}}}]",
        "influxdb.0",
        "a login is `username` and",
    ),
    "a token of two lines": (
        f'influxdb: [{{{A}version: 3, bucket: b, token: "{SECRET}\\n{SECRET}"}}]',
        "influxdb.0",
        "the token holds a character that no token can have, such as the end of a line",
    ),
    "two tokens": (
        f"influxdb: [{{{A}version: 3, bucket: b, token: {SECRET}, token_file: c}}]",
        "influxdb.0.token_file",
        "stands beside `token`",
    ),
    "an unset variable": (
        f"influxdb: [{{{A}version: 3, bucket: b, token: '${{NO_SUCH}}'}}]",
        "influxdb.0.token",
        "variable NO_SUCH is not set",
    ),
    "a login in the URL": (
        f"influxdb: [{{url: 'http://a:{SECRET}@b', version: 3, bucket: b}}]",
        "influxdb.0.url",
        "must not hold a user name",
    ),
    "a query in the URL": (
        "influxdb: [{url: 'http://a/write?db=x', version: 3, bucket: b}]",
        "influxdb.0.url",
        "must be the URL of a database",
    ),
    "another scheme": ("influxdb: [{url: 'udp://a', version: 3, bucket: b}]", "influxdb.0.url", "must be the URL"),
    "a misspelt key": (
        f"influxdb: [{{{A}version: 3, buckets: b}}]",
        "influxdb.0.buckets",
        "did you mean `bucket`",
    ),
    "a misspelt key of the spool": (
        f"influxdb: [{{{A}version: 3, bucket: b, spool: {{max_byte: 1GiB}}}}]",
        "influxdb.0.spool.max_byte",
        "did you mean `max_bytes`",
    ),
    "a size without a unit": (
        f"influxdb: [{{{A}version: 3, bucket: b, spool: {{max_bytes: 1000000}}}}]",
        "influxdb.0.spool.max_bytes",
        "it looks like 500MiB or 1GiB",
    ),
    "a tiny spool": (
        f"influxdb: [{{{A}version: 3, bucket: b, spool: {{max_bytes: 1kB}}}}]",
        "influxdb.0.spool.max_bytes",
        "too small",
    ),
    "another layout": (
        f"influxdb: [{{{A}version: 3, bucket: b, layout: tall}}]",
        "influxdb.0.layout",
        "must be 'narrow' or 'wide'",
    ),
    "no interval": (
        f"influxdb: [{{{A}version: 3, bucket: b, interval: 0s}}]",
        "influxdb.0.interval",
        "at least 1",
    ),
    "no module": (f"influxdb: [{{{A}version: 3, bucket: b, modules: []}}]", "influxdb.0.modules", "empty"),
    "another module": (
        f"influxdb: [{{{A}version: 3, bucket: b, modules: [run]}}]",
        "influxdb.0.modules.0",
        "must be 'core' or 'variables'",
    ),
    "a name twice": (
        f"influxdb: [{{{A}version: 3, bucket: b, name: x}}, {{{A}version: 3, bucket: c, name: x}}]",
        "influxdb.1.name",
        "another entry is called 'x'",
    ),
    "a spool twice": (
        f"influxdb: [{{{A}version: 3, bucket: b, spool: {{path: s}}}}, "
        "{url: 'http://b', version: 3, bucket: c, spool: {path: s}}]",
        "influxdb.1.spool",
        "each needs its own",
    ),
}


@pytest.mark.parametrize(("text", "place", "said"), INVALID.values(), ids=INVALID)
def test_an_error_is_reported_with_its_place_and_without_a_secret(
    text: str, place: str, said: str, write: Callable[[str], Path]
) -> None:
    path = write(f"chargers: {{a: {{url: evse}}}}\n{text}\n")
    with pytest.raises(UsageError) as raised:
        load(path, {})

    assert f"{path}:2: {place}: " in str(raised.value)
    assert said in str(raised.value)
    assert SECRET not in str(raised.value)
