"""A fortnight of the whole wish: sun by day, cheap hours by night, within the supply, with boosts and kills.

CI lives three days. `CCL_FORTNIGHT=14 pytest -s tests/component/test_fortnight.py` is the long form, two minutes
of processor time; it shows each night.
"""

import os
from collections import Counter
from pathlib import Path

from helpers.fortnight import Wish

from ccl_exporter.control.follow.follower import SENTENCES

DAYS = int(os.environ.get("CCL_FORTNIGHT", "3"))
BOOSTS = {1: (13 * 3600, 7200.0, None), 8: (20 * 3600, None, 10 * 3.6e6)}


def tell(sentence: str) -> None:
    print(sentence)  # noqa: T201 - the figures of the proof, seen with -s


def test_each_morning_the_car_has_what_it_could_have_and_hardly_anything_besides(
    tmp_path: Path,
) -> None:
    wish = Wish(tmp_path, seed=int(os.environ.get("CCL_SEED", "1")))
    for day in range(DAYS):
        wish.live(day, BOOSTS.get(day))
    found = wish.result
    for night in found.nights:
        tell(f"night: {night.got / 1000:.2f} kWh of {night.could / 1000:.2f}")
    reasons = Counter(line.partition(":")[0] for line in wish.said if line.partition(":")[0] in SENTENCES)
    tell(f"{dict(reasons)}")
    tell(
        f"sun {found.sun / 1000:.1f} kWh, cheap hours and boosts {found.full / 1000:.1f} kWh, other"
        f" {found.other / 1000:.2f} kWh; exceeded for {found.exceeded:.0f} s at most; {found.kills} kills;"
        f" starts a day {found.starts}; at most {found.most_writes_an_hour()} writes an hour"
    )

    assert len(found.nights) >= DAYS - 1
    assert sum(night.could > 1000 for night in found.nights) >= DAYS // 3
    assert all(night.got >= 0.95 * night.could for night in found.nights)
    assert found.other < 0.03 * (found.sun + found.full + found.other)
    assert found.exceeded <= 10
    assert max(found.starts) <= 8 + 1
    assert found.most_writes_an_hour() <= 60
