"""The built-in control plane: an API server, its store, a scheduler and controllers.

Promise: any kubelet, kubectl, client-go or Helm finds Kubernetes here. Scheduler and controllers reach it
only through the API, as everybody else does.
"""
