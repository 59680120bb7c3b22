"""The engine's language: XML, requests, what is asked when, and the one write."""
