"""Nothing of an earlier task stays where another is laid on or switched to, whatever happened in between."""

import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from submasking import Bank, mask, maskfile
from submasking.tasks.heads import CosineHead


def network():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )
    model[1].running_mean.normal_(0, 0.1)
    return model.eval()


IMAGES = torch.linspace(-1, 1, 2 * 3 * 64).view(2, 3, 8, 8)
# what a task has beside its masks: statistics of norms, a trained classifier
KINDS = {"masks alone": (False, 0.0), "statistics": (False, 0.5), "classifier": (True, 0.0), "both": (True, 0.3)}


def saved(path, kind, seed):
    """A task of a kind, and what its model says."""
    classifier, shift = KINDS[kind]
    model = network()
    masking = mask(
        model, lambda name, _: "mask" if name == "0.weight" else "train" if classifier and name[0] == "5" else "freeze"
    )
    generator = torch.Generator().manual_seed(seed)
    masking.load_masks({name: torch.rand(t.shape, generator=generator) > 0.3 for name, t in masking.frozen().items()})
    model[1].running_mean.add_(shift)
    with torch.no_grad():
        for name in masking.trained:
            masking.parameter(name).add_(0.5)
    return maskfile.save(path, model), model(IMAGES).detach()


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    return {kind: saved(folder / kind, kind, seed) for seed, kind in enumerate(KINDS)}


@pytest.mark.parametrize(("first", "second"), [*itertools.permutations(KINDS, 2)])
def test_a_task_laid_over_another_is_itself_or_refused(first, second, tasks):
    model = network()
    tasks[first][0].apply(model)
    if KINDS[second][0] > KINDS[first][0]:  # what the second trains is frozen by the first
        with pytest.raises(maskfile.MaskFileError, match="trained than by the task; unbake the model first"):
            tasks[second][0].apply(model)
        assert torch.equal(model(IMAGES), tasks[first][1])
        return
    masking = tasks[second][0].apply(model)
    assert torch.equal(model(IMAGES), tasks[second][1])
    masking.unbake()
    assert torch.equal(model(IMAGES), network()(IMAGES))


