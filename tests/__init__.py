"""Every test of the project; the folders are the suites (see tests/conftest.py)."""
