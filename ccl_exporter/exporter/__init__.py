"""The running service: chargers and their readers, the collector, the HTTP server."""
