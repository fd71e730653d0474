"""What the API server of a real cluster says about everything that the chart renders."""

import copy
import time
import unittest

import yaml
from chart import CHART, FOREIGN, NAMESPACE, VALUES, Refused, bootstrap, command, find, objects, pod_templates

# A namespace of this test, which holds its pods to the restricted standard, and those that values name.
PLACES = [NAMESPACE, "shop", "pay"]


def kubectl(*arguments, objects=None):
    return command("kubectl", *arguments, stdin=yaml.safe_dump_all(objects) if objects is not None else None)


def accepted(objects):
    """Has the API server judge, and change nothing."""
    return kubectl(
        "apply", "--server-side", "--force-conflicts", "--field-manager=chart-test", "--dry-run=server",
        "--validate=strict", "--filename", "-", objects=objects,
    )  # fmt: skip


class InCluster(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        definitions = ["--filename", str(CHART / "files" / "crds")]
        # Whatever is there is somebody's, and would be deleted with its definition.
        assert not kubectl("get", "--ignore-not-found", "--output=name", *definitions), "this cluster is in use"
        for name in PLACES:
            kubectl("create", "namespace", name)
        cls.addClassCleanup(kubectl, "delete", "namespace", "--ignore-not-found", *PLACES)
        kubectl("label", "namespace", *PLACES, "pod-security.kubernetes.io/enforce=restricted")
        cls.addClassCleanup(kubectl, "delete", "--ignore-not-found", *definitions)
        kubectl("apply", "--server-side", *definitions)
        kubectl("wait", "--for=condition=Established", "--timeout=60s", *definitions)

    def test_it_accepts_every_object(self):
        for values in VALUES:
            rendered = [item for item in objects(values) if not item["apiVersion"].startswith(FOREIGN)]
            for item in rendered:
                item["metadata"].setdefault("namespace", NAMESPACE)
            with self.subTest(values.name):
                accepted(rendered)

    def test_it_accepts_the_custom_resources_that_the_operator_applies(self):
        for values in VALUES:
            resources = bootstrap(objects(values, "--set", "nameOverride=,fullnameOverride="))
            if resources:
                with self.subTest(values.name):
                    accepted(resources)

    def test_the_restricted_standard_admits_every_pod(self):
        for values in VALUES:
            if values.stem == "host-network":
                continue
            for name, template in pod_templates(objects(values)):
                with self.subTest(values=values.name, pod=name):
                    accepted([self.pod(name, template)])

    def test_the_restricted_standard_refuses_the_network_of_the_node(self):
        values = next(path for path in VALUES if path.stem == "host-network")
        for name, template in pod_templates(objects(values)):
            if name == "flipt-operator":
                with self.assertRaisesRegex(Refused, "violates PodSecurity"):
                    accepted([self.pod(name, template)])

    def pod(self, name, template):
        pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}
        pod["metadata"].update(name=name, namespace=NAMESPACE)
        pod["spec"]["serviceAccountName"] = "default"
        return pod

    def test_only_the_operator_writes_a_status_if_the_policy_says_so(self):
        policies = [
            item
            for item in objects("--set", "admissionPolicy.enabled=true")
            if item["kind"].startswith("ValidatingAdmissionPolicy")
        ]
        kubectl("apply", "--server-side", "--filename", "-", objects=policies)
        self.addCleanup(kubectl, "delete", "--filename", "-", objects=policies)
        server = find(bootstrap(objects()), "FliptServer")
        kubectl("apply", "--server-side", "--filename", "-", objects=[server])
        self.addCleanup(kubectl, "delete", "--filename", "-", objects=[server])
        patch = ["patch", "fliptserver", "main", "--namespace", NAMESPACE, "--subresource=status", "--type=merge"]
        patch += ["--patch", '{"status":{"version":"1"}}']
        pod = {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "on-the-node", "namespace": "default", "labels": {"flipt.io/inject": "true"}},
            "spec": {"hostNetwork": True, "containers": [{"name": "app", "image": "app"}]},
        }  # fmt: skip
        # A policy takes effect some moments after it was created.
        until_refused("nobody else writes it", lambda: kubectl(*patch))
        until_refused("gets no sidecar", lambda: accepted([pod]))
        operator = f"--as=system:serviceaccount:{NAMESPACE}:flipt-operator"
        rules = [item for item in objects() if item["kind"] in ("ClusterRole", "ClusterRoleBinding")]
        rules = [item for item in rules if item["metadata"]["name"] == "flipt-operator"]
        kubectl("apply", "--server-side", "--filename", "-", objects=rules)
        self.addCleanup(kubectl, "delete", "--filename", "-", objects=rules)
        # So does a role.
        until_accepted(lambda: kubectl(*patch, operator))

    def test_a_release_is_installed_upgraded_and_removed(self):
        values = next(path for path in VALUES if path.stem == "ephemeral")
        given = ["flipt", str(CHART), "--namespace", NAMESPACE, "--values", str(values)]
        # The definitions are there already, and become part of the release.
        command("helm", "install", *given, "--take-ownership")
        self.addCleanup(kubectl, "delete", "mutatingwebhookconfiguration", "flipt-injector", "--ignore-not-found")
        kubectl(
            "apply", "--server-side", "--force-conflicts", "--field-manager=flipt-operator", "--filename", "-",
            objects=[self.authorities()],
        )  # fmt: skip

        command("helm", "upgrade", *given, "--set", "webhook.timeoutSeconds=6")
        self.assertEqual(self.of_the_webhook("timeoutSeconds"), ["6", "6"])
        self.assertEqual(self.of_the_webhook("clientConfig.caBundle"), [CA, CA], "the operator owns its authorities")

        command("helm", "uninstall", "flipt", "--namespace", NAMESPACE)
        kubectl("get", "customresourcedefinition", "fliptflags.flipt.io")
        left = kubectl(
            "get", "mutatingwebhookconfiguration,clusterrole,deployment,service,configmap,serviceaccount,role,pdb",
            "--namespace", NAMESPACE, "--selector", "app.kubernetes.io/instance=flipt", "--output=name",
        )  # fmt: skip
        self.assertEqual(left, "")

    def test_the_notes_say_what_was_installed_and_warn(self):
        def notes(*given):
            rendered = command("helm", "install", "notes", str(CHART), "--namespace", NAMESPACE, "--dry-run=server", "--take-ownership", *given)
            return rendered.split("NOTES:")[1]

        self.assertIn("create token notes-flipt-admin --audience flipt-server", notes())
        self.assertIn("http://notes-flipt-server.flipt-system.svc:8080", notes())
        for given, warning in [
            ("server.persistence.enabled=false", "every restart of the server loses all flags"),
            ("server.authentication.required=false", "Whoever reaches the server may change flags"),
            ("server.authentication.token.enabled=true", "written to the server's log"),
            ("server.database.existingSecret.name=database", "One pod serves the database"),
            ("operator.replicas=1", "pods that start while it restarts get no sidecar"),
            ("snapshots.bucket=flags", "Nothing publishes to the bucket"),
            ("uninstall.enabled=false", "before you remove the release"),
        ]:
            with self.subTest(given):
                self.assertIn(warning, notes("--set", given))
                self.assertNotIn(warning, notes())

    def authorities(self):
        """What the operator writes into its webhook."""
        webhook = find(objects(), "MutatingWebhookConfiguration")
        for entry in (hooks := copy.deepcopy(webhook["webhooks"])):
            for field in set(entry) - {"name", "admissionReviewVersions", "sideEffects"}:
                del entry[field]
            entry["clientConfig"] = {"caBundle": CA}
        return {**webhook, "metadata": {"name": "flipt-injector"}, "webhooks": hooks}

    def of_the_webhook(self, field):
        path = f"--output=jsonpath={{.webhooks[*].{field}}}"
        return kubectl("get", "mutatingwebhookconfiguration", "flipt-injector", path).split()


