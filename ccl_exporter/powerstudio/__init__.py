"""The client of the vendor's HTTP API: requests, responses, values as sent. README.md is the protocol page."""
