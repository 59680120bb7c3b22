"""Tables for a terminal: columns, numbers to the right, nothing that moves the cursor."""

from ccl_exporter.text import align_columns


def test_numbers_stand_at_the_right_of_their_column_and_so_does_its_header() -> None:
    lines = [("NAME", "KWH", "STATE"), ("left", "1,204.5", "available"), ("right", "-", "7"), ("rear", "9.25", "")]

    assert align_columns(lines).splitlines() == [
        "NAME       KWH  STATE",
        "left   1,204.5  available",
        "right        -          7",
        "rear      9.25",
    ]


def test_a_dash_among_texts_stays_at_the_left() -> None:
    lines = [("BEGIN", "KWH"), ("2026-09-21T14:13:26Z", "1"), ("-", "2")]

    assert align_columns(lines).splitlines()[2] == "-                       2"


def test_a_table_without_rows_is_its_header() -> None:
    assert align_columns([("NAME", "KWH")]) == "NAME  KWH"


def test_control_characters_move_no_cursor() -> None:
    assert align_columns([("NAME",), ("\x1b[2Jx",)]) == "NAME\n�[2Jx"
