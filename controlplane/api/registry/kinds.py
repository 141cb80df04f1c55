"""Every kind that is served, declared once."""

from __future__ import annotations

from controlplane.api.registry import defaults, validation
from controlplane.api.registry.model import Kind
from kube.client import resources as r
from kube.defaults import default_pod
from kube.defaults_rbac import default_binding
from kube.validation import policies, services

EVENT_TTL_SECONDS = 3600.0
_ALL = ("all",)
_CREATE = ("create",)

KINDS: tuple[Kind, ...] = (
    Kind(r.NAMESPACES, ("ns",), subresources=("status", "finalize"),
         verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
         default=defaults.default_namespace),
    Kind(r.NODES, ("no",), subresources=("status",)),
    Kind(r.PODS, ("po",), _ALL, ("status", "binding", "eviction"),
         default=default_pod, validate=validation.pod, validate_update=validation.pod_update),
    Kind(r.EVENTS, ("ev",), ttl_seconds=EVENT_TTL_SECONDS),
    Kind(r.CONFIG_MAPS, ("cm",), validate=validation.config_map,
         validate_update=validation.immutable_data),
    Kind(r.SECRETS, default=defaults.default_secret, validate=validation.secret,
         validate_update=validation.secret_update),
    Kind(r.SERVICE_ACCOUNTS, ("sa",)),
    Kind(r.SERVICES, ("svc",), _ALL, ("status",), default=defaults.default_service,
         validate=services.service, validate_update=services.service_update),
    Kind(r.ENDPOINTS, ("ep",), default=defaults.default_endpoints, validate=services.endpoints),
    Kind(r.REPLICATION_CONTROLLERS, ("rc",), _ALL, ("status", "scale"),
         default=defaults.default_replication_controller, validate=validation.replication_controller),
    Kind(r.DEPLOYMENTS, ("deploy",), _ALL, ("status", "scale"), default=defaults.default_deployment,
         validate=validation.workload, validate_update=validation.selector_update),
    Kind(r.REPLICA_SETS, ("rs",), _ALL, ("status", "scale"), default=defaults.default_replicas,
         validate=validation.workload, validate_update=validation.selector_update),
    Kind(r.LEASES, validate=policies.lease),
    Kind(r.ENDPOINT_SLICES, default=defaults.default_endpoint_slice, validate=services.endpoint_slice,
         validate_update=services.endpoint_slice_update),
    Kind(r.ROLES, validate=policies.role),
    Kind(r.CLUSTER_ROLES, validate=policies.cluster_role),
    Kind(r.ROLE_BINDINGS, default=default_binding, validate=policies.role_binding,
         validate_update=policies.binding_update),
    Kind(r.CLUSTER_ROLE_BINDINGS, default=default_binding, validate=policies.cluster_role_binding,
         validate_update=policies.binding_update),
    Kind(r.PRIORITY_CLASSES, ("pc",), default=defaults.default_priority_class,
         validate=policies.priority_class, validate_update=policies.priority_class_update),
    Kind(r.RUNTIME_CLASSES, validate=policies.runtime_class,
         validate_update=policies.runtime_class_update),
    Kind(r.BINDINGS, verbs=_CREATE, is_stored=False),
    Kind(r.TOKEN_REVIEWS, verbs=_CREATE, is_stored=False),
    Kind(r.SELF_SUBJECT_REVIEWS, verbs=_CREATE, is_stored=False),
    Kind(r.SUBJECT_ACCESS_REVIEWS, verbs=_CREATE, is_stored=False),
    Kind(r.LOCAL_SUBJECT_ACCESS_REVIEWS, verbs=_CREATE, is_stored=False),
    Kind(r.SELF_SUBJECT_ACCESS_REVIEWS, verbs=_CREATE, is_stored=False),
    Kind(r.SELF_SUBJECT_RULES_REVIEWS, verbs=_CREATE, is_stored=False),
)  # fmt: skip
