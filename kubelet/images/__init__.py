"""Images for containers: names, pulling, back-off, and collecting those nobody uses."""
