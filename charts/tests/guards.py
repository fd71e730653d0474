"""Values that would only fail later are refused, with what to do instead."""

import json
import unittest

from chart import CHART, Refused, text

REFUSED = [
    ("server.replicas=2", "SQLite serves one pod: name a database in server.database.existingSecret"),
    ("server.autoscaling.enabled=true", "SQLite serves one pod"),
    ("server.migrations=job", "a Job cannot open the file"),
    ("webhook.failurePolicy=Fail,operator.replicas=1", "Set operator.replicas to 2 or more"),
    ("webhook.certificates.mode=existingSecret", "name the Secret in webhook.certificates.secretName"),
    ("webhook.certificates.caBundle=x", "belongs to webhook.certificates.mode existingSecret"),
    ("webhook.hostNetwork=true,webhook.port=10250", "which the kubelet has"),
    ("webhook.port=8081", "one pod listens on both"),
    ("snapshots.publish=true", "snapshots.publish needs snapshots.bucket"),
    ("export.enabled=true", "export.enabled needs snapshots.bucket"),
    ("snapshots.bucket=flags,export.enabled=true,server.enabled=false", "export.spec.serverRef"),
    ("profile.enabled=true", "profile.enabled needs a source of snapshots"),
    ("profile.server=true,server.enabled=false", "profile.server needs server.enabled"),
    ("server.authentication.kubernetes.enabled=false", "nobody could call"),
    ("server.authentication.kubernetes.enabled=false,server.authentication.token.enabled=true", "the operator could not call"),
    ("server.ingress.enabled=true", "server.ingress.enabled needs a host"),
    ("server.grpcIngress.enabled=true", "server.grpcIngress.enabled needs a host"),
    ("server.httpRoute.enabled=true", "needs a gateway"),
    (
        "server.database.existingSecret.name=d,server.autoscaling.enabled=true,server.autoscaling.maxReplicas=1",
        "maxReplicas is less than",
    ),
]  # fmt: skip

MISSPELT = [
    "server.replica=2", "operator.replicaCount=2", "webhooks.port=1", "server.database.existingSecret.nam=x",
    "server.ingress.host=x", "webhook.certificates.mode=selfSigned", "webhook.failurePolicy=ignore",
    "server.migrations=always", "uninstall.mode=delete", "operator.watchNamespaces=shop", "webhook.timeoutSeconds=31",
    "server.image.pullPolicy=always", "server.authentication.kubernetes.allow[0].namespace=shop",
]  # fmt: skip


class Guards(unittest.TestCase):
    def test_what_would_fail_later_is_refused_with_a_remedy(self):
        for values, message in REFUSED:
            with self.subTest(values), self.assertRaisesRegex(Refused, message):
                text("--set", values)

    def test_an_old_kubernetes_is_refused(self):
        with self.assertRaisesRegex(Refused, "1.29.0"):
            text(kubernetes="1.28.9")
        with self.assertRaisesRegex(Refused, "needs Kubernetes 1.30"):
            text("--set", "admissionPolicy.enabled=true", kubernetes="1.29.1")

    def test_a_misspelt_value_is_refused(self):
        for values in MISSPELT:
            with self.subTest(values), self.assertRaisesRegex(Refused, "don't meet the specifications"):
                text("--set", values)

    def test_only_what_is_not_ours_is_open(self):
        def check(schema, path):
            properties = schema.get("properties")
            if properties is None:
                return
            open_ended = path.endswith(".resources") or path == ".global"
            self.assertEqual(schema.get("additionalProperties"), open_ended, path)
            for name, inner in properties.items():
                check(inner, f"{path}.{name}")

        check(json.loads((CHART / "values.schema.json").read_text()), "")
