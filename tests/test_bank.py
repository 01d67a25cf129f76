"""The bank: tasks answer as if each had the network to itself, at one bit per weight; masks compare beyond chance."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_maskfile import adapted, images, small
from torch import nn

from submasking.tasks import maskfile
from submasking.tasks.bank import Bank
from submasking.tasks.bits import Plan
from submasking.tasks.heads import linear_head
from submasking.tasks.maskfile import MaskFileError
from submasking.tasks.similarity import similarity


@pytest.fixture
def filled(tmp_path):
    """A bank of three tasks, with what each would answer alone."""
    bank, alone = Bank(small()), {}
    for seed, classes in ((1, 3), (2, 4), (3, 3)):
        masking, head = adapted(seed=seed), linear_head(6, classes, seed=seed)
        task = maskfile.save(tmp_path / str(seed), masking, head=head, classes=[str(k) for k in range(classes)])
        bank.add(f"task{seed}", task)
        alone[f"task{seed}"] = (masking, head)
    return bank, alone


def answer(alone, name, batch):
    masking, head = alone[name]
    with torch.no_grad():
        return head(masking.model(batch))


def test_switching_gives_each_task_the_network_to_itself(filled):
    bank, alone = filled
    for name in ("task1", "task3", "task1", "task2"):
        assert bank.use(name) is bank.model
        for key, value in bank.model.state_dict().items():
            assert torch.equal(value, alone[name][0].model.state_dict()[key])
        assert torch.equal(bank.logits(name, images()), answer(alone, name, images()))


def test_release_gives_the_backbone_back_bit_for_bit(filled):
    bank, _ = filled
    bank.use("task2")
    bank.release()
    assert all(
        torch.equal(a, b) for a, b in zip(bank.model.state_dict().values(), small().state_dict().values(), strict=True)
    )


def test_a_with_block_puts_back_what_was_there_even_after_an_error(filled):
    bank, alone = filled
    with bank.using("task1"), bank.using("task2") as model:
        assert torch.equal(model[0].weight, alone["task2"][0].model[0].weight)
    assert bank.current is None
    bank.use("task3")
    with pytest.raises(RuntimeError, match="stop"), bank.using("task1"):
        raise RuntimeError("stop")
    assert torch.equal(bank.model[0].weight, alone["task3"][0].model[0].weight)


@given(st.lists(st.sampled_from(["task1", "task2", "task3"]), min_size=1, max_size=8))
def test_a_mixed_batch_answers_image_by_image(names):
    bank, alone = Bank(small()), {}
    for name in ("task1", "task2", "task3"):
        masking, head = adapted(seed=int(name[-1])), linear_head(6, 2 + int(name[-1]), seed=0)
        bank.take(name, masking, head=head)
        alone[name] = (masking, head)
    batch = images(len(names))
    for index, (name, row) in enumerate(zip(names, bank.mixed(batch, names), strict=True)):
        assert torch.allclose(row, answer(alone, name, batch[index : index + 1])[0], atol=1e-6)
    assert bank.current is None


def test_the_surest_task_is_guessed():
    bank = Bank(small())
    for name, sharpness in (("sure", 50.0), ("unsure", 0.01)):
        head = linear_head(6, 3, seed=0)
        with torch.no_grad():
            head.weight.mul_(sharpness)
        bank.take(name, adapted(seed=1), head=head)
    found = bank.guess(images())
    assert list(found) == ["sure", "unsure"]
    assert 0 <= found["sure"] < found["unsure"] <= 1 + 1e-6


def test_a_task_costs_one_bit_per_weight_with_its_state_and_head():
    bank = Bank(small())
    bank.put("bare", adapted().masks())
    assert bank.tasks["bare"].bytes == sum(-(-p.numel() // 8) for name, p in small().named_parameters() if p.dim() > 1)
    bank.take("whole", adapted(), head=linear_head(6, 3, seed=0))
    state = sum(v.numel() * v.element_size() for v in small().buffers())
    assert bank.tasks["whole"].bytes == bank.tasks["bare"].bytes + state + 4 * (18 + 3)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_combinations_follow_their_definition(seeds):
    bank = Bank(small())
    names = [str(k) for k in range(len(seeds))]
    for name, seed in zip(names, seeds, strict=True):
        bank.put(name, adapted(seed=seed, density=0.6).masks())
    stacked = {key: torch.stack([bank.masks(name)[key] for name in names]) for key in bank.masks("0")}
    for key, all_masks in stacked.items():
        assert torch.equal(bank.union(names)[key], all_masks.any(0))
        assert torch.equal(bank.intersection(names)[key], all_masks.all(0))
        assert torch.equal(bank.vote(names)[key], 2 * all_masks.sum(0) >= len(names))


def test_tasks_of_a_bank_are_compared_on_its_backbone_whichever_is_in_use(filled):
    bank, alone = filled
    first, second = (alone[name][0] for name in ("task1", "task2"))
    bank.use("task1")
    assert bank.similarity("task1", "task2") == similarity(first.masks(), second.masks(), first.frozen())
    assert bank.similarity("task3", "task3").corrected == 1


def test_a_combination_is_a_task_again(filled):
    bank, alone = filled
    bank.put("both", bank.union(["task1", "task2"]))
    with bank.using("both") as model:
        kept = (alone["task1"][0].masks()["0.weight"] | alone["task2"][0].masks()["0.weight"]) & (
            small()[0].weight != 0
        )
        assert torch.equal(model[0].weight != 0, kept)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_weights_of_every_type_and_layout_are_masked_in_place(dtype, layout):
    model = nn.Conv2d(7, 5, 3).to(dtype=dtype, memory_format=layout)
    with torch.no_grad():
        model.weight[0, 0, 0, :2] = torch.tensor([-0.0, float("nan")])
    theta, held = model.weight.detach().clone(), model.weight.data_ptr()
    on = torch.rand(theta.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    bank = Bank(model)
    bank.put("task", {"weight": on})
    bank.use("task")
    expected = torch.where(on, theta, torch.zeros((), dtype=dtype))
    assert torch.equal(model.weight.nan_to_num(9.0), expected.nan_to_num(9.0))
    assert model.weight.data_ptr() == held
    assert model.weight.is_contiguous(memory_format=layout)


@given(st.lists(st.lists(st.integers(1, 9), max_size=4).map(tuple), min_size=1, max_size=4), st.integers(0, 2**32))
def test_packing_masks_loses_nothing(shapes, seed):
    g = torch.Generator().manual_seed(seed)
    tensors = {str(k): torch.randn(shape, generator=g) for k, shape in enumerate(shapes)}
    plan = Plan(tensors)
    masks = {name: torch.rand(t.shape, generator=g) < 0.5 for name, t in tensors.items()}
    packed = plan.pack(masks)
    assert packed.nbytes == sum(-(-t.numel() // 8) for t in tensors.values())
    assert all(torch.equal(value, masks[name]) for name, value in plan.unpack(packed).items())


def test_what_does_not_fit_the_bank_is_refused(filled, tmp_path):
    bank, alone = filled
    with pytest.raises(ValueError, match="must be new"):
        bank.put("task1", alone["task1"][0].masks())
    with pytest.raises(ValueError, match="must be in the bank"):
        bank.use("nonsense")
    with pytest.raises(ValueError, match="mask the same tensors"):
        bank.put("fewer", {"0.weight": torch.ones(8, 3, 3, 3, dtype=torch.bool)})
    with pytest.raises(ValueError, match="must fit the backbone"):
        bank.put("other", {"0.weight": torch.ones(3, 3, dtype=torch.bool)})
    with pytest.raises(MaskFileError, match="fingerprint"):
        Bank(small(seed=4)).add("foreign", tmp_path / "1")
    with pytest.raises(ValueError, match="every image needs a task"):
        bank.mixed(images(2), ["task1"])


def test_a_removed_task_is_gone_and_the_backbone_free(filled):
    bank, _ = filled
    bank.use("task1")
    bank.remove("task1")
    assert "task1" not in bank.tasks
    assert torch.equal(bank.model[0].weight, small()[0].weight)


def pairs(seed, n=4000, density=0.9):
    g = torch.Generator().manual_seed(seed)
    return {"a": torch.rand(n, generator=g) < density, "b": torch.rand(n // 2, generator=g) < 0.5}


def test_independent_masks_are_at_chance_and_equal_ones_at_the_top():
    scores = [similarity(pairs(seed), pairs(seed + 100)).z for seed in range(40)]
    assert abs(np.mean(scores)) < 0.6
    assert 0.6 < np.std(scores) < 1.5
    same = similarity(pairs(0), pairs(0))
    assert same.jaccard == same.corrected == 1
    assert same.z > 50


def test_the_null_model_is_that_of_drawing_without_replacement():
    first, second = {"a": torch.arange(10) >= 3}, {"a": torch.arange(10) >= 4}
    g, drawn = np.random.default_rng(0), []
    for _ in range(4000):
        drawn.append(len(set(g.permutation(10)[:3]) & set(range(4))))
    found = similarity(first, second)
    assert (found.both, found.either, found.most) == (3, 4, 3)
    assert found.expected == pytest.approx(1.2)
    assert found.expected == pytest.approx(np.mean(drawn), abs=0.05)
    assert found.deviation == pytest.approx(np.std(drawn), abs=0.05)


def test_what_magnitude_alone_explains_is_no_similarity():
    """Both masks prefer large weights and have nothing else in common."""
    g = torch.Generator().manual_seed(0)
    theta = {"a": torch.randn(40_000, generator=g)}
    first, second = ({"a": theta["a"].abs() * torch.rand(40_000, generator=g) < 1.0} for _ in range(2))
    assert similarity(first, second).z > 20
    assert abs(similarity(first, second, theta).corrected) < 0.1 < similarity(first, second).corrected


@given(st.integers(0, 99), st.sampled_from([0.0, 0.3, 1.0]))
def test_similarity_is_symmetric_and_bounded(seed, density):
    first, second = pairs(seed, 60, density), pairs(seed + 1, 60)
    found = similarity(first, second)
    assert found == similarity(second, first)
    assert 0 <= found.jaccard <= 1
    assert found.corrected <= 1
    assert found.both <= found.most <= found.either or found.most == 0


def test_masks_of_other_tensors_cannot_be_compared():
    with pytest.raises(ValueError, match="same tensors"):
        similarity(pairs(0), {"a": pairs(0)["a"]})


def partly_masked(width=8):
    """A bank of two tasks that mask the first of three layers; the last is frozen, and as large as is asked for."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, width)).eval()
    bank = Bank(model)
    for seed, name in enumerate(("one", "two")):
        on = torch.rand(8, 3, 3, 3, generator=torch.Generator().manual_seed(seed)) > 0.3
        bank.put(name, {"0.weight": on})
    return bank


