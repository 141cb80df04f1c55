"""From a Pod to the exact messages a runtime is given: pure text and value builders, no I/O."""
