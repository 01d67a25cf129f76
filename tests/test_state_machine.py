"""Anything a user may do to a masked model, in any order, beside a plain backbone that knows what is true.

After every step a saved file gives the model's outputs back on the backbone, bit for bit, or saving is refused in a
``ValueError`` and the file that was there stays as it was.
"""

import copy
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from torch import nn

import submasking
from submasking import Bank, maskfile


def network(seed, width):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 5, 1, bias=False)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3))
    model.train()(torch.randn(8, 3, 6, 6))  # norm statistics of its own
    return model.eval()


@torch.no_grad()
def outputs(model):
    kind = next(model.parameters()).dtype
    return copy.deepcopy(model).eval()(torch.linspace(-1, 1, 2 * 3 * 36).view(2, 3, 6, 6).to(kind))


class Masked(RuleBasedStateMachine):
    """A masked model, the backbone under it, and the last file that was saved."""

    @initialize(seed=st.integers(0, 99), width=st.integers(2, 6), rescale=st.sampled_from(["none", "variance"]))
    def begin(self, seed, width, rescale):
        self.backbone, self.rescale = network(seed, width), rescale
        self.width, self.spoilt, self.over = width, set(), False
        self.model = copy.deepcopy(self.backbone)
        self.masking = submasking.mask(self.model, rescale=rescale)
        self.folder = tempfile.TemporaryDirectory()
        self.file = Path(self.folder.name) / "task"

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @precondition(lambda self: not self.over)
    @rule(seed=st.integers(0, 99), lr=st.sampled_from([5.0, 500.0]))
    def train(self, seed, lr):
        kind = next(self.model.parameters()).dtype
        random = torch.Generator().manual_seed(seed)
        images = torch.randn(6, 3, 6, 6, generator=random).to(kind)
        optimizers = self.masking.optimizers(lr=lr)
        nn.functional.cross_entropy(self.model.train()(images), torch.arange(6) % 3).backward()
        if "edit" in self.spoilt:
            with pytest.raises(ValueError, match="masked weights must be the backbone's; others were written into '0"):
                optimizers[0].step()
            self.model.zero_grad()
            self.model.eval()
            return
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.model.eval()
        self.spoilt.discard("weights")  # a step writes the masked weights anew

    @precondition(lambda self: not self.over)
    @rule(seed=st.integers(0, 99))
    def load(self, seed):
        other = network(seed, self.width).to(next(self.model.parameters()).dtype)
        self.model.load_state_dict(other.state_dict(), strict=False)
        self.backbone, self.spoilt = other, set()

    @rule(kind=st.sampled_from([torch.float32, torch.float64]))
    def cast(self, kind):
        if self.over:
            return
        self.model.to(kind)
        self.backbone.to(kind)
        if self.rescale == "variance":  # a cast rounds theta / alpha, not theta: a save would ask for this
            self.write_masked_weights_anew()

    @precondition(lambda self: not self.over)
    @rule()
    def edit_masked_weights(self):
        with torch.no_grad():
            self.model[0].weight.add_(1.0)
        self.spoilt |= {"weights", "edit"}

    @precondition(lambda self: not self.over)
    @rule()
    def write_masked_weights_anew(self):
        self.masking.apply()
        self.spoilt -= {"weights", "edit"}

    @precondition(lambda self: not self.over)
    @rule()
    def change_a_frozen_bias(self):
        with torch.no_grad():
            self.model[0].bias.add_(1.0)
        self.spoilt.add("frozen")

    @precondition(lambda self: not self.over)
    @rule()
    def copy_it(self):
        self.model = copy.deepcopy(self.model)
        self.masking = submasking.of(self.model)

    @precondition(lambda self: not self.over)
    @rule()
    def bake(self):
        before = outputs(self.model)
        if "weights" in self.spoilt:  # which would hand out what no mask made
            with pytest.raises(ValueError, match="what is baked must be the weights under their masks"):
                self.masking.bake()
            assert torch.equal(outputs(self.model), before)
            return
        self.masking.bake()
        assert torch.equal(outputs(self.model), before)
        self.over = "baked"

    @rule()
    def unbake(self):
        if "frozen" in self.spoilt:  # of which no copy is kept
            before = copy.deepcopy(self.model.state_dict())
            with pytest.raises(ValueError, match="of these no copy is kept; load the backbone's weights"):
                self.masking.unbake()
            now = self.model.state_dict()
            assert all(torch.equal(value, now[name]) for name, value in before.items())
            return
        self.masking.unbake()
        self.over = "unbaked"
        assert torch.equal(outputs(self.model), outputs(self.backbone))

    @precondition(lambda self: self.over == "baked" and self.spoilt == {"frozen"})
    @rule()
    def load_the_backbone_s_weights_as_told(self):
        self.model.load_state_dict(self.backbone.state_dict())
        self.spoilt = set()
        self.unbake()

    @invariant()
    def what_is_saved_is_the_model(self):
        if not hasattr(self, "model"):
            return
        before = self.file.read_bytes() if self.file.exists() else b""
        try:
            maskfile.save(self.file, self.masking)
        except ValueError:
            assert self.spoilt or self.over == "unbaked"
            assert (self.file.read_bytes() if self.file.exists() else b"") == before
            return
        assert self.over != "unbaked"
        fresh = copy.deepcopy(self.backbone)
        maskfile.load(self.file).apply(fresh)
        assert torch.equal(outputs(fresh), outputs(self.model))
        bank = Bank(copy.deepcopy(self.backbone))
        bank.add("task", self.file)
        assert torch.equal(outputs(bank.use("task")), outputs(self.model))
        assert torch.equal(outputs(bank.release()), outputs(self.backbone))


Masked.TestCase.settings = settings(
    max_examples=40, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
TestMasked = Masked.TestCase
