"""Masks on photographs: a folder of them, a network that knows ImageNet, and the ways to fit one to the other.

`trials` is one training by one way at one rate; `study` chooses the rates on validation images and judges on the test
images; `keep` makes a record of it, which `submasking.report.photographs` puts into a table and a sentence; `why` says
what a training did to the network.
"""

from submasking.experiments.photographs.keep import record
from submasking.experiments.photographs.trials import Settings

__all__ = ["Settings", "record"]
