"""What the agent knows of the node it runs on."""
