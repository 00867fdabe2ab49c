"""The job resource: asked for by other operations, read here."""

from __future__ import annotations

from portal_api.columns import ID, INSTANT, INTEGER, choice
from portal_api.jobs.schemas import JobView
from portal_api.listing import Listing
from portal_api.resource import PREFIX, router_of
from portal_api.spec import Spec
from portal_api.writes import Answer
from sipsvc.imports.jobs import TASKS
from sipsvc.store.models import Job

SPEC = Spec(
    kind="job",
    word="job",
    model=Job,
    view=JobView,
    listing=Listing(
        name="jobs",
        model=Job,
        view=JobView,
        columns={
            "partner": ID,
            "task": choice(*TASKS),
            "import_id": ID,
            "status": choice("queued", "running", "done", "failed"),
            "percent": INTEGER,
            "created_at": INSTANT,
            "updated_at": INSTANT,
        },
        key=("id", ID),
        order="-id",
    ),
)
router = router_of(SPEC)


def accepted(job: Job) -> Answer:
    """202: it will be done, and where to see how far it is."""
    return Answer(202, SPEC.show(job), {"Location": f"{PREFIX}/jobs/{job.id}"})
