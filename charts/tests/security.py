"""Pods may do as little as possible, and the operator no more than its own table says."""

import unittest

import yaml
from chart import CHART, NAMESPACE, VALUES, find, objects, pod_templates


class Pods(unittest.TestCase):
    def test_they_keep_to_the_restricted_standard(self):
        for values in VALUES:
            for name, template in pod_templates(objects(values)):
                with self.subTest(values=values.name, pod=name):
                    spec = template["spec"]
                    self.assertTrue(spec["securityContext"]["runAsNonRoot"])
                    self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                    self.assertFalse(spec["enableServiceLinks"])
                    for container in spec["containers"]:
                        context = container["securityContext"]
                        self.assertFalse(context["allowPrivilegeEscalation"])
                        self.assertTrue(context["readOnlyRootFilesystem"])
                        self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                        self.assertIn("memory", container["resources"]["limits"])
                        self.assertIn("cpu", container["resources"]["requests"])

    def test_they_never_get_a_sidecar(self):
        for values in VALUES:
            for name, template in pod_templates(objects(values)):
                self.assertEqual(template["metadata"]["labels"]["flipt.io/inject"], "false", name)

    def test_only_who_needs_a_token_of_the_cluster_has_one(self):
        given = "server.database.existingSecret.name=d,server.migrations=job"
        tokens = {name: template["spec"]["automountServiceAccountToken"] for name, template in pod_templates(objects("--set", given))}
        self.assertEqual(
            tokens,
            {"flipt-operator": True, "flipt-server": True, "flipt-uninstall": True, "flipt-migration": False},
        )  # fmt: skip


class Roles(unittest.TestCase):
    def files(self, scope):
        text = (CHART / "files" / "rbac" / f"{scope}.yaml").read_text()
        return yaml.safe_load(text.replace("@WEBHOOK@", "flipt-injector").replace("@SERVICE_ACCOUNT@", "flipt-operator"))

    def test_they_hold_what_the_table_of_the_operator_says(self):
        rendered = objects()
        everywhere = find(rendered, "ClusterRole", "flipt-operator")["rules"]
        self.assertEqual(everywhere, self.files("cluster") + self.files("watched"))
        self.assertEqual(find(rendered, "Role", "flipt-operator")["rules"], self.files("own"))
        self.assertEqual(find(rendered, "ClusterRole", "flipt-uninstall")["rules"], self.files("uninstall"))
        self.assertEqual(find(rendered, "Role", "flipt-uninstall")["rules"], self.files("uninstall-own"))
        evicting = find(objects("--set", "operator.evictMissed=true"), "ClusterRole", "flipt-operator")["rules"]
        self.assertEqual(evicting, everywhere + self.files("evict"))

    def test_with_watched_namespaces_the_others_are_out_of_reach(self):
        rendered = objects("--set", "operator.watchNamespaces={shop,pay}")
        self.assertEqual(find(rendered, "ClusterRole", "flipt-operator")["rules"], self.files("cluster"))
        roles = [item for item in rendered if item["kind"] == "Role" and item["metadata"]["name"] == "flipt-operator-watched"]
        self.assertEqual(sorted(role["metadata"]["namespace"] for role in roles), [NAMESPACE, "pay", "shop"])
        for role in roles:
            self.assertEqual(role["rules"], self.files("watched"))

    def test_nothing_is_granted_wholesale(self):
        for values in VALUES:
            for item in objects(values):
                if item["kind"] in ("Role", "ClusterRole"):
                    for rule in item["rules"]:
                        everything = rule.get("apiGroups", []) + rule.get("resources", []) + rule["verbs"]
                        self.assertNotIn("*", everything, item["metadata"]["name"])

    def test_the_server_has_no_role(self):
        for item in objects():
            for subject in item.get("subjects", []):
                self.assertIn(subject["name"], ("flipt-operator", "flipt-uninstall"))
