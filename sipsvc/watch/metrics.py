"""The figures in Prometheus' text form. Names and labels are counted: no label grows with customers or callers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from sipsvc.watch.facts import Facts
from sipsvc.watch.figures import Spread

__all__ = ["CONTENT_TYPE_LATEST", "Snapshot", "render", "snapshot"]


class Snapshot(NamedTuple):
    """What `render` needs: copies, so that it may be done in a thread. Of each stage bounds, counts and sum, in ms."""

    status: dict[str, Any]
    stages: dict[str, tuple[tuple[int, ...], list[int], int]]


def snapshot(facts: Facts) -> Snapshot:
    """Taken on the loop's thread, which is the one that counts."""
    return Snapshot(facts.status(), {name: _copy(spread) for name, spread in facts.figures.stages.items()})


def render(taken: Snapshot) -> bytes:
    """The page that Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(_Families(taken))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _copy(spread: Spread) -> tuple[tuple[int, ...], list[int], int]:
    return spread.bounds, list(spread.counts), spread.total


class _Families(Collector):
    def __init__(self, taken: Snapshot) -> None:
        self._taken = taken

    def collect(self) -> Iterator[Metric]:
        status, stages = self._taken
        yield _gauge("build_info", "Always 1; the version is the label.", {(status["version"],): 1}, "version")
        yield from _of_calls(status)
        yield _stages(stages)
        yield from _of_the_worker(status)
        yield from _of_outputs(status["outputs"])
        yield from _of_gateways(status["gateways"])


def _of_calls(status: Mapping[str, Any]) -> Iterator[Metric]:
    yield _counter("calls", "Calls that ended, refused ones included, by the code of their record.",
                   {(code,): count for code, count in status["calls"].items()}, "code")  # fmt: skip
    yield _counter("gateway_attempts", "Addresses of gateways tried by calls that ended, by what came of it.",
                   {(gateway, outcome): count for gateway, outcome, count in status["attempts"]},
                   "gateway", "outcome")  # fmt: skip
    yield _counter("turned_away", "Messages dropped, refused or challenged without a record, by reason.",
                   {(reason,): count for reason, count in status["turned_away"].items()}, "reason")  # fmt: skip
    yield _gauge("live_calls", "Calls in set-up and in conversation.", status["live_calls"])
    yield _gauge("calls_in_setup", "Calls that nobody has answered yet.", status["calls_in_setup"])
    yield _gauge("transactions", "SIP transactions remembered.", status["transactions"])
    yield _counter("retransmissions", "Messages sent again for want of an answer.", {(): status["retransmitted"]})


def _of_the_worker(status: Mapping[str, Any]) -> Iterator[Metric]:
    log, directory = status["log"], status["directory"]
    yield _gauge("connections", "TCP and TLS connections.", status["connections"])
    yield _gauge("loop_late_seconds", "How late a timer fired at worst in the last one to two minutes.",
                 status["loop_late_s"])  # fmt: skip
    yield _gauge("ready", "Whether new calls can be taken: what /readyz says.", int(status["ready"]))
    yield _gauge("draining", "Whether no new calls are taken because somebody wants it so.", int(status["draining"]))
    yield _gauge("directory_version", "Version of the catalogue that calls are decided on.", directory["version"])
    yield _gauge("directory_age_seconds", "Since that version is in force here.", directory["age_s"])
    yield _gauge("feed_connected", "Whether changes of the catalogue can reach the worker.", int(directory["feed"]))
    yield _gauge("log_full", "Whether the log of calls takes no records, so that no call is admitted.",
                 int(log["full"]))  # fmt: skip
    yield _gauge("log_unwritten_records", "Records that wait for the log to take them.", log["unwritten_records"])
    yield _gauge("log_undelivered_bytes", "What is in the log of calls and not in the database.",
                 log["undelivered_bytes"])  # fmt: skip
    yield _gauge("log_segments", "Files of the log of calls.", log["segments"])
    yield _gauge("log_bytes", "What those files hold.", log["bytes"])
    yield _gauge("log_most_bytes", "What they may hold; from there on no call is admitted.", log["most_bytes"])
    yield _gauge("log_disk_free_bytes", "What is left on the disk they are on.", log["free_bytes"])
    yield _counter("log_unrecorded_calls", "Calls refused for a full log that have no record.",
                   {(): log["unrecorded_calls"]})  # fmt: skip
    yield _gauge("cdr_rejected", "Calls that are set aside because the database refuses them.",
                 log["rejected_calls"])  # fmt: skip


def _of_outputs(outputs: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    yield _gauge("output_waiting", "Calls in the database that an output has not got; some too many.",
                 {(name,): one["waiting"] for name, one in outputs.items()}, "output")  # fmt: skip
    yield _gauge("output_failing", "Whether the last try to hand calls on to an output failed.",
                 {(name,): int(bool(one["failing"])) for name, one in outputs.items()}, "output")  # fmt: skip


def _of_gateways(health: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    yield _gauge("gateway_state", "1 for the state that a watched gateway is in.",
                 {(name, str(one["state"])): 1 for name, one in health.items()}, "gateway", "state")  # fmt: skip
    yield _gauge("gateway_failures", "Failures of a watched gateway in a row.",
                 {(name,): one["failures"] for name, one in health.items()}, "gateway")  # fmt: skip
    yield _gauge("gateway_registration", "1 for the state of our registration at a gateway that wants one.",
                 {(name, str(one["registration"])): 1 for name, one in health.items() if one["registration"]},
                 "gateway", "state")  # fmt: skip


def _stages(stages: Mapping[str, tuple[tuple[int, ...], list[int], int]]) -> Metric:
    family = HistogramMetricFamily(
        "sipsvc_stage_seconds",
        "How long a call took from its INVITE to what went out for it (decision), from there to the first of 101 to "
        "199 (progress) and to the 2xx (answer).",
        labels=["stage"],
    )
    for name, (bounds, counts, total) in stages.items():
        below = accumulate(counts)
        buckets = [(str(bound / 1000), next(below)) for bound in bounds]
        family.add_metric([name], [*buckets, ("+Inf", next(below))], total / 1000)
    return family


Values = float | Mapping[tuple[str, ...], float]


def _gauge(name: str, said: str, values: Values, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(f"sipsvc_{name}", said, labels=labels), values)


def _counter(name: str, said: str, values: Values, *labels: str) -> Metric:
    return _filled(CounterMetricFamily(f"sipsvc_{name}", said, labels=labels), values)


def _filled(family: Any, values: Values) -> Metric:
    pairs: Iterable[tuple[tuple[str, ...], float]] = values.items() if isinstance(values, Mapping) else [((), values)]
    for labels, value in pairs:
        family.add_metric(labels, value)
    made: Metric = family
    return made
