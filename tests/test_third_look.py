"""What a third hostile user found: names that masking takes, and what else two rounds had left."""

import pytest
import torch
from torch import nn

from submasking import mask


@pytest.mark.parametrize("given", ["weight_scores", "weight_frozen", "bias_frozen"])
@pytest.mark.parametrize("kind", ["buffer", "parameter", "attribute"])
def test_a_name_that_the_model_has_itself_is_not_taken(given, kind):
    """Masking would write over it, and baking remove it."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    if kind == "buffer":
        model[1].register_buffer(given, torch.ones(2, 4))
    else:
        setattr(model[1], given, nn.Parameter(torch.ones(2)) if kind == "parameter" else 3)
    before = dict(model.state_dict())
    if given.startswith("bias"):  # beside one that is not masked
        masking = mask(model, "weights")
        masking.bake()
    else:
        with pytest.raises(
            ValueError, match=rf"'1.weight' is kept with .* its module has '{given}' of its own; rename"
        ):
            mask(model, "weights")
    assert model.state_dict().keys() == before.keys()
    assert hasattr(model[1], given)
