"""Routes, security and the page for people."""
