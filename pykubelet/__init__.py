"""The `pykubelet` command: look at a runtime, load images, bring a node up and down, ask it why.

`cli.py` holds the command line, `runtime/` what talks straight to a container runtime over CRI, `instance/`
what `up`, `down`, `status`, `why` and `doctor` do with a node of their own. Each command is imported only
when it is asked for.
"""
