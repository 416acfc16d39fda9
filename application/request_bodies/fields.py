"""
The types of fields that bodies share, each with its limits, and what all bodies are.

`TRIM` marks text that is trimmed before its length is tested; `max_bytes` limits the JSON of an object, whatever its fields.
"""

from datetime import date
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from domain.routines.firing import LONGEST_REASON
from domain.schedule import cron_fields
from domain.values import FailureCause

TRIM = {"trim": True}
NOT_BLANK = {"pattern": r"\S"}  # what the description says of texts that must not be empty once they are trimmed
REQUIRED = "Required"
Title = Annotated[str, Meta(min_length=1, max_length=200, extra=TRIM, extra_json_schema=NOT_BLANK)]
Name = Annotated[str, Meta(min_length=1, max_length=200, extra=TRIM, extra_json_schema=NOT_BLANK)]
Label = Annotated[str, Meta(max_length=120, extra=TRIM)]
Text = Annotated[str, Meta(max_length=100_000)]
Description = Annotated[str, Meta(max_length=1_000_000)]
Email = Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254, extra=TRIM)]
Permissions = Annotated[tuple[Literal["tasks:assign"], ...], Meta(max_length=20)]
Comment = Annotated[str, Meta(min_length=1, max_length=100_000)]
FailureReason = Annotated[str, Meta(min_length=1, max_length=LONGEST_REASON)]
KeyName = Annotated[str, Meta(min_length=1, max_length=120, extra=TRIM, extra_json_schema=NOT_BLANK)]
CronText = Annotated[
    str, Meta(min_length=1, max_length=cron_fields.LONGEST_EXPRESSION, extra=TRIM, extra_json_schema=NOT_BLANK)
]
Zone = Annotated[str, Meta(min_length=1, max_length=100, extra=TRIM, extra_json_schema=NOT_BLANK)]
JsonPath = Annotated[str, Meta(pattern=r"^[^.]+(\.[^.]+)*$", max_length=200)]
ProbedText = Annotated[str, Meta(max_length=1_000)]
IdempotencyKey = Annotated[str, Meta(max_length=255, extra=TRIM)]
VariableName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=200, extra=TRIM)]
ExcludedDates = Annotated[tuple[date, ...], Meta(max_length=366)]
Jitter = Annotated[int, Meta(ge=0, le=3_600)]
RunDuration = Annotated[int, Meta(ge=1, le=31_536_000)]
Attempts = Annotated[int, Meta(ge=2, le=10)]
Backoff = Annotated[int, Meta(ge=1, le=86_400)]
BackoffFactor = Annotated[float, Meta(ge=1, le=10)]
AlertBound = Annotated[int, Meta(ge=60, le=31_536_000)]
MissedOccurrences = Annotated[int, Meta(ge=1, le=1_000)]
FailureCauses = Annotated[tuple[FailureCause, ...], Meta(min_length=1, max_length=2)]
Note = Annotated[str, Meta(max_length=1_000)]
ReplayWindow = Annotated[int, Meta(ge=30, le=86_400)]
Url = Annotated[str, Meta(min_length=1, max_length=2_048)]
EventPattern = Annotated[str, Meta(min_length=1, max_length=120, extra=TRIM, extra_json_schema=NOT_BLANK)]
EventPatterns = Annotated[tuple[EventPattern, ...], Meta(min_length=1, max_length=100)]
Option = Annotated[str, Meta(min_length=1, max_length=120)]
Cents = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Micros = Annotated[int, Meta(ge=0, le=10**15)]  # 1,000,000,000 of a currency unit
Tokens = Annotated[int, Meta(ge=0, le=10**15)]
RunVariables = Annotated[dict[str, str | int | float | bool], Meta(extra={"max_bytes": 256 * 1024})]
Object = Annotated[dict[str, object], Meta(extra={"max_bytes": 1024 * 1024})]
Payload = Annotated[dict[str, object], Meta(extra={"max_bytes": 10 * 1024 * 1024})]
Outputs = Annotated[dict[str, object], Meta(extra={"max_bytes": 256 * 1024})]
SampleHeaders = Annotated[dict[str, str], Meta(extra={"max_bytes": 32 * 1024})]


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A JSON body of the API. Other fields are refused, but for those that web/http/tolerated_fields.py lists."""
