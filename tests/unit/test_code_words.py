"""The words beside codes."""

import pytest

from ccl_exporter.station.code_words import words_of_code


@pytest.mark.parametrize(
    ("role", "variable", "value", "words"),
    [
        ("engine", "PLUG.STATE", 8.0, "charging"),
        ("engine", "PLUG.STATE", 3.0, "waiting for permission"),
        ("engine", "PLUG.STATE", 99.0, "unknown"),
        ("engine", "PLUG.STATE", 8.5, "unknown"),
        ("engine", "STATE", 2.0, "waiting for tag"),
        ("engine", "PLUG.ERROR", 0.0, "none"),
        ("engine", "PLUG.ERROR", 288.0, "rcd, emergency"),
        ("engine", "ERROR", 2.0, "reader"),
        ("engine", "PLUG.STATE", None, ""),
        ("engine", "PLUG.STATE", "8", ""),
        ("engine", "PLUG.AE", 8.0, ""),
        ("meter", "STATE", 8.0, ""),
        ("", "ERROR", 8.0, ""),
    ],
)
def test_codes_of_the_engine_and_its_plugs_have_words(role: str, variable: str, value: object, words: str) -> None:
    assert words_of_code(role, variable, value) == words
