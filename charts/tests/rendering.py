"""What is rendered is what the values say, and the same every time."""

import subprocess
import unittest

import yaml
from chart import CHART, NAMESPACE, VALUES, bootstrap, command, environment, find, kinds, objects, pod_templates, text, text_anew


class Rendering(unittest.TestCase):
    def test_helm_finds_nothing_to_complain_about(self):
        for values in [None, *VALUES]:
            with self.subTest(values and values.name):
                given = ["--values", str(values)] if values else []
                command("helm", "lint", "--strict", "--kube-version", "1.34.0", str(CHART), *given)

    def test_twice_is_the_same(self):
        for values in VALUES:
            with self.subTest(values.name):
                self.assertEqual(text(values), text_anew(values))

    def test_every_object_has_its_place_and_its_labels(self):
        cluster = {
            "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
        }  # fmt: skip
        for values in VALUES:
            rendered = objects(values)
            names = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in rendered]
            self.assertEqual(len(names), len(set(names)), names)
            for item in rendered:
                metadata = item["metadata"]
                with self.subTest(values=values.name, kind=item["kind"], name=metadata["name"]):
                    if metadata["name"] in ("mine", "flipt-text"):
                        continue
                    self.assertEqual("namespace" in metadata, item["kind"] not in cluster)
                    self.assertEqual(metadata["labels"]["app.kubernetes.io/instance"], "flipt")
                    self.assertEqual(metadata["labels"].get("team"), "platform" if values.stem == "everything" else None)

    def test_selectors_find_the_pods(self):
        for values in VALUES:
            rendered = objects(values)
            pods = [template["metadata"]["labels"] for _, template in pod_templates(rendered)]
            for item in rendered:
                selector = item.get("spec", {}).get("selector", {})
                if item["kind"] in ("Deployment", "PodDisruptionBudget"):
                    selector = selector["matchLabels"]
                elif item["kind"] != "Service":
                    continue
                with self.subTest(values=values.name, kind=item["kind"], name=item["metadata"]["name"]):
                    self.assertEqual(sum(selector.items() <= labels.items() for labels in pods), 1)

    def test_neither_keys_nor_tokens_are_made(self):
        for values in VALUES:
            rendered = objects(values)
            self.assertNotIn("Secret", kinds(rendered))
            self.assertNotIn("PRIVATE KEY", text(values))

    def test_long_names_stay_within_the_limit(self):
        for item in objects("--set", "server.ingress.enabled=false", release="a" * 53):
            self.assertLessEqual(len(item["metadata"]["name"]), 63)

    def test_images_of_a_private_registry_are_pulled_by_exports_too(self):
        given = "imagePullSecrets[0].name=registry,export.enabled=true,export.spec.job.backoffLimit=5,snapshots.bucket=flags"
        export = find(bootstrap(objects("--set", given)), "FliptSnapshotExport")
        self.assertEqual(export["spec"]["job"], {"imagePullSecrets": [{"name": "registry"}], "backoffLimit": 5})

    def test_tokens_of_the_operator_stay_with_servers_of_the_release_unless_others_are_named(self):
        for given, expected in ((), None), (("--set", "operator.tokenNamespaces={shop,pay}"), "shop,pay"):
            operator = find(objects(*given), "Deployment", "flipt-operator")["spec"]["template"]
            self.assertEqual(environment(operator).get("FLIPT_OPERATOR_TOKEN_NAMESPACES"), expected)

    def test_the_definitions_are_those_of_the_crate_and_stay(self):
        rendered = [item for item in objects() if item["kind"] == "CustomResourceDefinition"]
        folder = CHART.parent.parent / "crds" / "generated"
        generated = [yaml.safe_load(path.read_text()) for path in folder.glob("*.yaml")]
        self.assertEqual(len(rendered), 7)
        for item in generated:
            found = find(rendered, "CustomResourceDefinition", item["metadata"]["name"])
            self.assertEqual(found["spec"], item["spec"], "run `make crds`")
            self.assertEqual(found["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")
        self.assertNotIn("CustomResourceDefinition", kinds(objects("--set", "crds.install=false")))

    def test_the_readme_and_the_schema_are_those_of_the_values(self):
        subprocess.run([CHART.parent / "docs", "--check"], check=True)

    def test_an_old_kubernetes_gets_no_action_that_it_does_not_know(self):
        old = find(objects(kubernetes="1.29.3"), "Deployment", "flipt-operator")
        self.assertNotIn("lifecycle", old["spec"]["template"]["spec"]["containers"][0])
        new = find(objects(kubernetes="1.33.1"), "Deployment", "flipt-operator")
        lifecycle = new["spec"]["template"]["spec"]["containers"][0]["lifecycle"]
        self.assertEqual(lifecycle, {"preStop": {"sleep": {"seconds": 10}}})


class Webhook(unittest.TestCase):
    def entries(self, *arguments):
        return find(objects(*arguments), "MutatingWebhookConfiguration", "flipt-injector")["webhooks"]

    def test_only_pods_that_ask_are_sent(self):
        labelled, namespace = self.entries()
        self.assertEqual(labelled["objectSelector"]["matchExpressions"][0]["values"], ["true"])
        self.assertEqual(namespace["namespaceSelector"]["matchExpressions"][-1]["operator"], "In")
        for entry in (labelled, namespace):
            excluded = entry["namespaceSelector"]["matchExpressions"][0]
            self.assertEqual(excluded["operator"], "NotIn")
            self.assertEqual(excluded["values"], [NAMESPACE, "kube-node-lease", "kube-system"])
            self.assertEqual(entry["rules"][0]["operations"], ["CREATE"])
            self.assertEqual(
                (entry["failurePolicy"], entry["reinvocationPolicy"], entry["timeoutSeconds"], entry["sideEffects"]),
                ("Ignore", "IfNeeded", 5, "None"),
            )

    def test_its_authorities_are_left_to_who_writes_them(self):
        for mode in ("self", "certManager"):
            for entry in self.entries("--set", f"webhook.certificates.mode={mode}"):
                self.assertNotIn("caBundle", entry["clientConfig"])

    def test_cert_manager_is_told_where_to_write(self):
        rendered = objects("--set", "webhook.certificates.mode=certManager")
        certificate = find(rendered, "Certificate", "flipt-webhook")
        configuration = find(rendered, "MutatingWebhookConfiguration")
        self.assertEqual(
            configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"], f"{NAMESPACE}/flipt-webhook"
        )
        self.assertIn(f"flipt-webhook.{NAMESPACE}.svc", certificate["spec"]["dnsNames"])
        operator = find(rendered, "Deployment", "flipt-operator")["spec"]["template"]
        self.assertEqual(environment(operator)["FLIPT_OPERATOR_CERTIFICATE_SECRET"], certificate["spec"]["secretName"])
        self.assertEqual(environment(operator)["FLIPT_OPERATOR_CERTIFICATES"], "cert-manager")

    def test_the_webhook_says_who_makes_its_certificate(self):
        for given, mode in ((), "self"), (("--set", "webhook.certificates.mode=certManager"), "cert-manager"):
            rendered = objects(*given)
            configuration = find(rendered, "MutatingWebhookConfiguration", "flipt-injector")
            self.assertEqual(configuration["metadata"]["annotations"]["flipt.io/certificates"], mode)
            container = find(rendered, "Deployment", "flipt-operator")["spec"]["template"]["spec"]["containers"][0]
            setting = next(item for item in container["env"] if item["name"] == "FLIPT_OPERATOR_CERTIFICATES")
            self.assertEqual(setting["value"], mode)

    def test_watched_namespaces_alone_are_sent(self):
        for entry in self.entries("--set", "operator.watchNamespaces={shop,pay}"):
            within = entry["namespaceSelector"]["matchExpressions"][1]
            self.assertEqual((within["operator"], within["values"]), ("In", ["shop", "pay"]))


class Server(unittest.TestCase):
    def config(self, *arguments):
        return yaml.safe_load(find(objects(*arguments), "ConfigMap", "flipt-server")["data"]["default.yml"])

    def allowed(self, *arguments):
        entries = self.config(*arguments)["authentication"]["methods"]["kubernetes"]["allow"]
        return ["{namespace}/{service_account}={permission}".format(**entry) for entry in entries]

    def test_callers_need_credentials_and_only_the_operator_and_people_have_them(self):
        authentication = self.config()["authentication"]
        self.assertTrue(authentication["required"])
        self.assertEqual(list(authentication["methods"]), ["kubernetes"])
        self.assertEqual(self.allowed(), [f"{NAMESPACE}/flipt-operator=write", f"{NAMESPACE}/flipt-admin=write"])

    def test_the_export_may_read_and_sidecars_that_ask_the_server_may_evaluate(self):
        given = "snapshots.bucket=flags,export.enabled=true,profile.enabled=true"
        self.assertEqual(self.allowed("--set", given)[2:], [f"{NAMESPACE}/flipt-export=read"])
        given += ",profile.server=true"
        self.assertEqual(self.allowed("--set", given)[3:], ["*/*=evaluate"])
        given += ",operator.watchNamespaces={shop}"
        self.assertEqual(self.allowed("--set", given)[3:], ["shop/*=evaluate"])

    def test_configuration_of_people_goes_before_that_of_the_chart(self):
        config = self.config("--set", "server.config.server.shutdown_delay=1s,server.config.log.level=DEBUG")
        self.assertEqual(config["server"], {"shutdown_delay": "1s"})
        self.assertEqual(config["log"], {"level": "DEBUG", "encoding": "json"})

    def test_new_configuration_is_a_new_pod(self):
        pods = [
            find(objects("--set", f"server.drainSeconds={seconds}"), "Deployment", "flipt-server")["spec"]["template"]
            for seconds in (5, 6)
        ]
        self.assertNotEqual(*(pod["metadata"]["annotations"]["checksum/config"] for pod in pods))

    def test_sqlite_has_one_pod_and_a_volume_that_stays(self):
        rendered = objects()
        deployment = find(rendered, "Deployment", "flipt-server")["spec"]
        self.assertEqual((deployment["replicas"], deployment["strategy"]), (1, {"type": "Recreate"}))
        claim = find(rendered, "PersistentVolumeClaim", "flipt-server")
        self.assertEqual(claim["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")
        self.assertNotIn("PersistentVolumeClaim", kinds(objects("--set", "server.persistence.enabled=false")))

    def test_a_database_is_named_by_a_secret(self):
        given = "server.database.existingSecret.name=database,server.replicas=3,server.migrations=job"
        rendered = objects("--set", given)
        self.assertNotIn("PersistentVolumeClaim", kinds(rendered))
        for _, template in pod_templates([find(rendered, "Deployment", "flipt-server"), find(rendered, "Job", "flipt-migration")]):
            url = template["spec"]["containers"][0]["env"][0]
            self.assertEqual(url["name"], "FLIPT_DB_URL")
            self.assertEqual(url["valueFrom"], {"secretKeyRef": {"name": "database", "key": "url"}})
        self.assertNotIn("--force-migrate", find(rendered, "Deployment", "flipt-server")["spec"]["template"]["spec"]["containers"][0]["args"])

    def test_the_bucket_is_published_to_as_it_is_read(self):
        values = next(path for path in VALUES if path.stem == "everything")
        rendered = objects(values, "--set", "nameOverride=")
        url = yaml.safe_load(find(rendered, "ConfigMap", "flipt-server")["data"]["default.yml"])["snapshots"]["publish"]["url"]
        self.assertEqual(url, "s3://flags/prod?region=eu-west-1&endpoint=http://minio.minio.svc:9000&pathStyle=true")
        export = find(bootstrap(rendered), "FliptSnapshotExport")["spec"]
        self.assertEqual(
            export["s3"],
            {
                "bucket": "flags", "prefix": "prod", "region": "eu-west-1", "endpoint": "http://minio.minio.svc:9000",
                "forcePathStyle": True, "credentialsSecretRef": {"name": "s3"},
            },
        )  # fmt: skip
        self.assertEqual((export["schedule"], export["serverRef"]), ("*/5 * * * *", {"name": "main"}))


class Bootstrap(unittest.TestCase):
    def test_the_server_is_known_as_main(self):
        (server,) = bootstrap(objects())
        self.assertEqual((server["kind"], server["metadata"]), ("FliptServer", {"name": "main", "namespace": NAMESPACE}))
        self.assertEqual(
            server["spec"],
            {
                "external": {"url": f"http://flipt-server.{NAMESPACE}.svc:8080"},
                "auth": {"serviceAccountToken": {"audience": "flipt-server"}},
                "allowedNamespaces": [{"from": "Same"}],
            },
        )

    def test_a_profile_reads_the_export_first_and_the_server_last(self):
        given = "snapshots.bucket=flags,export.enabled=true,profile.enabled=true,profile.server=true"
        profile = find(bootstrap(objects("--set", given)), "ClusterFliptSidecarProfile", "default")
        self.assertEqual(
            profile["spec"]["source"],
            [
                {"exportRef": {"name": "main", "namespace": NAMESPACE}},
                {"server": {"url": f"http://flipt-server.{NAMESPACE}.svc:8080"}},
            ],
        )

    def test_without_custom_resources_there_is_an_empty_folder(self):
        self.assertFalse(find(objects("--set", "server.enabled=false"), "ConfigMap", "flipt-bootstrap")["data"])


class Removal(unittest.TestCase):
    def test_a_job_runs_before_and_what_it_needs_is_there_first(self):
        rendered = objects("--set", "uninstall.mode=purge")
        hooks = [item for item in rendered if item["metadata"].get("annotations", {}).get("helm.sh/hook") == "pre-delete"]
        weights = {item["kind"]: int(item["metadata"]["annotations"]["helm.sh/hook-weight"]) for item in hooks}
        self.assertEqual(set(weights), {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Job"})
        self.assertTrue(all(weights[kind] < weights["Job"] for kind in weights if kind != "Job"))
        job = find(hooks, "Job")["spec"]
        self.assertEqual(job["template"]["spec"]["containers"][0]["args"], ["uninstall", "--mode", "purge"])
        self.assertEqual(job["activeDeadlineSeconds"], 300)

    def test_nothing_else_is_a_hook_of_an_installation(self):
        for values in VALUES:
            hooks = [item["metadata"].get("annotations", {}).get("helm.sh/hook", "") for item in objects(values)]
            self.assertFalse([hook for hook in hooks if "install" in hook])
