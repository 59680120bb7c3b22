"""The HTTP server: routes, security, the page for people."""
