"""Bodies as Go sends them, recorded from kubectl 1.32 (`create KIND`, `drain --disable-eviction`), each with
what its flags asked for, as JSON."""

# ruff: noqa: E501

from __future__ import annotations

from typing import Any

BODIES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "Deployment": (
        b'k8s\x00\n\x15\n\x07apps/v1\x12\nDeployment\x12\xbd\x01\n\x1f\n\x03web\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00Z\n\n\x03app\x12\x03web\x12\x8b\x01\x08\x03\x12\x0c\n\n\n\x03app\x12\x03web\x1aq\n\x1c\n\x00\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00Z\n\n\x03app\x12\x03web\x12Q\x123\n\x05nginx\x12\nnginx:1.27*\x002\n\n\x00\x10\x00\x18P"\x00*\x00B\x00j\x00r\x00\x80\x01\x00\x88\x01\x00\x90\x01\x00\xa2\x01\x00\x1a\x002\x00B\x00J\x00R\x00X\x00`\x00h\x00\x82\x01\x00\x8a\x01\x00\x9a\x01\x00\xc2\x01\x00"\x02\n\x00(\x008\x00\x1a\x0c\x08\x00\x10\x00\x18\x00 \x00(\x008\x00\x1a\x00"\x00',
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {
                        "containers": [
                            {"name": "nginx", "image": "nginx:1.27", "ports": [{"containerPort": 80}]}
                        ]
                    },
                },
            },
        },
    ),
    "ConfigMap": (
        b'k8s\x00\n\x0f\n\x02v1\x12\tConfigMap\x125\n\x18\n\x08settings\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x0c\n\x04mode\x12\x04fast\x1a\x0b\n\x04blob\x12\x03\xff\x00\x01\x1a\x00"\x00',
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings"},
            "data": {"mode": "fast"},
            "binaryData": {"blob": "/wAB"},
        },
    ),
    "Secret": (
        b'k8s\x00\n\x0c\n\x02v1\x12\x06Secret\x12(\n\x15\n\x05login\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\r\n\x04user\x12\x05admin\x1a\x00\x1a\x00"\x00',
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "data": {"user": "YWRtaW4="}},
    ),
    "Service": (
        b'k8s\x00\n\r\n\x02v1\x12\x07Service\x12j\n\x1f\n\x03web\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00Z\n\n\x03app\x12\x03web\x12C\n\x1d\n\x0780-8080\x12\x03TCP\x18P"\x07\x08\x00\x10\x90?\x1a\x00(\x80\xeb\x01\x12\n\n\x03app\x12\x03web\x1a\x00"\x08NodePort:\x00B\x00R\x00Z\x00`\x00h\x00\x1a\x02\n\x00\x1a\x00"\x00',
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {
                "ports": [
                    {"name": "80-8080", "protocol": "TCP", "port": 80, "targetPort": 8080, "nodePort": 30080}
                ],
                "selector": {"app": "web"},
                "type": "NodePort",
            },
        },
    ),
    "Role": (
        b'k8s\x00\n$\n\x1crbac.authorization.k8s.io/v1\x12\x04Role\x12M\n\x16\n\x06reader\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x13\n\x03get\n\x04list\x12\x00\x1a\x04pods\x12\x1e\n\x03get\n\x04list\x12\x04apps\x1a\x0bdeployments\x1a\x00"\x00',
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "reader"},
            "rules": [
                {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
                {"verbs": ["get", "list"], "apiGroups": ["apps"], "resources": ["deployments"]},
            ],
        },
    ),
    "RoleBinding": (
        b'k8s\x00\n+\n\x1crbac.authorization.k8s.io/v1\x12\x0bRoleBinding\x12\x90\x01\n\x17\n\x07readers\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12(\n\x04User\x12\x19rbac.authorization.k8s.io\x1a\x03ann"\x00\x12 \n\x0eServiceAccount\x12\x00\x1a\x03bot"\x07default\x1a)\n\x19rbac.authorization.k8s.io\x12\x04Role\x1a\x06reader\x1a\x00"\x00',
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "readers"},
            "subjects": [
                {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "ann"},
                {"kind": "ServiceAccount", "name": "bot", "namespace": "default"},
            ],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        },
    ),
    "TokenRequest": (
        b'k8s\x00\n(\n\x18authentication.k8s.io/v1\x12\x0cTokenRequest\x12"\n\x10\n\x00\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x08\n\x03api \x90\x1c\x1a\x04\n\x00\x12\x00\x1a\x00"\x00',
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": ["api"], "expirationSeconds": 3600},
        },
    ),
    "Namespace": (
        b'k8s\x00\n\x0f\n\x02v1\x12\tNamespace\x12\x1c\n\x14\n\x04team\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x00\x1a\x02\n\x00\x1a\x00"\x00',
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}},
    ),
    "ServiceAccount": (
        b'k8s\x00\n\x14\n\x02v1\x12\x0eServiceAccount\x12\x15\n\x13\n\x03bot\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x1a\x00"\x00',
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot"}},
    ),
    "Job": (
        b'k8s\x00\n\x0f\n\x08batch/v1\x12\x03Job\x12\x84\x01\n\x12\n\x02pi\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12d2b\n\x10\n\x00\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12N\x12+\n\x02pi\x12\x04perl\x1a\x04perl\x1a\x02-e\x1a\x011*\x00B\x00j\x00r\x00\x80\x01\x00\x88\x01\x00\x90\x01\x00\xa2\x01\x00\x1a\x05Never2\x00B\x00J\x00R\x00X\x00`\x00h\x00\x82\x01\x00\x8a\x01\x00\x9a\x01\x00\xc2\x01\x00\x1a\x08 \x00(\x000\x00:\x00\x1a\x00"\x00',
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "pi"},
            "spec": {
                "template": {
                    "spec": {
                        "containers": [{"name": "pi", "image": "perl", "command": ["perl", "-e", "1"]}],
                        "restartPolicy": "Never",
                    }
                }
            },
        },
    ),
    "CronJob": (
        b'k8s\x00\n\x13\n\x08batch/v1\x12\x07CronJob\x12\xaa\x01\n\x14\n\x04tick\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x8f\x01\n\x0b*/5 * * * *\x1a\x00*~\n\x14\n\x04tick\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12f2d\n\x10\n\x00\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12P\x12)\n\x04tick\x12\x07busybox\x1a\x04date*\x00B\x00j\x00r\x00\x80\x01\x00\x88\x01\x00\x90\x01\x00\xa2\x01\x00\x1a\tOnFailure2\x00B\x00J\x00R\x00X\x00`\x00h\x00\x82\x01\x00\x8a\x01\x00\x9a\x01\x00\xc2\x01\x00\x1a\x00\x1a\x00"\x00',
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "tick"},
            "spec": {
                "schedule": "*/5 * * * *",
                "jobTemplate": {
                    "metadata": {"name": "tick"},
                    "spec": {
                        "template": {
                            "spec": {
                                "containers": [{"name": "tick", "image": "busybox", "command": ["date"]}],
                                "restartPolicy": "OnFailure",
                            }
                        }
                    },
                },
            },
        },
    ),
    "PodDisruptionBudget": (
        b'k8s\x00\n \n\tpolicy/v1\x12\x13PodDisruptionBudget\x129\n\x13\n\x03web\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x16\n\x06\x08\x00\x10\x01\x1a\x00\x12\x0c\n\n\n\x03app\x12\x03web\x1a\n\x08\x00\x18\x00 \x00(\x000\x00\x1a\x00"\x00',
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "web"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
            "status": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0},
        },
    ),
    "Ingress": (
        b'k8s\x00\n\x1f\n\x14networking.k8s.io/v1\x12\x07Ingress\x12I\n\x13\n\x03web\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12.\x1a,\n\ta.example\x12\x1f\n\x1d\n\x1b\n\x02/x\x12\r"\x0b\n\x03web\x12\x04\n\x00\x10P\x1a\x06Prefix\x1a\x02\n\x00\x1a\x00"\x00',
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "web"},
            "spec": {
                "rules": [
                    {
                        "host": "a.example",
                        "http": {
                            "paths": [
                                {
                                    "path": "/x",
                                    "backend": {"service": {"name": "web", "port": {"number": 80}}},
                                    "pathType": "Prefix",
                                }
                            ]
                        },
                    }
                ]
            },
        },
    ),
    "PriorityClass": (
        b'k8s\x00\n%\n\x14scheduling.k8s.io/v1\x12\rPriorityClass\x123\n\x14\n\x04high\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x10\xe8\x07\x18\x00"\x00*\x14PreemptLowerPriority\x1a\x00"\x00',
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "high"},
            "value": 1000,
            "preemptionPolicy": "PreemptLowerPriority",
        },
    ),
    "ResourceQuota": (
        b'k8s\x00\n\x13\n\x02v1\x12\rResourceQuota\x120\n\x11\n\x01q\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x19\n\n\n\x03cpu\x12\x03\n\x011\n\x0b\n\x04pods\x12\x03\n\x012\x1a\x00\x1a\x00"\x00',
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "q"},
            "spec": {"hard": {"cpu": "1", "pods": "2"}},
        },
    ),
    "DeleteOptions": (
        b'k8s\x00\n\x13\n\x02v1\x12\rDeleteOptions\x12\x02\x08\x00\x1a\x00"\x00',
        {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0},
    ),
}