def test_a_task_is_not_laid_on_a_masked_model_with_another_classifier(tasks):
    model = network()
    tasks["both"][0].apply(model)
    model[5] = nn.Linear(6, 9)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(maskfile.MaskFileError, match="keep its shapes; a part was replaced since"):
        tasks["classifier"][0].apply(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def train_mode(model):
    model.train()(IMAGES)
    model.eval()


BETWEEN = {"nothing": lambda model: None, "seen in train mode": train_mode, "copied": copy.deepcopy}


@given(st.lists(st.tuples(st.sampled_from(list(KINDS)), st.sampled_from(list(BETWEEN))), min_size=1, max_size=8))
def test_a_bank_gives_each_task_whatever_its_model_has_seen(tasks, steps):
    bank = Bank(network())
    for kind, (task, _) in tasks.items():
        bank.add(kind, task)
    for kind, between in steps:
        assert torch.equal(bank.use(kind)(IMAGES), tasks[kind][1])
        BETWEEN[between](bank.model)
    assert torch.equal(bank.release()(IMAGES), network()(IMAGES))


@pytest.mark.parametrize("model", [None, "resnet18", {"0.weight": torch.ones(2)}, nn.Linear])
def test_a_bank_needs_a_model(model):
    with pytest.raises(ValueError, match=r"must be a torch\.nn\.Module; got"):
        Bank(model)


def test_two_banks_on_one_model_do_not_mix(tasks):
    model = network()
    first, second = Bank(model), Bank(model)
    first.add("statistics", tasks["statistics"][0])
    second.add("masks alone", tasks["masks alone"][0])
    first.use("statistics")
    assert torch.equal(second.use("masks alone")(IMAGES), tasks["masks alone"][1])
    assert torch.equal(first.use("statistics")(IMAGES), tasks["statistics"][1])


ON = {"0.weight": torch.ones(6, 3, 3, 3, dtype=torch.bool)}


@pytest.mark.parametrize(
    ("masks", "state", "said"),
    [
        ({}, {}, "there are none"),
        ({"0.weight": torch.ones(6, 3, 3, 3)}, {}, "that of '0.weight' is none"),
        ({"1.running_mean": torch.ones(6, dtype=torch.bool)}, {}, "that of '1.running_mean' is none"),
        (ON, {"1.running_mean": torch.zeros(9)}, "a tensor keeps its shape"),
        (ON, {"5.bias": torch.zeros(3)}, "'5.bias' is \\(4,\\) in the backbone and \\(3,\\) in the task"),
        (ON, {"5.bias": torch.zeros(1)}, "a tensor keeps its shape"),  # it would be spread over all classes
        (ON, {"5.bias": torch.zeros(())}, "a tensor keeps its shape"),
        (ON, {"5.weight": torch.zeros(3, 6)}, "a tensor keeps its shape"),
        (ON, {"5.weight": torch.zeros(3, 5), "5.bias": torch.zeros(3)}, "'5.weight' is"),
        (ON, {"5.weight": torch.zeros(3, 6), "5.bias": torch.zeros(2)}, "a tensor keeps its shape"),
        (ON, {"0.bias": torch.zeros(1)}, "'0.bias' is"),
        (ON, {"1.weight": torch.zeros(1)}, "'1.weight' is"),
        ({"0.weight": [[True]]}, {}, "that of '0.weight' is none"),
        (ON, {"1.running_mean": torch.full((6,), torch.nan)}, "finite numbers; those of '1.running_mean' are nan"),
        (ON, {"1.running_var": torch.tensor([1, 1, 1, 1, 1, torch.inf])}, "finite numbers; those of '1.running_var'"),
        (ON, {"5.bias": torch.tensor([0, torch.nan, 0, 0])}, "finite numbers; those of '5.bias'"),
        (ON, {"0.weight": torch.ones(6, 3, 3, 3)}, "either masks a tensor or sets it; it does both with '0.weight'"),
    ],
)
def test_what_is_no_task_is_refused_before_it_is_in_the_bank(masks, state, said):
    bank = Bank(network())
    with pytest.raises(ValueError, match=said):
        bank.put("task", masks, state=state)
    assert not bank.tasks
    bank.put("task", ON)  # nothing of the other is left
    assert torch.equal(bank.use("task")(IMAGES), network()(IMAGES))


@pytest.mark.parametrize("kind", ["classifier", "both"])
@pytest.mark.parametrize("own", [lambda model: model.get_parameter, lambda model: model.state_dict().get])
def test_a_task_keeps_what_it_sets_though_that_was_the_models_own(own, kind, tasks):
    bank = Bank(network())
    for name, (task, _) in tasks.items():
        bank.add(name, task)
    there = own(bank.use(kind))
    bank.put("same", bank.masks(kind), state={name: there(name) for name in ("5.weight", "5.bias")})
    wanted = bank.use("same")(IMAGES)
    bank.use("statistics")
    assert torch.equal(bank.use("same")(IMAGES), wanted)


@pytest.mark.parametrize("way", ["put", "take"])
@pytest.mark.parametrize("head", [lambda: nn.Linear(4, 2), lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))])
def test_a_head_that_is_trained_on_for_the_next_task_leaves_the_last_one_alone(way, head):
    bank, head, model = Bank(network()), head().eval(), network()
    masking = mask(model)
    if way == "put":
        bank.put("task", masking.masks(), head=head)
    else:
        bank.take("task", masking, head=head)
    wanted = bank.logits("task", IMAGES)
    with torch.no_grad():
        for value in [*head.parameters(), *head.buffers()]:
            value.add_(1)
    assert torch.equal(bank.logits("task", IMAGES), wanted)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_a_head_that_cannot_be_copied_is_refused():
    bank, head = Bank(network()), nn.utils.weight_norm(nn.Linear(4, 2))
    head(torch.ones(1, 4))
    with pytest.raises(ValueError, match="a head must be one that can be copied"):
        bank.put("task", ON, head=head)
    assert not bank.tasks
    bank.put("task", ON, head=nn.utils.remove_weight_norm(head))


