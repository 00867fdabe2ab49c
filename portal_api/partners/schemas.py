"""Partners as they are shown and set."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from portal_api.schemas import ResourceView, examples, patch_of
from sipsvc.store.signup import EMAIL
from sipsvc.store.values import Matches, Name, Section, TimeZone

SET: dict[str, Any] = {"name": "Northern Voice", "email": "desk@example.com", "time_zone": "Europe/Berlin"}
EmailOrBlank = Annotated[
    str, Field(max_length=254), Matches(f"({EMAIL})?", "is no email address"), AfterValidator(str.lower)
]


class PartnerView(ResourceView):
    """`time_zone` is what its days and months go by."""

    model_config = ResourceView.model_config | examples(
        {
            "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
            "version": 1,
            "created_at": "2026-11-22T23:23:05.120Z",
            "updated_at": "2026-11-22T23:23:05.120Z",
            **SET,
        }
    )

    name: str
    email: str
    time_zone: str


class PartnerSettable(Section):
    """What may be set; a partner as it is made."""

    model_config = Section.model_config | examples(SET)

    name: Name
    email: EmailOrBlank = ""
    time_zone: TimeZone = "UTC"


PartnerPatch = patch_of(PartnerSettable, "PartnerPatch", {"time_zone": "Europe/London"})
