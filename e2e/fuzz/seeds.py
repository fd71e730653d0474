"""Writes inputs for the fuzz targets to start from, made of the repository's own cases.

    python3 e2e/fuzz/seeds.py FOLDER

One folder per target; a file is named by its content, so that writing again changes nothing.
"""

import base64
import hashlib
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TYPES = [
    "UNKNOWN_COMPARISON_TYPE",
    "STRING_COMPARISON_TYPE",
    "NUMBER_COMPARISON_TYPE",
    "BOOLEAN_COMPARISON_TYPE",
    "DATETIME_COMPARISON_TYPE",
    "ENTITY_ID_COMPARISON_TYPE",
]
POINTER = (
    '{"kind":"flipt-snapshot","schemaVersion":1,"minReader":1,"epoch":"6f1c","revision":18231,'
    '"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",'
    '"path":"objects/sha256/e3/e3b0.json.gz","encoding":"gzip","size":18311,"rawSize":92311,'
    '"counts":{"namespaces":3,"flags":214,"segments":31},"createdAt":"2026-11-21T10:00:03Z",'
    '"verifiedAt":"2026-11-21T10:07:00Z","writer":"flipt 0.1.0","alternates":[],'
    '"sig":{"alg":"Ed25519","kid":"k1","value":"AA=="}}'
)


def write(folder, target, content):
    data = content if isinstance(content, bytes) else content.encode()
    place = folder / target
    place.mkdir(parents=True, exist_ok=True)
    (place / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def read(path):
    return json.loads((ROOT / path).read_text())


def texts(value):
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from texts(member)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def documents():
    for path in [*ROOT.glob("core/model/tests/data/documents/version*"), *ROOT.glob("e2e/data/*.yaml")]:
        yield path.read_bytes()
    for name in ("validate.json", "import-errors.json"):
        for text in texts(read(f"core/model/tests/data/documents/{name}")):
            if "\n" in text:
                yield text


def constraints():
    for name in ("validation", "values", "operators"):
        for case in read(f"core/model/tests/data/constraints/{name}.json"):
            request = case["request"]
            kind = request.get("type", 0)
            number = TYPES.index(kind) if kind in TYPES else kind
            fields = [request.get(field, "") for field in ("property", "operator", "value")]
            yield "\n".join([str(number), *map(str, fields), "entity-1", "2.5"])
    for case in read("core/evaluation/tests/data/constraints.json"):
        number = TYPES.index(case["type"])
        entity = number == 5
        tested = case.get("context") or ""
        fields = ["entityId" if entity else "x", case["operator"], case.get("value") or ""]
        yield "\n".join([str(number), *fields, tested if entity else "entity-1", "" if entity else tested])


def steps():
    """Method, path and body of every recorded request over HTTP."""
    for path in sorted(ROOT.glob("e2e/conformance/cases/*/*.json")):
        for step in json.loads(path.read_text())["steps"]:
            request = step.get("request") or {}
            if step.get("transport") == "http" and "path" in request:
                body = request.get("raw", request.get("body"))
                yield request["path"], body if isinstance(body, str) else json.dumps(body or {})


def tokens():
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
    claims = {
        "iss": "https://kubernetes.default.svc",
        "sub": "system:serviceaccount:shop:web",
        "aud": ["flipt"],
        "exp": 3600,
        "iat": 1,
        "nbf": 1,
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "web"}, "pod": {"name": "p", "uid": "u"}},
    }
    for algorithm in ("ES256", "RS256", "EdDSA", "none"):
        for key in ("k", "other"):
            yield f"{part({'alg': algorithm, 'kid': key})}.{part(claims)}.{base64.urlsafe_b64encode(bytes(64)).decode()}"
    yield '{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","alg":"RS256","kid":"r"},{"kty":"OKP","crv":"Ed25519","x":"AA","kid":"e"}]}'


def pods():
    container = {"name": "app", "env": [{"name": "FLIPT_URL", "value": "x"}], "ports": [{"containerPort": 18080}]}
    for annotations in (None, {"flipt.io/containers": "app", "flipt.io/http-port": "8080"}, {"flipt.io/auth-mode": "none"}):
        spec = {"serviceAccountName": "a", "containers": [container], "volumes": [{"name": "flipt-cache"}]}
        yield json.dumps({"metadata": {"labels": {}, "annotations": annotations}, "spec": spec})
        spec["initContainers"] = [{"name": "setup"}, {"name": "istio-proxy", "restartPolicy": "Always"}]
        yield json.dumps({"metadata": {"annotations": annotations}, "spec": spec})


def main(folder):
    for document in documents():
        write(folder, "documents", document)
        write(folder, "features", document)
    for constraint in constraints():
        write(folder, "constraints", constraint)
        for line in constraint.split("\n"):
            write(folder, "texts", line)
    for path, body in steps():
        plain, _, query = path.partition("?")
        if "evaluate" in plain or plain.startswith("/ofrep"):
            write(folder, "requests", f"{plain}\n{body}")
        else:
            write(folder, "bodies", body)
        if query:
            write(folder, "queries", query)
    for token in tokens():
        write(folder, "tokens", token)
    for pod in pods():
        write(folder, "pods", pod)
    write(folder, "pointers", POINTER)
    state = read("core/evaluation/tests/data/namespace.json")
    write(folder, "objects", json.dumps({"namespaces": [state]}))
    token = base64.b64encode(b'{"key":"a","offset":2}')
    write(folder, "page_tokens", (2).to_bytes(4, "little") + bytes(4) + token)


main(pathlib.Path(sys.argv[1]))
