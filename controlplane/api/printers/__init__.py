"""What `kubectl get` shows of each kind: columns and cells, as upstream's printers have them
(pkg/printers/internalversion). Pure: an object and the time in, cells out.
"""

from __future__ import annotations

from controlplane.api.printers.model import PLAIN, Column, Printer

__all__ = ["PLAIN", "Column", "Printer"]
