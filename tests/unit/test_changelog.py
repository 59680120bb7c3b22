"""The changelog names every metric of version 0.1 that has another name now, and no other has changed."""

import re

from helpers.support import PROJECT

from ccl_exporter.metrics import families

OLD = (PROJECT / "tests" / "golden" / "metrics-0.1.txt").read_text(encoding="utf-8")
"""Name, type and labels of each metric of version 0.1 (its families, written by hand from its code)."""
NEW = {
    family.name: f"{family.name} {family.kind} {','.join(sorted(family.labels))}".strip()
    for family in (
        *families.FAMILIES,
        *families.EXPORTER,
        *families.FOLLOW,
        *families.PLAN,
        *families.FINISHED_CHARGE,
    )
}
CHANGELOG = (PROJECT / "deploy" / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_table_of_renamed_metrics_is_complete_and_has_no_more() -> None:
    (chapter,) = re.findall(r"^## 0\.2\.0.*?^## ", CHANGELOG, re.DOTALL | re.MULTILINE)
    table = chapter.partition("\n### Renamed metrics\n")[2].partition("\n### ")[0]
    renamed = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|$", table, re.MULTILINE))

    assert set(renamed) == {line.split()[0] for line in OLD.splitlines()} - set(NEW)
    assert set(renamed.values()) <= set(NEW)


def test_every_other_metric_has_the_type_and_the_labels_of_before() -> None:
    kept = [line for line in OLD.splitlines() if line.split()[0] in NEW]

    assert kept == [NEW[line.split()[0]] for line in kept]
