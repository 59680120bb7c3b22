"""What readings mean: the catalogue of vendor facts, values in base units, plausibility."""
