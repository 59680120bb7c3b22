"""The meaning of a charger's values: vendor facts, base units, plausibility, privacy, plugs. Knows no output."""
