"""Where volumes are below a pod's directory; other tools know these paths. Pure."""

from __future__ import annotations

# pkg/volume/*: the plugin's name with "/" as "~"
EMPTY_DIR = "kubernetes.io~empty-dir"
DOWNWARD_API = "kubernetes.io~downward-api"
PROJECTED = "kubernetes.io~projected"
CONFIG_MAP = "kubernetes.io~configmap"
SECRET = "kubernetes.io~secret"

VOLUMES = "volumes"
PLUGINS = "plugins"
CONTAINERS = "containers"


def volumes_dir(pod_dir: str) -> str:
    return f"{pod_dir}/{VOLUMES}"


def volume_dir(pod_dir: str, plugin: str, volume: str) -> str:
    return f"{pod_dir}/{VOLUMES}/{plugin}/{volume}"


def marker_dir(pod_dir: str, plugin: str, volume: str) -> str:
    """Holds the file `ready` once the volume is set up completely (volume/util SetReady)."""
    return f"{pod_dir}/{PLUGINS}/{plugin}/{volume}"


def ready_marker(pod_dir: str, plugin: str, volume: str) -> str:
    return f"{marker_dir(pod_dir, plugin, volume)}/ready"
