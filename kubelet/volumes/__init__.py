"""Volumes of pods on this node: set up before containers, taken down after, found again after a crash."""
