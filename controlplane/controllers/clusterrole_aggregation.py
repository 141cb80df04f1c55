"""ClusterRole aggregation: admin, edit, view and the like hold the rules of the roles whose labels they
select (pkg/controller/clusterroleaggregation).
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.bootstrap.roles import aggregate
from controlplane.controllers.base import DONE, Result, View, Writer
from kube.client import JsonObject
from kube.client import resources as r
from kube.client.resources import Resource


class ClusterRoleAggregation:
    name = "clusterrole-aggregation-controller"
    reads = (r.CLUSTER_ROLES,)
    writes = (r.CLUSTER_ROLES,)

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        """A role that changed may belong to any that aggregates; there are few of those."""
        return [item["metadata"]["name"] for item in view.all(resource) if item.get("aggregationRule")]

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        role = view.get(r.CLUSTER_ROLES, key)
        if role is None:
            return DONE
        rules = aggregate(role, view.all(r.CLUSTER_ROLES))
        if rules is not None and rules != (role.get("rules") or []):
            await api.patch(r.CLUSTER_ROLES, role, {"rules": rules}, strict=True)
        return DONE
