"""Which changes of learning rate, initial score, threshold and decay change no mask (draft, appendix A.1).

The update rules are written once, for any kind of number: the sympy proofs, the property tests and the comparison
with torch.optim all run the same lines. The page "Proofs" of the book holds the theorems.
"""

from submasking.experiments.invariance.conversion import canonical, convert, equivalent, with_lr
from submasking.experiments.invariance.rules import SGD, Adagrad, Adam, AdamW, RMSprop, Rule
from submasking.experiments.invariance.setup import Setup, above, scale, trajectory, translate
from submasking.experiments.invariance.verdicts import COUNTEREXAMPLES, INVARIANCES, ROWS, needed

__all__ = [
    "COUNTEREXAMPLES",
    "INVARIANCES",
    "ROWS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "RMSprop",
    "Rule",
    "Setup",
    "above",
    "canonical",
    "convert",
    "equivalent",
    "needed",
    "scale",
    "trajectory",
    "translate",
    "with_lr",
]
