"""`charge follow`: the current limit follows an input, such as the power of a house at its meter."""
