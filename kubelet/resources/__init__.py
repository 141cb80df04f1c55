"""CPU, memory and topology managers of the node: pure decisions over a recorded topology. See docs/."""
