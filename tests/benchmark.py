"""Measure the exporter side by side with others: `python tests/benchmark.py [--short] [PART...]` prints a table.

What each part measures stands in tests/benchmarks/README.md.
`--scrapes N` runs the part `time` over N scrapes with `module=core`.
Each figure is shown when it is there, the table of all in the end; the part `push` has a table of its own.
"""

import argparse
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks import push
from benchmarks.parts import PARTS, Row, endurance, table

NAMES = (*PARTS, "push")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the exporter side by side with others.")
    parser.add_argument("parts", nargs="*", choices=[[], *NAMES], metavar="PART", help=" ".join(NAMES))
    parser.add_argument("--short", action="store_true", help="fewer rounds, for a look")
    parser.add_argument("--scrapes", type=int, help="run the part `time` over so many scrapes")
    wanted = parser.parse_args()
    rows: list[Row] = []
    for name in wanted.parts or NAMES:
        if name == "push":
            continue
        print(f"measuring: {name}", flush=True)  # noqa: T201 - this is a command
        long = name == "time" and wanted.scrapes
        for row in endurance(wanted.scrapes, "core") if long else PARTS[name](wanted.short):
            rows.append(row)
            print("  " + "  ".join(filter(None, row.cells())), flush=True)  # noqa: T201 - likewise
    print(f"\nccl-exporter {version('ccl-exporter')}, Python {platform.python_version()}\n")  # noqa: T201 - likewise
    if rows:
        print(table(rows))  # noqa: T201 - likewise
    if "push" in (wanted.parts or NAMES):
        print("\nmeasuring: push\n", flush=True)  # noqa: T201 - likewise
        with tempfile.TemporaryDirectory() as folder:
            push.main(Path(folder))


if __name__ == "__main__":
    main()
