"""The boundary-based losses, and each once more from its formula in float64 NumPy."""

CASES = {}
