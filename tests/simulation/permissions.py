"""What IAM would say about each request of the functions: who needs which permission for what."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tests.support.resolved import ACCOUNT, REGION

HERE = f"{REGION}:{ACCOUNT}"
QUEUES = {"https://queue": "retryqueue", "https://dead": "deadletterqueue"}
S3 = {
    "head_object": "GetObject",
    "get_object": "GetObject",
    "get_object_tagging": "GetObjectTagging",
    "put_object": "PutObject",
    "delete_object": "DeleteObject",
}
TRANSACTED = {"Put": "PutItem", "Update": "UpdateItem", "ConditionCheck": "ConditionCheckItem"}
KNOWN_CONDITIONS = ("StringLikeIfExists", "ForAllValues:StringEquals")


@dataclass(frozen=True)
class Need:
    """A permission that a request needs. `context`: the condition keys of the request."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


def needs(service: str, operation: str, given: Mapping[str, Any], missing: bool) -> Iterator[Need]:
    """Yield what a request needs. `missing`: whether S3 answered that there is no such object."""
    match service:
        case "s3":
            yield from _s3(operation, given, missing)
        case "dynamodb":
            for action in sorted(_dynamodb(operation, given)):
                yield Need(f"dynamodb:{action}", f"arn:aws:dynamodb:{HERE}:table/statetable")
        case "sqs":
            queue = f"arn:aws:sqs:{HERE}:{QUEUES[given['QueueUrl']]}"
            yield Need(f"sqs:{_camel(operation.removesuffix('_batch'))}", queue)
        case "events":
            bus = f"arn:aws:events:{HERE}:event-bus/default"
            for source in sorted({each["Source"] for each in given["Entries"]}):
                yield Need("events:PutEvents", bus, (("events:source", source),))
        case "ssm":
            yield Need(f"ssm:{_camel(operation)}", f"arn:aws:ssm:{HERE}:parameter{given['Name']}")
        case "lambda" if operation == "get_account_settings":
            yield Need("lambda:GetAccountSettings", "*")
        case "lambda":
            mapping = f"arn:aws:lambda:{HERE}:event-source-mapping:retryfunctionmessages"
            yield Need(f"lambda:{_camel(operation)}", mapping)


def allows(statement: Mapping[str, Any], need: Need) -> bool:
    """Return whether a statement allows what is needed; each of ours allows and denies nothing."""
    assert statement["Effect"] == "Allow"
    return (
        any(fnmatchcase(need.action, each) for each in listed(statement["Action"]))
        and any(fnmatchcase(need.resource, each) for each in listed(statement["Resource"]))
        and _conditions_hold(statement.get("Condition", {}), dict(need.context))
    )


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _conditions_hold(conditions: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    assert set(conditions) <= set(KNOWN_CONDITIONS)
    return all(  # either operator holds if the request has no such key
        key not in context or any(fnmatchcase(context[key], each) for each in listed(values))
        for operator in conditions.values()
        for key, values in operator.items()
    )


def _s3(operation: str, given: Mapping[str, Any], missing: bool) -> Iterator[Need]:
    bucket = f"arn:aws:s3:::{given['Bucket']}"
    if operation == "list_objects_v2":
        yield Need("s3:ListBucket", bucket, (("s3:prefix", given["Prefix"]),))
        return
    yield Need(f"s3:{S3[operation]}", f"{bucket}/{given['Key']}")
    if missing:  # without ListBucket it would be 403
        yield Need("s3:ListBucket", bucket)


def _dynamodb(operation: str, given: Mapping[str, Any]) -> set[str]:
    if operation == "transact_write_items":
        return {TRANSACTED[kind] for item in given["TransactItems"] for kind in item}
    return {_camel(operation)}


def _camel(operation: str) -> str:
    return "".join(word.capitalize() for word in operation.split("_"))
