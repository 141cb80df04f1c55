"""Every kind that is served, declared once."""

from __future__ import annotations

from controlplane.api.printers import cluster, configuration, network, workloads
from controlplane.api.printers.pods import POD
from controlplane.api.registry import defaults, pods, validation
from controlplane.api.registry import workloads as controllers
from controlplane.api.registry.model import Kind
from kube.client import resources as r
from kube.defaults import default_pod
from kube.defaults_rbac import default_binding
from kube.validation import events, nodes, policies, services

EVENT_TTL_SECONDS = 3600.0
_ALL = ("all",)
_CREATE = ("create",)
_OF_PODS = (
    "attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "resize",
    "status",
)  # fmt: skip

KINDS: tuple[Kind, ...] = (
    Kind(r.NAMESPACES, ("ns",), subresources=("status", "finalize"),
         verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
         default=defaults.default_namespace, printer=cluster.NAMESPACE),
    Kind(r.NODES, ("no",), subresources=("status", "proxy"), validate=nodes.node,
         validate_update=nodes.node_update, printer=cluster.NODE),
    Kind(r.PODS, ("po",), _ALL, _OF_PODS, printer=POD,
         default=default_pod, complete=pods.complete, validate=validation.pod, validate_update=pods.update),
    Kind(r.EVENTS, ("ev",), ttl_seconds=EVENT_TTL_SECONDS, validate=events.event, printer=cluster.EVENT),
    Kind(r.CONFIG_MAPS, ("cm",), validate=validation.config_map,
         validate_update=validation.immutable_data, printer=configuration.CONFIG_MAP),
    Kind(r.SECRETS, default=defaults.default_secret, validate=validation.secret,
         validate_update=validation.secret_update, printer=configuration.SECRET),
    Kind(r.SERVICE_ACCOUNTS, ("sa",), subresources=("token",), printer=configuration.SERVICE_ACCOUNT),
    Kind(r.SERVICES, ("svc",), _ALL, ("status", "proxy"), default=defaults.default_service,
         validate=services.service, validate_update=services.service_update, printer=network.SERVICE),
    Kind(r.ENDPOINTS, ("ep",), default=defaults.default_endpoints, validate=services.endpoints,
         printer=network.ENDPOINTS),
    Kind(r.REPLICATION_CONTROLLERS, ("rc",), _ALL, ("status", "scale"),
         default=defaults.default_replication_controller, validate=controllers.replication_controller,
         printer=workloads.REPLICATION_CONTROLLER),
    Kind(r.DEPLOYMENTS, ("deploy",), _ALL, ("status", "scale"), default=defaults.default_deployment,
         validate=controllers.deployment, validate_update=controllers.selector_update,
         printer=workloads.DEPLOYMENT),
    Kind(r.REPLICA_SETS, ("rs",), _ALL, ("status", "scale"), default=defaults.default_replicas,
         validate=controllers.replica_set, validate_update=controllers.selector_update,
         printer=workloads.REPLICA_SET),
    Kind(r.LEASES, validate=policies.lease, printer=cluster.LEASE),
    Kind(r.ENDPOINT_SLICES, default=defaults.default_endpoint_slice, validate=services.endpoint_slice,
         validate_update=services.endpoint_slice_update, printer=network.ENDPOINT_SLICE),
    Kind(r.ROLES, validate=policies.role),
    Kind(r.CLUSTER_ROLES, validate=policies.cluster_role),
    Kind(r.ROLE_BINDINGS, default=default_binding, validate=policies.role_binding,
         validate_update=policies.binding_update, printer=configuration.BINDING),
    Kind(r.CLUSTER_ROLE_BINDINGS, default=default_binding, validate=policies.cluster_role_binding,
         validate_update=policies.binding_update, printer=configuration.BINDING),
    Kind(r.PRIORITY_CLASSES, ("pc",), default=defaults.default_priority_class,
         validate=policies.priority_class, validate_update=policies.priority_class_update,
         printer=cluster.PRIORITY_CLASS),
    Kind(r.RUNTIME_CLASSES, validate=policies.runtime_class,
         validate_update=policies.runtime_class_update, printer=cluster.RUNTIME_CLASS),
    Kind(r.BINDINGS, verbs=_CREATE, is_stored=False),
    Kind(r.TOKEN_REVIEWS, verbs=_CREATE, is_stored=False),
    Kind(r.SELF_SUBJECT_REVIEWS, verbs=_CREATE, is_stored=False),
    Kind(r.SUBJECT_ACCESS_REVIEWS, verbs=_CREATE, is_stored=False),
    Kind(r.LOCAL_SUBJECT_ACCESS_REVIEWS, verbs=_CREATE, is_stored=False),
    Kind(r.SELF_SUBJECT_ACCESS_REVIEWS, verbs=_CREATE, is_stored=False),
    Kind(r.SELF_SUBJECT_RULES_REVIEWS, verbs=_CREATE, is_stored=False),
)  # fmt: skip
