"""What values mean: catalogue of vendor facts, base units, plausibility, plug. Only here is a value judged."""