# A certificate in base64 that the API server takes for one.
CA = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJkVENDQVJ1Z0F3SUJBZ0lVWU1DTE55M1Vqb3B6UHVjQ3c2ZGpQY1pjRjRBd0NnWUlLb1pJemowRUF3SXcKRHpFTk1Bc0dBMVVFQXd3RWRHVnpkREFnRncweU5qRXhNamt4TkRVd01EZGFHQTh5TVRJMk1URXdOVEUwTlRBdwpOMW93RHpFTk1Bc0dBMVVFQXd3RWRHVnpkREJaTUJNR0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSEEwSUFCRjZsCkdiblBnQ0RxMldYMlluNTNESTYwS01VVWNJK0U5bzlncGx0WCtkdXVIL0lHYUVpZm96ZjhjYWtBS0hKZ2RzbXEKTkFDeXc0SFAzKzRPVHhSczVndWpVekJSTUIwR0ExVWREZ1FXQkJTNzVEWmI3MzBETlIxVzZmTmlmbDZQSHh5Swp1akFmQmdOVkhTTUVHREFXZ0JTNzVEWmI3MzBETlIxVzZmTmlmbDZQSHh5S3VqQVBCZ05WSFJNQkFmOEVCVEFECkFRSC9NQW9HQ0NxR1NNNDlCQU1DQTBnQU1FVUNJRGVGY1g2T0IzL1djL0t5L3NoUFNObmJPcGpjRzRYdFBaRXQKZkNXVHdEckpBaUVBbi9NdFMxckxNL2VBZHhmUWEzYTdVam9CdkZ5SzBlVXlXcG1mOEtRYjROMD0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="


def until_accepted(call):
    for _ in range(100):
        try:
            return call()
        except Refused as refused:
            last = refused
        time.sleep(0.2)
    raise last


def until_refused(message, call):
    for _ in range(100):
        try:
            call()
        except Refused as refused:
            if message in str(refused):
                return
            raise
        time.sleep(0.2)
    raise AssertionError(f"not refused: {message}")
