"""The selection that fits any network: it asks what each layer is, and looks for the classifier."""

import re

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import ParametrizationList

from submasking.masking.classifier import last_layers
from submasking.masking.decision import Decision, Select, group_of

_LAYERS = (_ConvNd, nn.Linear, nn.Bilinear, nn.RNNBase, nn.RNNCellBase)
_TABLES = (nn.Embedding, nn.EmbeddingBag)
_SCALES = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.PReLU)
_NO_LAYER = re.compile(r"norm|embed|scale", re.IGNORECASE)  # classes of other libraries, which share no type


def auto(model: nn.Module) -> Select:
    """Mask the weights of every layer that has some to switch off, train a classifier, freeze the rest.

    Masked are the weights, of two or more dimensions, of convolutions, linear layers, attention, recurrent layers, and
    of modules of other libraries that call their matrix ``weight``, such as the Conv1D of transformers. Frozen are
    biases, norms, embeddings, tokens, tables of positions and scales. Trained is the last layer of the classifier: it
    is new where the number of classes is. A trunk without a classifier trains nothing.

    A tied parameter is decided once: frozen if a table holds it, else trained if a classifier does, else masked.

    Args:
        model: the network that is to be masked; parameters are known by its names.

    Returns:
        A selection for this model.
    """
    tables = {id(p) for module in model.modules() if isinstance(module, _TABLES) for p in module.parameters()}
    new = {id(p) for layer in last_layers(model) for p in layer.parameters()} - tables
    weights = {id(p) for module in model.modules() for p in _weights(module)} - tables
    unique = list(model.named_parameters())
    trained = {name for name, parameter in unique if id(parameter) in new}
    masked = {name for name, parameter in unique if id(parameter) in weights} - trained

    def select(name: str, parameter: nn.Parameter) -> Decision:
        action = "train" if name in trained else "mask" if name in masked else "freeze"
        return Decision(action, group_of(name))

    return select


def _weights(module: nn.Module) -> list[nn.Parameter]:
    own = module.named_parameters(recurse=False)
    return [parameter for name, parameter in own if parameter.dim() > 1 and _is_weight(module, name, parameter)]


def _is_weight(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    if isinstance(module, nn.MultiheadAttention):
        return name.endswith("proj_weight")  # not bias_k and bias_v, which have three dimensions
    if isinstance(module, _LAYERS):
        return name.startswith("weight")  # weight_v of a weight norm too: whoever masks it is told what to do
    if isinstance(module, ParametrizationList):
        return True  # likewise
    if isinstance(module, _TABLES + _SCALES) or _NO_LAYER.search(type(module).__name__):
        return False
    return name == "weight" and sum(size > 1 for size in parameter.shape) > 1  # one axis alone is a scale
