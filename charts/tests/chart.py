"""Renders the chart as a person would, and reads what comes out."""

import functools
import subprocess
from pathlib import Path

import yaml

HERE = Path(__file__).parent
CHART = HERE.parent / "flipt"
# The values that are tried, beside those that the chart comes with.
VALUES = sorted((HERE / "values").glob("*.yaml"))
NAMESPACE = "flipt-system"
# Kinds of others. A cluster without them cannot judge what we write of them.
FOREIGN = ("monitoring.coreos.com", "cert-manager.io", "gateway.networking.k8s.io")
# Helm knows no cluster here.
KUBERNETES = "1.34.0"


class Refused(Exception):
    """Helm does not render these values; the text says why."""


def command(*arguments, stdin=None):
    """What a program writes; fails with what it complains about."""
    done = subprocess.run(arguments, input=stdin, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


@functools.lru_cache(maxsize=None)
def text(*arguments, release="flipt", kubernetes=KUBERNETES):
    """The rendered text. Arguments are those of Helm, or files of values."""
    return text_anew(*arguments, release=release, kubernetes=kubernetes)


def text_anew(*arguments, release="flipt", kubernetes=KUBERNETES):
    given = [part for value in arguments for part in (["--values", str(value)] if isinstance(value, Path) else [value])]
    return command(
        "helm", "template", release, str(CHART), "--namespace", NAMESPACE, "--kube-version", kubernetes, *given
    )


def objects(*arguments, **options):
    """The rendered objects."""
    return [document for document in yaml.safe_load_all(text(*arguments, **options)) if document]


def find(rendered, kind, name=None):
    """The one object of that kind and name."""
    found = [item for item in rendered if item["kind"] == kind and name in (None, item["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of {kind} {name}: {[item['metadata']['name'] for item in found]}"
    return found[0]


def kinds(rendered):
    return [item["kind"] for item in rendered]


def pod_templates(rendered):
    """Everything that becomes a pod: the object's name and the template."""
    for item in rendered:
        if item["kind"] in ("Deployment", "Job"):
            yield item["metadata"]["name"], item["spec"]["template"]


def bootstrap(rendered):
    """The custom resources that the operator applies."""
    data = find(rendered, "ConfigMap", "flipt-bootstrap")["data"]
    return [yaml.safe_load(document) for document in data.values()]


def environment(template):
    return {variable["name"]: variable.get("value") for variable in template["spec"]["containers"][0].get("env", [])}
