"""Measurements of the agent against the bare runtime: `python -m bench`; results in RESULTS.md."""
