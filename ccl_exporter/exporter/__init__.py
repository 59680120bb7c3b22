"""The service: chargers with one reader each, collector, poll loop, HTTP server. It cannot write to a charger."""
