"""The question, and the answer as `sipsvc explain` gives it (law 4)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from portal_api.schemas import MAX_VALUE, Value

Text = Annotated[str, StringConstraints(max_length=MAX_VALUE, strict=True)]


class Question(BaseModel):
    """A call that is not made."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"customer": "acme", "dialled": "00442079460123", "caller": "442079460000"}]},
    )

    customer: Value = Field(description="Customer id.")
    dialled: Value = Field(description="As it would be dialled.")
    caller: Text = Field("", description="The number the caller wants to show.")


class Explanation(BaseModel):
    """`outcome` is `route` or `refused`; `trace_text` says each rule looked at, in order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "outcome": "route",
                    "code": "",
                    "status": None,
                    "reason": None,
                    "customer": "acme",
                    "e164": "442079460123",
                    "caller": "442079460000",
                    "sell": {
                        "prefix": "4420",
                        "name": "United Kingdom, London",
                        "rate": "0.012500",
                        "fee": "0.000000",
                        "initial": 60,
                        "increment": 60,
                        "currency": "USD",
                    },
                    "attempts": [
                        {
                            "gateway": "carrier-a",
                            "name": "Carrier A",
                            "request_uri": "sip:442079460123@192.0.2.80",
                            "from": None,
                            "headers": ["P-Asserted-Identity: <sip:442079460000@sipsvc>"],
                            "buy": {
                                "prefix": "44",
                                "name": "United Kingdom",
                                "rate": "0.009000",
                                "fee": "0.000000",
                                "initial": 1,
                                "increment": 1,
                                "currency": "USD",
                            },
                        }
                    ],
                    "trace": [["number", "00442079460123", "442079460123"]],
                    "trace_text": ["dialled 00442079460123: E.164 is 442079460123"],
                }
            ]
        }
    )

    outcome: str
    code: str
    status: int | None
    reason: str | None
    customer: str
    e164: str
    caller: str
    sell: dict[str, Any] | None
    attempts: list[dict[str, Any]]
    trace: list[list[Any]]
    trace_text: list[str]
