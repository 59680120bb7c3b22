"""Energy and cost from differences of a register, in PromQL: `increase` would guess at the ends."""

from boards.units import KWH

LONGEST_GAP = "7d"
"""How far back the last known register is looked for when a charger was not reachable."""

MONTH = (
    "label_replace(count_values(`month`, "
    "year(vector(time() + 43200)) * 100 + month(vector(time() + 43200))), "
    "`month`, `$1-$2`, `month`, `(....)(..)`)"
)
"""1 with the label `month` of the day that begins now; by its noon, as midnight is not that of UTC everywhere."""


def price_of_variables(seconds: int) -> str:
    """The price of the time that ends now and lasts so long, by the variables on top of the board."""
    hour = f"hour(vector(time() - {seconds // 2}))"
    cheap = f"(({hour} - $cheap_from + 24) % 24 < bool ($cheap_to - $cheap_from + 24) % 24)"
    return f"($price + ($cheap_price - $price) * {cheap})"


def per_day(register: str) -> str:
    """Kilowatt-hours of the day that begins now."""
    return f"{_grown(register, '1d', ' offset -1d')}{KWH}"


def cost_per_day(register: str, price: str) -> str:
    """The cost of the day that begins now; `price` is that of the half-hour that ends."""
    piece = _grown(register, "30m", "")
    return f"sum_over_time(({piece}{KWH} * on () group_left () {price})[86399s:30m] offset -1d)"


def in_range(register: str) -> str:
    """Kilowatt-hours of the range that is shown."""
    before = f"last_over_time({register}[{LONGEST_GAP}] offset $__range) or min_over_time({register}[$__range])"
    return f"clamp_min(last_over_time({register}[{LONGEST_GAP}]) - ({before}), 0){KWH}"


def in_a_minute(register: str) -> str:
    """Joules of the minute that ends now; none after a gap."""
    return f"clamp_min({register} - {register} offset 1m, 0)"


def _grown(register: str, window: str, moved: str) -> str:
    """By how much a register has grown in a window; from the last value before it, else from its first."""
    before = f" offset {window}" if not moved else ""
    return (
        f"clamp_min(last_over_time({register}[{window}]{moved}) - "
        f"(last_over_time({register}[{LONGEST_GAP}]{before}) or min_over_time({register}[{window}]{moved})), 0)"
    )
