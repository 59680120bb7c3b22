"""Energy and cost of a day from differences of a register, in PromQL: `increase` would guess at the ends."""

from boards.units import KWH

LONGEST_GAP = "7d"
"""How far back the last known register is looked for when a charger was absent."""

MONTH = (
    "label_replace(count_values(`month`, "
    "year(vector(time() + 43200)) * 100 + month(vector(time() + 43200))), "
    "`month`, `$1-$2`, `month`, `(....)(..)`)"
)
"""1 with the label `month` of the day that begins now; by its noon, as midnight is not that of UTC everywhere."""

CHEAP = "((hour(vector(time() - 1800)) - $cheap_from + 24) % 24 < bool ($cheap_to - $cheap_from + 24) % 24)"
"""1 if the hour that ends now is a cheap one."""

PRICE = f"($price + ($cheap_price - $price) * {CHEAP})"


def total_per_day(register: str, price: str = "") -> str:
    """Kilowatt-hours, or their cost, of the day that begins now, from differences of a register."""
    if price:
        hour = _grown(register, "1h", "")
        return f"sum_over_time(({hour}{KWH} * on () group_left () {price})[86399s:1h] offset -1d)"
    return f"{_grown(register, '1d', ' offset -1d')}{KWH}"


def _grown(register: str, window: str, moved: str) -> str:
    """By how much a register has grown in a window; from the last value before it, else from its first."""
    before = " offset 1h" if not moved else ""
    return (
        f"clamp_min(last_over_time({register}[{window}]{moved}) - "
        f"(last_over_time({register}[{LONGEST_GAP}]{before}) or min_over_time({register}[{window}]{moved})), 0)"
    )
