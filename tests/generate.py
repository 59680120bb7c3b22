"""Write every file that is made from the code: tables, boards, rules for Kubernetes, golden files.

    python tests/generate.py

Run it from a development install (.github/CONTRIBUTING.md); it prints the files that changed.
"""

import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
sys.path[:0] = [str(PROJECT / folder) for folder in ("tests", "dashboards", "deploy/prometheus")]

from helpers.generated import GENERATED  # noqa: E402 - the path comes first


def main() -> None:
    for path, make in GENERATED.items():
        text = make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(path)  # noqa: T201 - this is a command


if __name__ == "__main__":
    main()
