"""PyPI flipt: evaluation by the server, over HTTP."""

from flipt import FliptClient
from flipt.authentication import ClientTokenAuthentication
from flipt.evaluation import BatchEvaluationRequest, EvaluationRequest

from questions import BOOLEAN, FALLBACK, LISTS, TOKEN, UNKNOWN, URL, VARIANT, attempt, tell


def asked(question):
    flag, entity, context = question
    return EvaluationRequest(namespace_key="default", flag_key=flag, entity_id=entity, context=context)


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
    if entry.variant_response:
        return variant_of(entry.variant_response)
    if entry.boolean_response:
        return boolean_of(entry.boolean_response)
    return {"error": f"{entry.error_response.reason} {entry.error_response.flag_key}"}


authentication = ClientTokenAuthentication(TOKEN) if TOKEN is not None else None
client = FliptClient(url=URL, authentication=authentication)
evaluation = client.evaluation
answers = {}
if LISTS:
    answers["flags"] = attempt(lambda: [flag.key for flag in client.flag.list_flags("default").flags])
    answers["variants"] = attempt(lambda: [v.key for v in client.flag.get_flag("default", VARIANT[0]).variants])
    answers["unread"] = attempt(lambda: client.flag.get_flag("default", UNKNOWN[0]).key)
answers["variant"] = attempt(lambda: variant_of(evaluation.variant(asked(VARIANT))))
answers["default"] = attempt(lambda: variant_of(evaluation.variant(asked(FALLBACK))))
answers["boolean"] = attempt(lambda: boolean_of(evaluation.boolean(asked(BOOLEAN))))
batch = BatchEvaluationRequest(requests=[asked(BOOLEAN), asked(VARIANT), asked(UNKNOWN)])
answers["batch"] = attempt(lambda: [entry_of(entry) for entry in evaluation.batch(batch).responses])
answers["unknown"] = attempt(lambda: variant_of(evaluation.variant(asked(UNKNOWN))))
tell(answers)
client.close()
