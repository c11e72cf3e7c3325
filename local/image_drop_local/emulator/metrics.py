"""Metrics that functions print in CloudWatch's embedded format; ministack only stores the lines.

It uses what is private to ministack, as `bursts` does. Only `stack` may import it.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from typing import Any

from ministack.services import cloudwatch, lambda_svc

_emit_logs = lambda_svc._emit_lambda_logs
_MARK = '"CloudWatchMetrics"'


def install() -> None:
    """Let the emulator read the metrics out of each function's log."""
    lambda_svc._emit_lambda_logs = _emit_and_measure


def _emit_and_measure(function: Any, request_id: str, log: str, *rest: Any, **options: Any) -> None:
    _emit_logs(function, request_id, log, *rest, **options)
    for line in (log or "").splitlines():
        if _MARK in line:
            _record(line)


def _record(line: str) -> None:
    try:
        values = json.loads(line)
    except ValueError:  # a line that was cut
        return
    for directive in values["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = {name: str(values[name]) for name in names}
            for metric in directive["Metrics"]:
                name = metric["Name"]
                found = values[name] if isinstance(values[name], list) else [values[name]]
                for value in found:
                    cloudwatch.record_metric(
                        directive["Namespace"], name, value, metric.get("Unit", "None"), dimensions
                    )
