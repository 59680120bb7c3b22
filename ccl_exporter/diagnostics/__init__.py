"""What a person asks of a charger: what it can do, what it reads, a recording of it."""
