"""What a person asks of a charger: what it can do, its variables, a recording of it."""
