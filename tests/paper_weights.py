"""Files of weights in the exact published forms."""

import warnings

import torch
from torch import nn


def swav(network):
    """What SwAV's file holds: a network wrapped for several GPUs, its projection and its prototypes."""
    tensors = {name: value for name, value in network.state_dict().items() if not name.startswith("fc.")}
    head = nn.Sequential(nn.Linear(2048, 2048), nn.BatchNorm1d(2048), nn.ReLU(), nn.Linear(2048, 128))
    tensors |= {f"projection_head.{name}": value for name, value in head.state_dict().items()}
    tensors["prototypes.weight"] = torch.zeros(3000, 128)
    return {f"module.{name}": value for name, value in tensors.items()}


def scripted(clip, path):
    """A TorchScript program of OpenAI's form: half precision, and three numbers beside the weights."""
    root = nn.Module()
    for name, value in clip.state_dict().items():
        *above, last = name.split(".")
        module = root
        for part in above:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = getattr(module, part)
        module.register_buffer(last, value.half() if value.is_floating_point() else value)
    for name, value in (("input_resolution", 224), ("context_length", 77), ("vocab_size", 49408)):
        root.register_buffer(name, torch.tensor(value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(root).save(str(path))
