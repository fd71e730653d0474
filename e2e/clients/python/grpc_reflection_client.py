"""A gRPC client that knows nothing of Flipt: what services and messages there are, it learns by reflection.

FLIPT_GRPC is the address to call, FLIPT_REFLECTION the one to learn from, which is the same unless that one
offers no reflection.
"""

import os

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from questions import BOOLEAN, FALLBACK, LISTS, TOKEN, UNKNOWN, VARIANT, tell

TIMEOUT = 30

address = os.environ["FLIPT_GRPC"]
channel = grpc.insecure_channel(address)
database = ProtoReflectionDescriptorDatabase(grpc.insecure_channel(os.environ.get("FLIPT_REFLECTION", address)))
pool = DescriptorPool(database)
metadata = [] if TOKEN is None else [("authorization", f"Bearer {TOKEN}")]


def call(service, method, message):
    described = pool.FindServiceByName(service).FindMethodByName(method)
    request = ParseDict(message, GetMessageClass(described.input_type)())
    unary = channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=lambda sent: sent.SerializeToString(),
        response_deserializer=GetMessageClass(described.output_type).FromString,
    )
    try:
        answer = unary(request, timeout=TIMEOUT, metadata=metadata)
    except grpc.RpcError as error:
        return {"error": f"{error.code().name}: {error.details()}"}
    return MessageToDict(answer, always_print_fields_with_no_presence=True)


def asked(question):
    flag, entity, context = question
    return {"namespaceKey": "default", "flagKey": flag, "entityId": entity, "context": context}


def decision_of(answer):
    shown = {"match": "match", "enabled": "enabled", "variantKey": "variant", "variantAttachment": "attachment"}
    shown |= {"reason": "reason", "error": "error"}
    told = {name: answer[key] for key, name in shown.items() if key in answer}
    if "match" in answer:
        told["segments"] = answer["segmentKeys"]
    return told


def entry_of(entry):
    if "errorResponse" in entry:
        return {"error": f"{entry['errorResponse']['reason']} {entry['errorResponse']['flagKey']}"}
    return decision_of(entry.get("variantResponse") or entry.get("booleanResponse"))


EVALUATION = "flipt.evaluation.EvaluationService"
answers = {"services": sorted(name for name in database.get_services() if name.startswith("flipt."))}
if LISTS:
    listed = call("flipt.Flipt", "ListFlags", {"namespaceKey": "default"})
    answers["flags"] = [flag["key"] for flag in listed["flags"]] if "flags" in listed else listed
    answers["unread"] = call("flipt.Flipt", "GetFlag", {"namespaceKey": "default", "key": UNKNOWN[0]})
answers["variant"] = decision_of(call(EVALUATION, "Variant", asked(VARIANT)))
answers["default"] = decision_of(call(EVALUATION, "Variant", asked(FALLBACK)))
answers["boolean"] = decision_of(call(EVALUATION, "Boolean", asked(BOOLEAN)))
batch = call(EVALUATION, "Batch", {"requests": [asked(BOOLEAN), asked(VARIANT), asked(UNKNOWN)]})
answers["batch"] = [entry_of(entry) for entry in batch["responses"]] if "responses" in batch else batch
answers["unknown"] = decision_of(call(EVALUATION, "Variant", asked(UNKNOWN)))
answers["ofrep"] = call("flipt.ofrep.OFREPService", "EvaluateFlag", {"key": BOOLEAN[0], "context": {"targetingKey": BOOLEAN[1]}})
tell(answers)