def filled(layer, number):
    """A layer with a number that is none in its weights."""
    with torch.no_grad():
        layer.weight[-1, 0] = number
    return layer


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"head": filled(nn.Linear(4, 3), torch.nan)}, "a head must hold finite numbers"),
        ({"head": nn.Sequential(nn.ReLU(), filled(nn.Linear(4, 3), torch.inf))}, "a head must hold finite numbers"),
        ({"head": "fc"}, "a head must be a module, features -> logits; got 'fc'"),
        ({"head": torch.eye(4)}, "a head must be a module"),
        ({"head": nn.LazyLinear(3)}, "a head must have a shape; got a lazy one"),
        ({"head": nn.Linear(4, 3), "classes": "ab"}, "classes must be a list of names; got the text 'ab'"),
        ({"head": nn.Linear(4, 3), "classes": ["a", "b"]}, "got 3 and 2 names; name every class"),
        ({"head": nn.Sequential(nn.Linear(4, 9), nn.Linear(9, 5)), "classes": ["a", "b"]}, "got 5 and 2 names"),
        ({"head": nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9)), "classes": ["a"]}, "got 9 and 1 names"),
        ({"head": CosineHead(torch.eye(4)[:3], 1.0), "classes": ["a", "b"]}, "got 3 and 2 names"),
        ({"head": nn.Linear(4, 2), "classes": ["a", "a"]}, "each class must have a name of its own"),
        ({"head": nn.Linear(4, 2), "classes": ["a", 2]}, "a class must have a text as its name; got 2"),
        (
            {"state": {"5.weight": torch.ones(3, 6), "5.bias": torch.ones(3)}, "classes": ["a", "b"]},
            "'5' has 3, there are 2 names",
        ),
        ({"rescale": "half"}, "rescale must be one of none, variance; got 'half'"),
    ],
)
def test_a_head_that_is_none_of_its_classes_is_refused_before_it_is_in_the_bank(given, said):
    bank = Bank(network())
    with pytest.raises(ValueError, match=said):
        bank.put("task", ON, **given)
    assert not bank.tasks
    bank.put("task", ON, head=nn.Sequential(nn.Linear(4, 9), nn.Linear(9, 2)), classes=["a", "b"])
    bank.put("more", ON, state={"5.weight": torch.ones(3, 6), "5.bias": torch.ones(3)}, classes=["a", "b", "c"])
    assert bank.logits("task", IMAGES).shape == (2, 2)
    assert bank.logits("more", IMAGES).shape == (2, 3)


def test_a_head_of_another_width_than_a_network_of_timm_is_refused():
    model = network()
    model.pretrained_cfg = {"input_size": (3, 8, 8)}
    bank = Bank(model)
    with pytest.raises(ValueError, match="it takes 5, there are 4"):
        bank.put("task", ON, head=nn.Linear(5, 2))
    bank.put("task", ON, head=nn.Linear(4, 2))


@pytest.mark.parametrize("name", ["1.running_mean", "1.running_var", "5.bias"])
@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_a_task_whose_statistics_fell_ill_is_neither_saved_nor_taken(name, number, tmp_path):
    bank, model = Bank(network()), network()
    masking = mask(model)
    with torch.no_grad():
        model.state_dict()[name][1] = number
    said = f"first '{name}', are nan or inf"
    with pytest.raises(ValueError, match=said):
        maskfile.save(tmp_path / "task", model)
    with pytest.raises(ValueError, match=said):
        bank.take("task", masking)
    assert not bank.tasks
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"classes": ["a", "b", "c", "a"]}, "each class must have a name of its own; 'a' is there twice"),
        ({"classes": [1, 2, 3, 4]}, "a class must have a text as its name; got 1"),
        ({"classes": [b"a", b"b", b"c", b"d"]}, "a class must have a text as its name; got b'a'"),
        ({"classes": ["a", "b", "c"]}, "'5' has 4, there are 3 names"),
        ({"architecture": None}, "architecture must be a text; got None"),
        ({"weights": 7}, "weights must be a text; got 7"),
        ({"provenance": {1: 2}}, "a name in provenance must be a text; got 1"),
        ({"provenance": {"a": {1: 2, "b": 3}}}, "provenance must be what JSON can hold"),
    ],
)
def test_names_that_would_not_come_back_as_they_are_are_refused(given, said, tmp_path):
    model = network()
    mask(model)
    maskfile.save(tmp_path / "task", model, classes=["a", "b", "c", "1"])
    content = (tmp_path / "task").read_bytes()
    with pytest.raises(ValueError, match=said):
        maskfile.save(tmp_path / "task", model, **given)
    assert (tmp_path / "task").read_bytes() == content
