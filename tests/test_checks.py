"""Models that cannot be masked as they are: each is refused with rule, value and remedy, and left as it was."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from submasking import Decision, Threshold, TopK, mask


def old_weight_norm() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still in use
        return nn.utils.weight_norm(nn.Linear(3, 3))


def made_in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return nn.Linear(3, 3)


def over_one_memory(after: int = 0) -> nn.Module:
    """Two layers with parameters of their own over the same numbers, or some of the same."""
    memory = torch.ones(20)
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[0].weight = nn.Parameter(memory[:9].view(3, 3))
    model[1].weight = nn.Parameter(memory[after : after + 9].view(3, 3))
    return model


def bare(values: torch.Tensor) -> nn.Module:
    model = nn.Module()
    model.bare = nn.Parameter(values, requires_grad=False)
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "resnet18", r"must be a torch.nn.Module; got str; try timm"),
        (
            lambda: nn.LazyLinear(3),
            "must hold numbers of their own before they are masked; 'weight' is lazy, without a shape; call the",
        ),
        (lambda: nn.Linear(3, 3, device="meta"), "'weight' is on the meta device; load its weights first"),
        (made_in_inference_mode, "'weight' was made in inference mode; make or clone the model outside of it"),
        (lambda: bare(torch.ones(3, 1).expand(3, 3)), "'bare' shows one number several times; replace it by its clone"),
        (lambda: bare(torch.ones(2, 2).to(torch.float8_e4m3fn)), "16 bits or more .* 'bare' is torch.float8_e4m3fn"),
        (lambda: bare(torch.ones(2, 2, dtype=torch.complex64)), "'bare' is torch.complex64; freeze it"),
        (over_one_memory, "memory of their own, or be one; '0.weight' and '1.weight' are two over the same"),
        (lambda: over_one_memory(3), "'0.weight' and '1.weight' are two over the same; set one to the other"),
        (lambda: parametrizations.weight_norm(nn.Linear(3, 3)), "must be the weight itself; 'parametrizations.weight"),
        (lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 3))), "remove that first .*or freeze"),
        (
            old_weight_norm,
            "must be the weight itself; 'weight_g' is what a parametrization, a weight norm or a pruning",
        ),
        (lambda: prune.l1_unstructured(nn.Linear(3, 3), "weight", 0.5), "must be the weight itself; 'weight_orig'"),
    ],
)
def test_models_that_cannot_be_masked_are_refused(make, message):
    model = make()
    with pytest.raises(ValueError, match=message):
        mask(model, "weights")
    if isinstance(model, nn.Module):
        assert not any("scores" in name for name, _ in model.named_buffers())


def test_names_that_only_look_computed_are_masked():
    model = nn.Module()
    model.gate_g = nn.Parameter(torch.ones(2, 2))
    assert list(mask(model, "weights").masks()) == ["gate_g"]


def test_masking_inside_inference_mode_is_refused():
    with (
        torch.inference_mode(),
        pytest.raises(ValueError, match=r"outside torch.inference_mode; got one inside; leave"),
    ):
        mask(nn.Linear(2, 2), "weights")


def test_a_model_that_is_wrapped_already_is_refused(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        parallel = nn.parallel.DistributedDataParallel(nn.Linear(2, 2))
        with pytest.raises(ValueError, match=r"before it is wrapped; got DistributedDataParallel, .*; call submasking"):
            mask(parallel, "weights")
    finally:
        torch.distributed.destroy_process_group()


def part(answer):
    return lambda name, parameter: Decision("mask", "", lambda name, frozen: answer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"select": None}, "select must be one of .* or a callable; got None"),
        ({"select": {"weight": "mask"}}, "select must be one of .* or a callable; got {'weight': 'mask'}"),
        ({"select": lambda n, p: None}, "answers mask, train or freeze; got None for 'weight'"),
        ({"select": lambda n, p: True}, "answers mask, train or freeze; got True for 'weight'"),
        ({"select": part(torch.ones(3, dtype=torch.bool))}, r"a part must be a bool tensor .* 'weight', \(2, 2\), got"),
        (
            {"select": part(torch.ones(2, 2))},
            r"'weight', \(2, 2\), got torch.float32 of shape \(2, 2\); return such as",
        ),
        ({"criterion": "topk"}, r"a criterion must be a callable scores -> mask; got 'topk'; try TopK\(0.5\)"),
        ({"init": None}, "init must be one of constant, .* a number or a callable; got None"),
        ({"init": lambda frozen, random: torch.ones(1)}, r"numbers, one for each weight; .* gave shape \(1,\)"),
        ({"init": lambda frozen, random: frozen * float("nan")}, "gave shape .* 4 of them NaN; are the weights finite"),
    ],
)
def test_arguments_of_another_kind_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mask(nn.Linear(2, 2), **({"select": "weights"} | arguments))


@pytest.mark.parametrize("make", [TopK, Threshold])
def test_a_criterion_takes_a_number(make):
    with pytest.raises(ValueError, match=r"must be .*; got '0.5'; "):
        make("0.5")


def test_a_parameter_that_went_away_is_named():
    model = nn.Sequential(nn.Linear(3, 3))
    masking = mask(model, "weights")
    parametrizations.weight_norm(model[0])
    with pytest.raises(ValueError, match=r"must stay where it was; '0.weight' is gone; undo that"):
        masking.apply()


def test_parameters_that_share_a_buffer_and_no_number_are_masked():
    assert mask(over_one_memory(9), "weights").masks().keys() == {"0.weight", "1.weight"}
    columns = nn.ParameterList(torch.ones(4, 6).chunk(2, dim=1))  # which lie between one another
    assert len(mask(columns, "weights").masks()) == 2
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    assert mask(tied, "weights").targets[0].names == ("0.weight", "1.weight")
