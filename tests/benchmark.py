"""Measure the exporter side by side with others: `python tests/benchmark.py [--short] [PART...]` prints a table.

What each part measures stands in tests/benchmarks/README.md.
`--scrapes N` runs the part `time` over N scrapes with `module=meaning`.
"""

import argparse
import platform
from importlib.metadata import version

from benchmarks.parts import PARTS, Row, endurance, table


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the exporter side by side with others.")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--short", action="store_true", help="fewer rounds, for a look")
    parser.add_argument("--scrapes", type=int, help="run the part `time` over so many scrapes")
    wanted = parser.parse_args()
    rows: list[Row] = []
    for name in wanted.parts or PARTS:
        print(f"measuring: {name}", flush=True)  # noqa: T201 - this is a command
        if name == "time" and wanted.scrapes:
            rows += endurance(wanted.scrapes, "meaning")
        else:
            rows += PARTS[name](wanted.short)
    print(f"\nccl-exporter {version('ccl-exporter')}, Python {platform.python_version()}\n")  # noqa: T201 - a command
    print(table(rows))  # noqa: T201 - this is a command


if __name__ == "__main__":
    main()
