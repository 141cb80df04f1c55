"""Events to the API server: told once, counted after that, and never in the way of the work."""
