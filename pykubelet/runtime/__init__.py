"""Commands that talk straight to a container runtime over CRI: no agent and no API server needed."""
