"""Controllers: each brings one part of the cluster to what was asked for, one file each, all of one shape.

A controller says what it reads and what it may write, which keys a change concerns, and how to reconcile one
key: gather a snapshot from the local copies, decide in a pure function of the same file, apply. The runner
(`runner.py`) owns the copies, the queues, the back-off, and that no decision is made on a copy that is older
than the controller's own last writes. They reach the API through `kube.client` alone.
"""
