"""PyPI openfeature-provider-ofrep: OpenFeature over OFREP, one request per evaluation."""

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

from questions import BOOLEAN, FALLBACK, TOKEN, UNKNOWN, URL, VARIANT, tell


def context_of(question):
    _, entity, context = question
    return EvaluationContext(targeting_key=entity, attributes=dict(context))


def details_of(details):
    return {
        "value": details.value,
        "variant": details.variant,
        "reason": details.reason,
        "metadata": dict(details.flag_metadata),
        "errorCode": details.error_code,
        "errorMessage": details.error_message,
    }


headers = {} if TOKEN is None else {"Authorization": f"Bearer {TOKEN}"}
api.set_provider(OFREPProvider(URL, headers_factory=lambda: headers))
client = api.get_client()


def text(question):
    return details_of(client.get_string_details(question[0], "fallback", context_of(question)))


tell(
    {
        "variant": text(VARIANT),
        "default": text(FALLBACK),
        "boolean": details_of(client.get_boolean_details(BOOLEAN[0], False, context_of(BOOLEAN))),
        "unknown": text(UNKNOWN),
    }
)
api.shutdown()
