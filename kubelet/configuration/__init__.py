"""The kubelet's configuration: files, drop-ins and flags become one validated, frozen value.

`load.load(flags)` is the way in; everything else here is pure.
"""

from kubelet.configuration.errors import InvalidConfiguration
from kubelet.configuration.types import KubeletConfiguration

__all__ = ["InvalidConfiguration", "KubeletConfiguration"]
