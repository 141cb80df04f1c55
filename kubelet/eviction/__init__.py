"""When a node runs short, who has to go, and how soon it will: pure decisions. See docs/."""
