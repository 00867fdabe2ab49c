"""What a running server tells of itself: figures for Prometheus, health, and answers over the control socket."""

from sipsvc.watch.facts import Facts
from sipsvc.watch.figures import Figures
from sipsvc.watch.http import HttpListener
from sipsvc.watch.operations import handlers

__all__ = ["Facts", "Figures", "HttpListener", "handlers"]
