"""The objects a cluster starts with, as values; writing them is the caller's part."""
