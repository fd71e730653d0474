"""PyPI flipt-client: evaluation in the application, by a native engine on the server's snapshot."""

from datetime import timedelta

from flipt_client import FliptClient
from flipt_client.models import ClientOptions, ClientTokenAuthentication, EvaluationRequest

from questions import BOOLEAN, FALLBACK, TOKEN, UNKNOWN, URL, VARIANT, attempt, tell


def variant_of(answer):
    return {
        "match": answer.match,
        "variant": answer.variant_key,
        "attachment": answer.variant_attachment,
        "segments": answer.segment_keys,
        "reason": answer.reason,
    }


def boolean_of(answer):
    return {"enabled": answer.enabled, "reason": answer.reason}


def entry_of(entry):
    if entry.variant_evaluation_response:
        return variant_of(entry.variant_evaluation_response)
    if entry.boolean_evaluation_response:
        return boolean_of(entry.boolean_evaluation_response)
    return {"error": f"{entry.error_evaluation_response.reason} {entry.error_evaluation_response.flag_key}"}


def asked(question):
    flag, entity, context = question
    return EvaluationRequest(flag_key=flag, entity_id=entity, context=context)


client = FliptClient(
    opts=ClientOptions(
        url=URL,
        namespace="default",
        request_timeout=timedelta(seconds=30),
        authentication=ClientTokenAuthentication(client_token=TOKEN) if TOKEN is not None else None,
    )
)
tell(
    {
        "flags": attempt(lambda: sorted(flag.key for flag in client.list_flags())),
        "variant": attempt(lambda: variant_of(client.evaluate_variant(*VARIANT))),
        "default": attempt(lambda: variant_of(client.evaluate_variant(*FALLBACK))),
        "boolean": attempt(lambda: boolean_of(client.evaluate_boolean(*BOOLEAN))),
        "batch": attempt(
            lambda: [entry_of(entry) for entry in client.evaluate_batch([asked(BOOLEAN), asked(VARIANT), asked(UNKNOWN)]).responses]
        ),
        "unknown": attempt(lambda: variant_of(client.evaluate_variant(*UNKNOWN))),
    }
)
client.close()