EDITS = {
    "scaled": lambda data: data.mul_(1.5),
    "noisy": lambda data: data.add_(torch.linspace(-0.1, 0.1, data.numel()).view(data.shape)),
    "loaded": lambda data: data.copy_(torch.ones_like(data)),
    "pruned": lambda data: data[::2].zero_(),
    "broken": lambda data: data.fill_(torch.nan),
}


@pytest.mark.parametrize("width", [8, 20_000])
@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", ["1.weight", "1.bias", "3.weight", "3.bias"])
@pytest.mark.parametrize("in_use", [False, True])
def test_an_edit_through_data_that_no_switch_repairs_is_refused(width, edit, name, in_use):
    bank = partly_masked(width)
    if in_use:
        bank.use("one")
    there = bank.model.get_parameter(name)
    before = there.detach().clone()
    EDITS[edit](there.data)
    if torch.equal(there, before):  # such as every second zero of zeros
        return
    with pytest.raises(ValueError, match=f"must keep its weights; '{name}' was loaded, trained or edited"):
        bank.use("two")
    bank.release()
    assert torch.equal(there, before)
    bank.use("two")


@pytest.mark.parametrize("width", [8, 20_000])
def test_one_number_edited_through_data_is_seen_in_a_small_tensor_and_may_stay_in_a_large_one(width):
    bank = partly_masked(width)
    bank.use("one")
    bank.model[3].weight.data[1, 1] += 1.0
    if width == 8:
        with pytest.raises(ValueError, match="must keep its weights"):
            bank.use("two")
    else:  # the limit that the class and the page on reliability tell of
        bank.use("two")
        with torch.no_grad():
            bank.model[3].weight[0, 0] += 1.0  # torch counts this one, so that all of it is compared
        with pytest.raises(ValueError, match="must keep its weights"):
            bank.use("one")


