"""What a drop costs on AWS, as the virtual run metered it. US dollars, us-east-1."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.simulation.metered import Meter

VENICE_EDIT = 0.04  # firered-image-edit, Venice's default
VENICE_REMOVAL = 0.03
PHOTO_GIGABYTES = 0.002  # sent to Venice for each image
EGRESS = 0.09  # a gigabyte from Lambda to the internet; the first 100 a month are free


@dataclass(frozen=True)
class Price:
    """The price of `amount` units that the meter counts as `kind`, in US dollars."""

    kind: str
    title: str
    dollars: float
    amount: float


PRICES = (
    Price("Lambda GB-second", "Lambda, arm64, GB-seconds", 0.0000133334, 1),
    Price("Lambda request", "Lambda, requests", 0.20, 1e6),
    Price("S3 PUT", "S3, PUT (the upload and the result)", 0.005, 1e3),
    Price("S3 GET", "S3, GET and HEAD", 0.0004, 1e3),
    Price("DynamoDB write unit", "DynamoDB, write units", 0.625, 1e6),
    Price("DynamoDB read unit", "DynamoDB, read units", 0.125, 1e6),
    Price("SQS request", "SQS, requests", 0.40, 1e6),
    Price("event", "EventBridge, events", 1.00, 1e6),
    Price("log byte", "CloudWatch Logs, bytes", 0.50, 1e9),
)


@dataclass(frozen=True)
class Line:
    """One line of the bill, for 1,000 images."""

    title: str
    units: float
    price: str
    dollars: float


def bill(meter: Meter | Mapping[str, float], images: int) -> list[Line]:
    """Return the cost of 1,000 of these images, without the data sent to Venice."""
    lines = []
    for price in PRICES:
        units = meter.get(price.kind, 0) * 1000 / images
        per = "each" if price.amount == 1 else f"a {_NAMES[price.amount]}"
        dollars = units * price.dollars / price.amount
        lines.append(Line(price.title, units, f"${price.dollars:g} {per}", dollars))
    return lines


def floor(edit: float) -> float:
    """Return the cost of 1,000 images if Lambda ran only while Venice edits, `edit` seconds."""
    return 1000 * edit * PRICES[0].dollars


def total(lines: list[Line]) -> float:
    """Return the sum of a bill."""
    return sum(line.dollars for line in lines)


_NAMES = {1e3: "thousand", 1e6: "million", 1e9: "billion"}
