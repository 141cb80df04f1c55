"""Which collections an API server has: group, version, plural, kind, scope; and the paths they live under."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Resource:
    """`group` is "" for the core group. Equal when all is equal, so usable as a key."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As in an object's apiVersion: "v1", "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As messages name it: "pods", "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """`/apis/apps/v1/namespaces/NS/deployments/NAME/status`, percent-encoded."""
        parts = ["apis", self.group] if self.group else ["api"]
        parts.append(self.version)
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/" + "/".join(quote(part, safe="/" if part is subresource else "") for part in parts)


def _core(plural: str, kind: str) -> Resource:
    return Resource("", "v1", plural, kind)


def _cluster(resource: Resource) -> Resource:
    return replace(resource, namespaced=False)


PODS = _core("pods", "Pod")
NODES = _cluster(_core("nodes", "Node"))
NAMESPACES = _cluster(_core("namespaces", "Namespace"))
EVENTS = _core("events", "Event")
CONFIG_MAPS = _core("configmaps", "ConfigMap")
SECRETS = _core("secrets", "Secret")
SERVICE_ACCOUNTS = _core("serviceaccounts", "ServiceAccount")
SERVICES = _core("services", "Service")
ENDPOINTS = _core("endpoints", "Endpoints")
REPLICATION_CONTROLLERS = _core("replicationcontrollers", "ReplicationController")
PERSISTENT_VOLUMES = _cluster(_core("persistentvolumes", "PersistentVolume"))
PERSISTENT_VOLUME_CLAIMS = _core("persistentvolumeclaims", "PersistentVolumeClaim")
POD_TEMPLATES = _core("podtemplates", "PodTemplate")
LIMIT_RANGES = _core("limitranges", "LimitRange")
RESOURCE_QUOTAS = _core("resourcequotas", "ResourceQuota")

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
DAEMON_SETS = Resource("apps", "v1", "daemonsets", "DaemonSet")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
CONTROLLER_REVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
JOBS = Resource("batch", "v1", "jobs", "Job")
CRON_JOBS = Resource("batch", "v1", "cronjobs", "CronJob")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
POD_DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")

_RBAC = "rbac.authorization.k8s.io"
ROLES = Resource(_RBAC, "v1", "roles", "Role")
ROLE_BINDINGS = Resource(_RBAC, "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLES = _cluster(Resource(_RBAC, "v1", "clusterroles", "ClusterRole"))
CLUSTER_ROLE_BINDINGS = _cluster(Resource(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding"))

PRIORITY_CLASSES = _cluster(Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass"))
RUNTIME_CLASSES = _cluster(Resource("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass"))
STORAGE_CLASSES = _cluster(Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass"))
CSI_NODES = _cluster(Resource("storage.k8s.io", "v1", "csinodes", "CSINode"))
CERTIFICATE_SIGNING_REQUESTS = _cluster(
    Resource("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest")
)
RESOURCE_CLAIMS = Resource("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim")
RESOURCE_CLAIM_TEMPLATES = Resource(
    "resource.k8s.io", "v1", "resourceclaimtemplates", "ResourceClaimTemplate"
)
RESOURCE_SLICES = _cluster(Resource("resource.k8s.io", "v1", "resourceslices", "ResourceSlice"))
DEVICE_CLASSES = _cluster(Resource("resource.k8s.io", "v1", "deviceclasses", "DeviceClass"))

# Create only: the answer is in the object that comes back.
TOKEN_REVIEWS = _cluster(Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview"))
SUBJECT_ACCESS_REVIEWS = _cluster(
    Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview")
)
SELF_SUBJECT_ACCESS_REVIEWS = _cluster(
    Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")
)
LOCAL_SUBJECT_ACCESS_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview"
)
SELF_SUBJECT_RULES_REVIEWS = _cluster(
    Resource("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview")
)
SELF_SUBJECT_REVIEWS = _cluster(
    Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview")
)
BINDINGS = _core("bindings", "Binding")

STORED: tuple[Resource, ...] = (
    PODS, NODES, NAMESPACES, EVENTS, CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, SERVICES, ENDPOINTS,
    REPLICATION_CONTROLLERS, PERSISTENT_VOLUMES, PERSISTENT_VOLUME_CLAIMS, POD_TEMPLATES, LIMIT_RANGES,
    RESOURCE_QUOTAS, DEPLOYMENTS, REPLICA_SETS, DAEMON_SETS, STATEFUL_SETS, CONTROLLER_REVISIONS, JOBS,
    CRON_JOBS, LEASES, ENDPOINT_SLICES, POD_DISRUPTION_BUDGETS, ROLES, ROLE_BINDINGS, CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS, PRIORITY_CLASSES, RUNTIME_CLASSES, STORAGE_CLASSES, CSI_NODES,
    CERTIFICATE_SIGNING_REQUESTS, RESOURCE_CLAIMS, RESOURCE_CLAIM_TEMPLATES, RESOURCE_SLICES, DEVICE_CLASSES,
)  # fmt: skip
_BY_KIND = {(resource.api_version, resource.kind): resource for resource in STORED}


def of_kind(api_version: str, kind: str) -> Resource:
    """The resource of an object's apiVersion and kind. KeyError when it is none of those above."""
    return _BY_KIND[(api_version, kind)]