def test_an_edit_through_data_of_a_masked_weight_is_repaired_by_the_next_switch():
    bank = partly_masked()
    wanted = bank.use("one")[0].weight.detach().clone()
    bank.model[0].weight.data.mul_(3.0)
    bank.use("one")
    assert torch.equal(bank.model[0].weight, wanted)


def test_a_backbone_with_numbers_that_are_none_is_switched_as_before():
    model = small()
    with torch.no_grad():
        next(p for p in model.parameters() if p.dim() == 1)[0] = torch.nan
    bank = Bank(model)
    bank.put("one", adapted().masks())
    bank.use("one")
    bank.use("one")


WRONG_STATE = {
    "a list": [0.0] * 6,
    "an array": np.zeros(6, dtype=np.float32),
    "sparse": torch.zeros(6).to_sparse(),
    "complex": torch.zeros(6, dtype=torch.complex64),
    "whole numbers": torch.zeros(6, dtype=torch.int64),
    "on the meta device": torch.zeros(6, device="meta"),
    "boolean": torch.zeros(6, dtype=torch.bool),
}


@pytest.mark.parametrize("what", WRONG_STATE)
def test_a_state_of_other_things_than_plain_numbers_is_refused(filled, what):
    bank, alone = filled
    masks, name = alone["task1"][0].masks(), next(key for key in small().state_dict() if key.endswith("running_mean"))
    value = WRONG_STATE[what]
    with pytest.raises(ValueError, match=f"plain numbers, .*; '{name}' is .*; pass such as torch.tensor"):
        bank.put("wrong", masks, state={name: value})
    assert set(bank.tasks) == {"task1", "task2", "task3"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"state": [1]}, "state must be tensors by name; got list"),
        ({"masks": ["a"]}, "masks must be tensors by name; got list"),
        ({"classes": None}, "classes must be a list of names; got None; put them into a list"),
        ({"classes": 3}, "classes must be a list of names; got 3"),
        ({"classes": {"a", "b"}}, "classes must be a list of names"),
        ({"classes": iter("ab")}, "classes must be a list of names"),
    ],
)
def test_what_is_no_list_or_has_no_names_is_refused(filled, given, said):
    bank, alone = filled
    with pytest.raises(ValueError, match=said):
        bank.put("wrong", **({"masks": alone["task1"][0].masks()} | given))
    assert "wrong" not in bank.tasks


@pytest.mark.parametrize("tasks", [None, 3, "task1"])
def test_what_is_no_list_of_tasks_is_refused(filled, tasks):
    bank, _ = filled
    with pytest.raises(ValueError, match="tasks must be a list of names; got"):
        bank.mixed(images(2), tasks)
    with pytest.raises(ValueError, match="tasks must be a list of names; got"):
        bank.union(tasks)
    if tasks is not None:
        with pytest.raises(ValueError, match="tasks must be a list of names; got"):
            bank.guess(images(2), tasks)


class Extra(nn.Linear):
    def get_extra_state(self):
        return {"a": 1}

    def set_extra_state(self, state):
        pass


def made_in_inference_mode():
    with torch.inference_mode():
        return nn.Linear(3, 3)


def of_one_memory():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = nn.Parameter(model[0].weight.data)
    return model


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.Linear(3, 3, device="meta"), "is on the meta device"),
        (lambda: nn.LazyLinear(3), "is lazy"),
        (made_in_inference_mode, "was made in inference mode"),
        (lambda: Extra(3, 3), "'_extra_state' is none"),
        (of_one_memory, "are two over the same"),
    ],
)
def test_a_backbone_that_holds_no_numbers_of_its_own_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        Bank(make())
