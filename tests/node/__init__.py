"""The agent and its parts against real runtimes, as root; `agent` is importable without pytest."""
