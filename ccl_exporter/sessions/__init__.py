"""Finished charges: when one is over, the file that keeps them, the table of them."""
