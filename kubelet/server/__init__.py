"""The agent's HTTP faces.

On loopback and a local socket, for machines and for people on the node: /healthz, and a read-only view of
pods (`http`, `plain`, `healthz`, `view`). On 10250, for the API server and whoever it lets in (`NodeServer`):
logs, exec, attach, port-forward, metrics. There every request is authenticated and authorised (`gate`).
"""
