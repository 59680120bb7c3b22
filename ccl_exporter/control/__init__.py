"""Writing to a charger: variables, charging commands, restores, following an input, plans. Not for the service."""
