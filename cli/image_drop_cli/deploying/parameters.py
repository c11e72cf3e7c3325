"""The template's parameters: what was given, what an earlier deployment said, what to ask."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from image_drop_cli.aws import DeploymentError
from image_drop_cli.deploying import template

# 63 characters of a bucket's name - 8 of "-output-" - 12 of the account - 1 - 14 of the longest
# region's name.
STACK_NAME = re.compile(r"[a-z][a-z0-9-]{0,26}[a-z0-9]|[a-z]")


@dataclass(frozen=True)
class Question:
    """A parameter that the first deployment asks for."""

    parameter: str
    text: str


QUESTIONS = (
    Question("ExistingInputBucket", "Bucket of yours to take images from (empty: a new one)"),
    Question("AlarmEmail", "E-mail address for alarms (empty: no e-mails)"),
    Question("DailySpendLimitUSD", "The most that calls may cost in a day, in US dollars"),
)


@dataclass(frozen=True)
class Parameters:
    """The parameters of a deployment. `given` counts before `previous`, then the defaults."""

    defaults: Mapping[str, str]
    previous: Mapping[str, str]
    given: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        """Return the value with which the stack is deployed."""
        return self.given.get(name, self.previous.get(name, self.defaults[name]))

    def questions(self) -> list[Question]:
        """Return what only a person knows, and has not said yet."""
        return [] if self.previous else [q for q in QUESTIONS if q.parameter not in self.given]

    def also(self, answers: Mapping[str, str]) -> "Parameters":
        """Return the parameters with a person's answers."""
        return Parameters(self.defaults, self.previous, {**answers, **self.given})

    def to_send(self) -> list[dict[str, object]]:
        """Return them as CreateChangeSet wants them. New parameters get their defaults."""
        sent: list[dict[str, object]] = []
        for name in self.defaults:
            if name in self.given:
                sent.append({"ParameterKey": name, "ParameterValue": self.given[name]})
            elif name in self.previous:
                sent.append({"ParameterKey": name, "UsePreviousValue": True})
        return sent


def parse(text: str, previous: Mapping[str, str], given: Iterable[str]) -> Parameters:
    """Return the parameters of the template `text`. `given`: as typed, such as `MaxEditUSD=2`.

    Raise `DeploymentError` about a name that the template does not have.
    """
    defaults = template.defaults(text)
    values = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise DeploymentError(f"--parameter {each} has no value. Write it as NAME=VALUE.")
        if name not in defaults:
            near = get_close_matches(name, defaults, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(defaults)}."
            raise DeploymentError(f"There is no parameter {name}. {hint}")
        values[name] = value
    return Parameters(defaults, previous, values)


def check_stack_name(name: str) -> None:
    """Raise `DeploymentError` if the buckets of a stack could not be named after it."""
    if not STACK_NAME.fullmatch(name):
        raise DeploymentError(
            f"A stack cannot be called {name!r}, because its buckets are named after it. Choose "
            "a name of lower-case letters, digits and hyphens with --stack, at most 28 characters."
        )


def problem(text: str, parameter: str, value: str) -> str | None:
    """Return what is wrong with a value by the pattern in the template, or None."""
    block = template.blocks(text, "Parameters")[parameter]
    pattern = re.search(r'^    AllowedPattern: +"?(.*?)"?(?: #.*)?$', block, re.MULTILINE)
    rule = re.search(r"^    ConstraintDescription: +(.*)$", block, re.MULTILINE)
    if pattern and rule and not re.fullmatch(pattern[1], value):
        return f"It {rule[1]}."
    return None
