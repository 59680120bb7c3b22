"""The stand-ins for InfluxDB 2.8 and 3.6 answer as the real ones did, byte for byte where that can be."""

import json
import re
from itertools import groupby

import pytest
from helpers.influx_stand_ins import TOKEN, Influx28, Influx36, StandIn
from helpers.support import PROJECT

NOW = 1795938632.287
ANSWERS = json.loads((PROJECT / "tests" / "golden" / "influxdb-answers.json").read_text(encoding="utf-8"))
CHANGES = {"request-id", "x-request-id"}
BOUND = re.compile(r"(?<=Lower Bound at )\S+Z")
NATIVE = "/api/v3/write_lp?db=evse&precision=millisecond"
BEARER = f"Bearer {TOKEN}"


def made(server: str) -> StandIn:
    if server == "2.8.0":
        return Influx28(wall=lambda: NOW, retention={"evse": None, "hour": 3600.0})
    return Influx36(wall=lambda: NOW)


def spoken(body: str) -> str:
    """An answer without what differs from second to second."""
    return re.sub(r',"process_id":"[^"]*"', "", BOUND.sub("then", body))


@pytest.mark.parametrize("server", ["2.8.0", "3.6.0"])
def test_each_answer_is_that_of_the_real_one(server: str) -> None:
    database = made(server)
    for case in (case for case in ANSWERS if case["server"] == server):
        if "501" in case["name"] or "499" in case["name"]:
            filled(database)
        target, login = case["target"], case["authorization"]
        found, _ = database.answer(case["method"], target, login, "\n".join(case["lines"] or []))
        wanted = [(name, value) for name, value in case["headers"] if name not in CHANGES]
        sized = {name.lower() for name, _ in wanted} & {"content-length"}
        same = spoken(case["body"]) == spoken(found.body)
        is_same_size = not sized or len(case["body"]) != len(found.body)
        assert (case["name"], found.status, same) == (case["name"], case["status"], True), found.body
        if is_same_size:
            wanted = [pair for pair in wanted if pair[0].lower() != "content-length"]
        assert wanted == [p for p in found.headers if not is_same_size or p[0].lower() != "content-length"]


def filled(database: StandIn) -> None:
    if isinstance(database, Influx36) and len(database.columns.get(("evse", "ccl_variable"), {})) < 498:
        fields = ",".join(f"V{number}_volts={number}" for number in range(495))
        line = f"ccl_variable,charger=garage,device=A {fields} {round(NOW * 1000)}"
        assert database.answer("POST", NATIVE, BEARER, line)[0].status == 204


def test_the_rows_at_the_end_are_those_of_the_real_one() -> None:
    kept = {}
    for server, cases in groupby(ANSWERS, lambda case: case["server"]):
        database = made(server)
        filled(database)
        for case in cases:
            target, login = case["target"], case["authorization"]
            database.answer(case["method"], target, login, "\n".join(case["lines"] or []))
        rows = [(row[3], fields) for row, fields in database.rows.items() if row[:2] == ("evse", "ccl_plug")]
        kept[server] = sorted((at % 10_000, tuple(fields.values())) for at, fields in rows)

    assert kept["2.8.0"] == [
        (2287, (7350.0, 8, "charging")),
        *[(at, (volts,)) for at, volts in ((2288, 231.0), (2291, 234.0), (2294, 235.0), (2297, 237.0))],
    ]
    assert kept["3.6.0"] == [
        (2287, (7350.0, 8, "charging")),
        (2288, (7351.0, 8)),
        (2289, (7352.0,)),
        *[
            (at, (volts,))
            for at, volts in ((2298, 231.0), (2303, 236.0), (2305, 237.0), (2306, 238.0), (2308, 239.0))
        ],
    ]


def test_5000_bad_lines_are_a_megabyte_of_names_and_what_is_too_large_is_an_error() -> None:
    database = made("3.6.0")
    plug = "ccl_plug,charger=garage,plug=EVSE.PLUG"
    database.answer("POST", NATIVE, BEARER, f"{plug} power_watts=1 1795938632287")
    bad = "\n".join(f'{plug} power_watts="text" {1795938632387 + number}' for number in range(5000))
    assert (*database.answer("POST", NATIVE, BEARER, bad)[0][:2],) == (400, (("content-length", "1003953"),))
    large = "\n".join(f"{plug} power_watts={number} {1795938632287 + number}" for number in range(170_000))
    found = database.answer("POST", NATIVE, BEARER, large)[0]
    assert (found.status, found.body) == (500, "max request size (10485760 bytes) exceeded")
