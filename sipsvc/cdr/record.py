"""What stands in the local log: three records a call or more, all plain JSON values. Pure; the engine makes them.

`start` at admission, `answer` at the first 2xx, `end` at the end; a refused call has `start`
and `end` at once. `late` may follow an end. Instants are UTC milliseconds, durations monotonic
milliseconds, money is text with six places. The database has one row per `cdr_id`; delivering any
record twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict


class Attempt(TypedDict):
    """One address of a gateway tried. `left` says why it was left: `` while it is the last, else `503`, `dns`…

    `full` and `over_rate` are the limits of a gateway that was passed over. `address` is as a listener is written,
    `tcp:192.0.2.1:5060`; "" where none was found or looked for (`dns`, `full`, `over_rate`), and absent from records of
    before gateways had names. `status` is 0 where nothing was sent, or nothing came.
    """

    gateway: str
    name: str
    request_uri: str
    address: NotRequired[str]
    started_at: int
    status: int
    left: str
    buy_rate: str
    late: NotRequired[list[LateCharge]]


class LateCharge(TypedDict):
    """An answer of this attempt that came when another had won, or when a final answer had gone up (SIP-15).

    It was hung up at once; `duration_ms` is from its 2xx to the answer to our BYE, `tag` its To tag. What it cost is in
    no margin: it is no price of the call, but the carrier will charge it.
    """

    tag: str
    answered_at: int
    duration_ms: int
    billed: int
    amount: str
    currency: str


class Late(TypedDict):
    """Kind `late`: one more such answer of attempt number `attempt`, from 0, of a call whose `end` stands already."""

    kind: str
    cdr_id: str
    attempt: int
    late: LateCharge


class Priced(TypedDict):
    """A charge and the row it comes from, as they stood when the call was decided. `name` is the destination's.

    `allowance` are those of the `billed` seconds that the account's allowance paid for, which are not in `amount`.
    """

    row: int
    prefix: str
    name: str
    rate: str
    fee: str
    initial: int
    increment: int
    minimum: str
    currency: str
    billed: int
    amount: str
    allowance: NotRequired[int]


class Half(TypedDict):
    """One side's dialog state (law 7): what a restart needs to route the call's requests.

    `leg` is there for a gateway that has credentials: how the caller's CSeq is moved towards it (SIP-33).
    """

    flow: list[Any]
    contact: str
    routes: list[str]
    own: str
    other: str
    cseq: int
    pinned: bool
    tcp_if_large: NotRequired[bool]
    leg: NotRequired[dict[str, Any]]
    off: NotRequired[list[str]]


class Start(TypedDict):
    """Kind `start`. `from_tag` and `cseq` let a restart know the caller's retransmissions."""

    kind: str
    cdr_id: str
    call_id: str
    customer: str
    customer_name: str
    partner: str
    trunk: str
    auth: str
    source: str
    dialled: str
    e164: str
    caller: str
    caller_shown: str
    invite_at: int
    directory: int
    trace: Sequence[Sequence[Any]]
    live: dict[str, Any]
    from_tag: str
    cseq: int


class Answer(TypedDict):
    """Kind `answer`; `answer_at` is when the first 2xx came. `sell` and `buy` are the rows, not yet charged.

    Written again, about the same answer, when a party moves or the session is refreshed. `token` is the one in our
    Record-Route; `session_expires_at` is when the session is over unless it is refreshed (RFC 4028), and
    `session_one_sided` says that not both sides keep time for it; `shown_at` is when it was shown to be alive after a
    restart. Older records have none of these.
    `granted_s` are the seconds that its account's credit and allowance were good for so far, where anything limits
    them; `month`, such as `2026-11`, is the one whose allowance it draws on, that of the answer in the account's zone.
    Such a call's package has `minutes` a month, 0 without end, of which it holds `held_s` seconds so far. What a call
    was given since its last record a restart gives it anew, as far as there is credit.
    """

    kind: str
    cdr_id: str
    answer_at: int
    progress_at: int | None
    status: int
    gateway: str
    gateway_name: str
    sent_to: str
    attempts: list[Attempt]
    sell: Priced
    buy: Priced
    ref: str
    caller_tag: str
    callee_tag: str
    rewritten: bool
    caller_half: Half
    gateway_half: Half
    token: str
    session_expires_at: int | None
    session_one_sided: bool
    shown_at: int | None
    granted_s: NotRequired[int]
    month: NotRequired[str]
    minutes: NotRequired[int]
    held_s: NotRequired[int]


class End(TypedDict):
    """Kind `end`. `code` is the machine's word for how it went: `answered`, `cancelled`, `cancel_crossed`
    (an answer was on its way already), `dest_expensive`…

    `hangup_by` is `caller`, `callee`, `proxy`, `timeout` or "" where nobody hung up. `margin` is text when
    both prices have one currency, else None. `recovered` marks a call whose end was not seen (crash).
    `granted_s` and `month` as in the answer; `credit_exhausted` is the code of a call that was cut for its credit.
    `trunk` is there with `month`: it is whose allowance it drew on.
    """

    kind: str
    cdr_id: str
    call_id: str
    customer: str
    end_at: int
    duration_ms: int | None
    status: int
    reason: str
    code: str
    hangup_by: str
    q850: int | None
    recovered: bool
    progress_at: int | None
    answer_at: int | None
    gateway: str
    gateway_name: str
    sent_to: str
    attempts: list[Attempt]
    sell: Priced | None
    buy: Priced | None
    margin: str | None
    granted_s: NotRequired[int]
    month: NotRequired[str]
    trunk: NotRequired[str]
