"""The session log: recognising sessions that ended, storing them in SQLite, reporting them."""
