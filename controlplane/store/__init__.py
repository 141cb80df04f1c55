"""Where API objects live: keys and bytes under one global, growing revision.

`model` holds the protocol and its values, `errors` what a call may raise. The engines are `sqlite` (the
embedded default) and `memory` (tests); they pass one conformance suite, and only the wire-up names one.
"""
