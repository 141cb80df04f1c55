"""The agent's local HTTP faces: /healthz for machines, a read-only view of pods for people.

Handlers are functions over `http.Request` and `http.Response`; `plain` puts them on a socket.
"""
