"""Scripts that set a checkout up; nothing here is installed."""
