"""Masks on photographs: a folder of them, a network that knows ImageNet, and the ways to fit one to the other.

`trials` is one training by one way at one rate; `study` chooses the rates on validation images and judges on the test
images; `answer` makes a table and a sentence of what was judged.
"""

from submasking.experiments.photographs.answer import sentence, table, tried
from submasking.experiments.photographs.study import run
from submasking.experiments.photographs.trials import WAYS, Settings

__all__ = ["WAYS", "Settings", "run", "sentence", "table", "tried"]
