"""Decides for every line of standard input, and prints a line for each, by Flipt's native engine (PyPI
flipt-client) on the server's snapshot.

A line is {"namespace", "flag", "type", "entity", "context"}, with `variant` or `boolean` as the type.
"""

import json
import os
import sys

from flipt_client import FliptClient
from flipt_client.models import ClientOptions

clients = {}


def decide(question):
    namespace = question["namespace"]
    if namespace not in clients:
        clients[namespace] = FliptClient(opts=ClientOptions(url=os.environ["FLIPT_URL"], namespace=namespace))
    asked = (question["flag"], question["entity"], question["context"])
    if question["type"] == "boolean":
        answer = clients[namespace].evaluate_boolean(*asked)
        return {"enabled": answer.enabled, "reason": answer.reason}
    answer = clients[namespace].evaluate_variant(*asked)
    return {
        "match": answer.match,
        "variant": answer.variant_key,
        "attachment": answer.variant_attachment or "",
        "reason": answer.reason,
    }


def attempt(question):
    try:
        return decide(question)
    except Exception as error:  # Any failure is an answer here.
        return {"error": str(error)}


print("\n".join(json.dumps(attempt(json.loads(line))) for line in sys.stdin))
