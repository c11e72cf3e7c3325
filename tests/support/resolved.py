"""A template as CloudFormation resolves it for some parameters: no functions are left in it."""

import re
from collections.abc import Mapping
from typing import Any

ACCOUNT, REGION = "123456789012", "eu-central-1"


class Resolved:
    """The resources that a deployment makes. `expanded`: the template after SAM's transform.

    A resource's name is its `BucketName` and the like, or else the template's own name in lower
    case. `partition`: `aws`, `aws-cn` or `aws-us-gov`.
    """

    def __init__(
        self, expanded: Mapping[str, Any], partition: str = "aws", **parameters: str
    ) -> None:
        self._template = expanded
        self._parameters = {
            name: str(each["Default"]) for name, each in expanded["Parameters"].items()
        } | parameters
        self._pseudo = {
            "AWS::StackName": "drop",
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": REGION,
            "AWS::Partition": partition,
        }
        self.resources: dict[str, Any] = {
            name: self.value(each.get("Properties", {}))
            for name, each in expanded["Resources"].items()
            if self._condition(each.get("Condition"))
        }

    def statements(self, role: str) -> list[dict[str, Any]]:
        """The statements of a role, and of the policies that it shares with others."""
        documents = [each["PolicyDocument"] for each in self.resources[role].get("Policies", ())]
        for policy in self.resources.values():
            attached = policy.get("Roles", ())
            shared = self.resources[role].get("ManagedPolicyArns", ())
            if self.name_of(role) in attached or self._is_shared(policy, shared):
                documents.append(policy["PolicyDocument"])
        return [statement for document in documents for statement in document["Statement"]]

    def name_of(self, resource: str) -> str:
        """What `Ref` gives for a resource."""
        properties = self._template["Resources"][resource].get("Properties", {})
        for named in ("BucketName", "LogGroupName"):
            if named in properties:
                return str(self.value(properties[named]))
        return resource.lower()

    def value(self, node: Any) -> Any:
        """Return a node without functions; what has no value is left out."""
        if isinstance(node, list):
            return [each for each in map(self.value, node) if each is not _NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(name, argument)] = node.items()
            if function := _FUNCTIONS.get(name):
                return function(self, argument)
        values = {key: self.value(each) for key, each in node.items()}
        return {key: each for key, each in values.items() if each is not _NOTHING}

    def _is_shared(self, policy: Mapping[str, Any], names: Any) -> bool:
        return any(self.resources.get(name) is policy for name in self._by_name(names))

    def _by_name(self, names: Any) -> list[str]:
        return [each for each in self.resources if self.name_of(each) in names]

    def _condition(self, name: str | None) -> bool:
        return name is None or bool(self.value(self._template["Conditions"][name]))

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        known = self._pseudo | self._parameters
        return known[name] if name in known else self.name_of(name)

    def _sub(self, argument: Any) -> str:
        text, given = argument if isinstance(argument, list) else (argument, {})
        known = {name: self.value(each) for name, each in given.items()}

        def filled(match: re.Match[str]) -> str:
            name = match[1]
            if name in known:
                return str(known[name])
            resource, dot, attribute = name.partition(".")
            return str(self._attribute([resource, attribute]) if dot else self._ref(name))

        return re.sub(r"\$\{([\w:.]+)\}", filled, text)

    def _attribute(self, argument: list[str]) -> str:
        resource, attribute = argument
        if attribute != "Arn":
            return f"{self.name_of(resource)}-{attribute.lower()}"
        kind = self._template["Resources"][resource]["Type"]
        here = f"{REGION}:{ACCOUNT}"
        form = {
            "AWS::S3::Bucket": "s3:::{name}",
            "AWS::SQS::Queue": f"sqs:{here}:{{name}}",
            "AWS::DynamoDB::Table": f"dynamodb:{here}:table/{{name}}",
            "AWS::Logs::LogGroup": f"logs:{here}:log-group:{{name}}:*",
            "AWS::Events::ApiDestination": f"events:{here}:api-destination/{{name}}/id",
        }.get(kind, f"other:{here}:{{name}}")
        partition = self._pseudo["AWS::Partition"]
        return f"arn:{partition}:{form.format(name=self.name_of(resource))}"

    def _if(self, argument: list[Any]) -> Any:
        condition, yes, no = argument
        return self.value(yes if self._condition(condition) else no)


_NOTHING = object()
_FUNCTIONS: dict[str, Any] = {
    "Ref": Resolved._ref,
    "Fn::Sub": Resolved._sub,
    "Fn::GetAtt": Resolved._attribute,
    "Fn::If": Resolved._if,
    "Condition": lambda self, name: (
        self._condition(name) if isinstance(name, str) else {"Condition": self.value(name)}
    ),
    "Fn::Equals": lambda self, pair: self.value(pair[0]) == self.value(pair[1]),
    "Fn::Not": lambda self, one: not self.value(one[0]),
    "Fn::And": lambda self, all_of: all(self.value(each) for each in all_of),
}
