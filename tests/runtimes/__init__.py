"""Real container runtimes and registries, private to whoever starts them.

Importable without pytest: the benchmarks and the conformance command's own tests use them too. The pytest
fixtures are in `fixtures.py`.
"""

from tests.runtimes.containerd import KINDS, PrivateContainerd, RuntimeMissing
from tests.runtimes.registry import PrivateRegistry

__all__ = ["KINDS", "PrivateContainerd", "PrivateRegistry", "RuntimeMissing"]
