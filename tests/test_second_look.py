"""What a hostile user found after the bank and the mask file had learnt to look: caches, threads, loads, schedules."""

import copy
import math
import pickle
import threading
from types import SimpleNamespace

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from submasking import Bank, Shelf, find_lr, hub, mask, maskfile, recalibrate
from submasking.commands.cli import main
from submasking.masking.modes import evaluated
from submasking.tasks import answer
from submasking.tasks.bank import Turns
from submasking.tasks.rounding import round_off

IMAGES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
LIKE = {"size": 12}


class Net(nn.Module):
    """A small network with a norm."""

    def __init__(self, norm=nn.BatchNorm2d, classes=0):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.second = nn.Conv2d(3, 8, 3), norm(8), nn.Conv2d(8, 16, 3)
        self.fc = nn.Linear(16, classes) if classes else nn.Identity()

    def forward(self, images):
        return self.fc(self.second(self.norm(self.first(images)).relu()).mean((2, 3)))


class Keeping(Net):
    """Keeps in eval mode what it has made of a weight, as attention in several networks of timm does its biases."""

    def __init__(self):
        super().__init__()
        self.kept = {}

    def train(self, mode=True):
        if mode:
            self.kept = {}
        return super().train(mode)

    def forward(self, images):
        made = self.second.weight.sum((1, 2, 3)) if self.training else self.kept.get("made")
        if made is None:
            made = self.kept["made"] = self.second.weight.sum((1, 2, 3))
        return super().forward(images) * made


class Moving(nn.BatchNorm2d):
    """Takes the statistics of each batch, in eval mode, too, and follows them."""

    def forward(self, images):
        return nn.functional.batch_norm(images, self.running_mean, self.running_var, self.weight, self.bias, True, 0.1)


def task(path, model, seed=1, **more):
    masking = mask(model, "weights")
    random = torch.Generator().manual_seed(seed)
    masks = {name: torch.rand(on.shape, generator=random) < 0.7 for name, on in masking.masks().items()}
    masking.load_masks(masks)
    return maskfile.save(path, masking, preprocessing=LIKE, **more), masking


@pytest.mark.parametrize("make", [Keeping, lambda: timm.create_model("test_vit", num_classes=0, img_size=64)])
def test_what_a_network_keeps_of_its_weights_is_never_another_task_s(tmp_path, make):
    images = IMAGES if make is Keeping else torch.randn(2, 3, 64, 64)
    torch.manual_seed(1)
    model = make().eval()
    plain = copy.deepcopy(model)
    files = [task(tmp_path / str(seed), copy.deepcopy(model), seed)[0] for seed in (1, 2)]
    alone = [file.apply(copy.deepcopy(plain)).bake().eval()(images) for file in files]
    untouched = plain(images)
    model(images)  # from here on something is kept
    bank = Bank(model)
    for name, file in zip("ab", files, strict=True):
        bank.add(name, file)
    assert torch.equal(model(images), untouched)
    for name, wanted in zip("ab", alone, strict=True):
        assert torch.equal(bank.use(name)(images), wanted)
        assert torch.equal(bank.logits(name, images), wanted)
    assert torch.equal(bank.release()(images), untouched)
    masking = files[0].apply(model)
    assert torch.equal(model(images), alone[0])
    masking.load_masks(files[1].masks(masking.frozen()))
    assert torch.equal(model(images), alone[1])
    assert torch.equal(masking.unbake()(images), untouched)


def test_a_refused_task_leaves_what_is_kept_as_it_was(tmp_path):
    file, _ = task(tmp_path / "task", Keeping())
    other = Keeping().eval()
    other.norm.eps = 3.0
    before = other(IMAGES)
    with pytest.raises(maskfile.MaskFileError, match="same tensors"):
        file.apply(other)
    assert torch.equal(other(IMAGES), before)


def test_a_network_whose_statistics_move_in_eval_mode_is_only_looked_at(tmp_path):
    masking = mask(Net(Moving), "weights")
    before = copy.deepcopy(masking.model.state_dict())
    file = maskfile.save(tmp_path / "task", masking, preprocessing=LIKE)
    assert file.backbone["said"]
    assert all(torch.equal(value, before[name]) for name, value in masking.model.state_dict().items())
    known = copy.deepcopy(file.state)
    model = Net(Moving)
    bank = Bank(copy.deepcopy(model))
    bank.add("a", file)
    bank.add("b", file)
    file.apply(model)
    assert all(torch.equal(value, known[name]) for name, value in file.state.items())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items() if name in before)
    for name, value in bank.tasks["a"].state.items():
        assert torch.equal(value, bank.tasks["b"].state[name])


def test_hooks_that_collect_features_see_one_picture_more(tmp_path):
    model, seen = Net(), []
    masking = mask(model, "weights")
    model.register_forward_hook(lambda module, given, found: seen.append(len(found)))
    maskfile.save(tmp_path / "task", masking, preprocessing=LIKE)
    assert len(seen) == 1


def test_a_forward_that_computes_in_another_type_is_the_module_s_own(tmp_path):
    """As accelerate leaves it on a model that was prepared for bfloat16."""
    model = Net()
    masking = mask(model, "weights")
    file = maskfile.save(tmp_path / "plain", masking, preprocessing=LIKE)
    model._original_forward = model.forward

    def rounded(images):
        with torch.autocast("cpu", torch.bfloat16):
            return model._original_forward(images) * 1.5  # far more than any rounding

    model.forward = rounded
    again = maskfile.save(tmp_path / "task", masking, preprocessing=LIKE)
    assert again.backbone["said"] == file.backbone["said"]
    again.apply(Net())


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "efficientnet_b0", "regnetx_002"])
def test_rounding_to_bfloat16_is_no_other_network_and_another_activation_is(name):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0).eval()
    known = answer._seen(model, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = model(answer.picture(64))
    width = features.shape[1]
    rounded = answer._noise(answer.KEPT * width).reshape(answer.KEPT, width).sign() @ features[0].double()
    assert float((rounded - known).norm() / known.norm()) < answer.APART_HALF / 2
    for module in model.modules():
        for key, child in list(module.named_children()):
            if isinstance(child, nn.ReLU | nn.SiLU | nn.Hardswish):
                setattr(module, key, nn.Tanh())
    assert not answer._close(answer._seen(model, 64), known, model)


@pytest.mark.parametrize("change", [lambda model: model, lambda model: model.bfloat16(), lambda model: model.double()])
def test_a_bank_asks_after_a_cast_and_of_a_masked_copy_too(tmp_path, change):
    other = Net()
    other.norm.eps = 3.0
    masking = mask(other, "weights")
    other.pretrained_cfg = {"input_size": (3, 12, 12)}
    file = maskfile.save(tmp_path / "task", masking)
    model = Net()
    bank = Bank(model)
    change(model)
    with pytest.raises(maskfile.MaskFileError, match="same tensors"):
        bank.add("task", file)
    with pytest.raises(ValueError, match="same tensors"):
        bank.take("task", masking)
    assert not bank.tasks


def test_threads_take_turns():
    model = Net()
    bank = Bank(model)
    masks = {seed: task_masks(seed) for seed in range(3)}
    for seed, each in masks.items():
        bank.put(str(seed), each)
    wanted = {name: bank.logits(name, IMAGES) for name in bank.tasks}
    wrong = []

    def ask(name):
        for _ in range(20):
            if not torch.equal(bank.logits(name, IMAGES), wanted[name]):
                wrong.append(name)
            with bank.using(name) as used, evaluated(used), torch.no_grad():
                if not torch.equal(used(IMAGES), wanted[name]):
                    wrong.append(name)

    threads = [threading.Thread(target=ask, args=(name,)) for name in bank.tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    again = pickle.loads(pickle.dumps(copy.deepcopy(bank)))
    assert torch.equal(again.logits("1", IMAGES), wanted["1"])
    assert isinstance(again._lock, Turns)
    assert again._lock is not bank._lock


def task_masks(seed):
    random = torch.Generator().manual_seed(seed)
    return {
        f"{name}.weight": torch.rand(getattr(Net(), name).weight.shape, generator=random) < 0.8
        for name in ("first", "second")
    }


@given(st.booleans())
def test_a_bank_answers_in_eval_mode_and_leaves_the_modes(train):
    model = Net().train(train)
    model.norm.eval()
    bank = Bank(model)
    bank.put("task", task_masks(1))
    whole = bank.logits("task", IMAGES)
    assert torch.allclose(bank.logits("task", IMAGES[:1]), whole[:1], atol=1e-5)
    assert model.training == train
    assert not model.norm.training
    assert all(
        torch.equal(value, Net().state_dict()[name]) for name, value in model.state_dict().items() if "norm" in name
    )


def test_guessing_asks_for_two_logits_and_finite_ones():
    bank = Bank(Net())
    bank.put("ten", task_masks(1), head=nn.Linear(16, 10))
    bank.put("one", task_masks(2), head=nn.Linear(16, 1))
    with pytest.raises(ValueError, match=r"two an image at least, .*; 'one' gives shape \(4, 1\); leave it out"):
        bank.guess(IMAGES)
    with pytest.raises(ValueError, match="'ten' gives nan or inf"):
        bank.guess(IMAGES * math.nan, ["ten"])
    with pytest.raises(ValueError, match="got an empty batch"):
        bank.guess(IMAGES[:0], ["ten"])
    assert list(bank.guess(IMAGES, ["ten"])) == ["ten"]


class Several(Net):
    def forward(self, images):
        return (super().forward(images),)


def test_a_network_that_gives_no_tensor_is_said():
    bank = Bank(Several())
    bank.put("task", task_masks(1))
    with pytest.raises(ValueError, match="must give a tensor, of features or logits; it gives a tuple"):
        bank.logits("task", IMAGES)


def loss(model, head=None):
    found = model(IMAGES)
    return nn.functional.cross_entropy(found if head is None else head(found), torch.arange(4))


def test_looking_for_a_rate_leaves_no_gradient():
    model, head = Net(), nn.Linear(16, 4)
    masking = mask(model, "weights")
    loss(model, head).backward()
    parameters = [*model.parameters(), *head.parameters()]
    before = [None if each.grad is None else each.grad.clone() for each in parameters]
    find_lr(masking, lambda: loss(model, head).backward(), flip_rate=0.01, steps=3, also=head)
    for parameter, gradient in zip(parameters, before, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)


def test_a_part_of_a_checkpoint_says_nothing_of_the_backbone(tmp_path):
    model = Net(classes=3)
    masking = mask(model)
    optimizers = masking.optimizers(lr=50.0)
    for _ in range(3):
        nn.functional.cross_entropy(model(IMAGES), torch.arange(4) % 3).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    part = {name: value for name, value in model.state_dict().items() if name.startswith(("norm.running", "fc"))}
    part = {name: value for name, value in part.items() if "_" not in name.rpartition(".")[2] or "running" in name}
    fresh = Net(classes=3)
    again = mask(fresh)
    again.load_masks(masking.masks())
    fresh.load_state_dict(part, strict=False)
    assert torch.equal(fresh.eval()(IMAGES), model.eval()(IMAGES))
    maskfile.save(tmp_path / "task", again).apply(plain := Net(classes=3))
    assert torch.equal(plain.eval()(IMAGES), model(IMAGES))
    assert all(
        torch.equal(value, Net(classes=3).state_dict()[name]) for name, value in again.unbake().state_dict().items()
    )


@pytest.mark.parametrize("strict", [True, False])
def test_a_baked_checkpoint_is_no_backbone(strict):
    model = Net()
    masking = mask(model, "weights")
    masking.load_masks({name: task_masks(1).get(name, on) for name, on in masking.masks().items()})
    baked = {name: value.clone() for name, value in copy.deepcopy(model).state_dict().items()}
    baked = {name: value for name, value in baked.items() if name in Net().state_dict()}
    before = {name: value.clone() for name, value in masking.frozen().items()}
    with pytest.raises(
        ValueError, match=r"must be a backbone; this is the one that is here with \d+ weights switched off"
    ):
        model.load_state_dict(baked, strict=strict)
    assert all(torch.equal(value, before[name]) for name, value in masking.frozen().items())
    torch.manual_seed(5)
    other = {name: torch.randn_like(value) if "weight" in name else value for name, value in baked.items()}
    other["first.weight"][0] = 0.0  # a backbone may hold nought, too
    model.load_state_dict(other, strict=False)
    assert torch.equal(masking.frozen()["first.weight"], other["first.weight"])


@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize("in_backward", [False, True])
def test_weights_that_were_put_in_past_the_model_s_own_load_are_not_undone_in_silence(attached, in_backward):
    if attached and in_backward:
        return
    model = Net()
    masking = mask(model, "weights")
    optimizer = (
        masking.attach(torch.optim.SGD(masking.scores().values(), lr=0.1))
        if attached
        else masking.optimizer(lr=0.1, in_backward=in_backward)
    )
    with torch.no_grad():
        model.second.weight.copy_(torch.randn_like(model.second.weight))
    there = model.second.weight.clone()

    def step():
        loss(model).backward()
        optimizer.step()

    with pytest.raises(ValueError, match=r"others were written into 'second\.weight' since, which a step would undo"):
        step()
    assert torch.equal(model.second.weight, there)


def test_two_steps_of_sam_and_the_same_numbers_again_are_let_pass():
    model = Net()
    masking = mask(model, "weights")
    optimizer = masking.optimizer(lr=500.0)
    for _ in range(3):
        loss(model).backward()
        aside = [(each, 0.05 * each.grad / each.grad.norm()) for each in model.parameters() if each.grad is not None]
        with torch.no_grad():
            for parameter, by in aside:
                parameter.add_(by)
        model.zero_grad()
        loss(model).backward()
        with torch.no_grad():
            for parameter, by in aside:
                parameter.sub_(by)
                parameter.copy_(parameter.clone())
        optimizer.step()
        optimizer.zero_grad()
    assert masking.sparsity() > 0
    assert not masking.inexact()


def test_the_state_of_other_parameters_is_refused_before_anything_changes():
    first, second = Net(), Net()
    one = mask(first, lambda name, parameter: "mask" if name == "first.weight" else "freeze").optimizer(lr=1.0)
    masking = mask(second, lambda name, parameter: "mask" if name == "second.weight" else "freeze")
    two = masking.optimizer(lr=1.0)
    loss(first).backward()
    one.step()
    before = copy.deepcopy(two.state_dict())
    with pytest.raises(
        ValueError, match=r"must be of the same masked parameters; that of 'second\.weight', number 0, is"
    ):
        two.load_state_dict(one.state_dict())
    assert two.state_dict() == before


@pytest.mark.parametrize("lr", [math.nan, math.inf, -1.0])
def test_a_rate_that_a_schedule_has_spoilt_stops_the_step(lr):
    masking = mask(Net(), "weights")
    optimizer = masking.optimizer(lr=1.0)
    optimizer.param_groups[0]["lr"] = lr
    loss(masking.model).backward()
    with pytest.raises(ValueError, match=r"lr must be finite, not negative; got .*; look at the schedule"):
        optimizer.step()
    assert all((scores == 1).all() for scores in masking.scores().values())


def test_classes_with_numbers_are_no_list(tmp_path):
    masking = mask(Net(classes=2))
    with pytest.raises(ValueError, match="in the order of the outputs; got a dict; pass such as sorted"):
        maskfile.save(tmp_path / "task", masking, classes={"dog": 1, "cat": 0})


def test_a_name_that_came_into_the_bank_past_a_shelf_is_refused(tmp_path):
    for folder in ("one", "two"):
        for seed, name in enumerate(("cats", "dogs")):
            (tmp_path / folder).mkdir(exist_ok=True)
            task(tmp_path / folder / f"{name}.safetensors", Net(), seed)
    (tmp_path / "one" / "._cats.safetensors").write_bytes(b"of another system")
    bank = Bank(Net())
    one, two = Shelf(bank, tmp_path / "one", held=1), Shelf(bank, tmp_path / "two")
    assert set(one.files) == {"cats", "dogs"}
    one.use("cats")
    with pytest.raises(ValueError, match="'cats' came into the bank past this shelf"):
        two.use("cats")
    mine = task(tmp_path / "mine", Net(), 7)[0]
    bank.add("dogs", mine)
    with pytest.raises(ValueError, match="'dogs' came into the bank past this shelf"):
        one.use("dogs")
    assert set(bank.tasks) == {"cats", "dogs"}
    bank.remove("dogs")
    one.use("dogs")
    assert set(bank.tasks) == {"dogs"}


@pytest.mark.parametrize("held", [0, 2.5, "3", math.nan, True])
def test_a_shelf_holds_a_whole_number(tmp_path, held):
    task(tmp_path / "cats.safetensors", Net())
    with pytest.raises(ValueError, match="held must be a whole number"):
        Shelf(Bank(Net()), tmp_path, held=held)


def test_sharing_replaces_no_other_task_that_was_never_shared(tmp_path):
    file, _ = task(tmp_path / "a", Net())
    (tmp_path / "out").mkdir()
    task(tmp_path / "out" / hub.FILE, Net(), 5)
    before = (tmp_path / "out" / hub.FILE).read_bytes()
    with pytest.raises(ValueError, match=r"is another and has no README\.md beside it; name a new folder"):
        hub.export(tmp_path / "a", tmp_path / "out")
    assert (tmp_path / "out" / hub.FILE).read_bytes() == before
    hub.export(tmp_path / "a", tmp_path / "new")
    hub.export(tmp_path / "out" / hub.FILE, tmp_path / "new")  # what was shared before is replaced
    assert (tmp_path / "new" / hub.FILE).read_bytes() == before
    assert file.shapes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-p", "profile", "../x"], "profile must be one of"),
        (["-p", "profile", "tiny", "-p", "profile", "smoke"], "'profile' is there twice"),
    ],
)
def test_a_parameter_that_is_wrong_makes_no_folder(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path / "results"))
    assert main(["run", "label_sparsity", *words]) == 1
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_model_with_slashes_names_no_folder():
    from submasking.experiments import notebooks

    path = notebooks.output_path("label_sparsity", {"model": "../../evil"})
    assert path.parent.name == "notebooks"
    assert path.name.startswith("label_sparsity-.._.._evil-")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda model, masking: mask(torch.jit.script(nn.Linear(2, 2))), "is a TorchScript program; mask the module"),
        (lambda model, masking: Bank(Net()).take("a", model), "the handle of a masked model is needed; got Net"),
        (lambda model, masking: round_off(model), "the handle of a masked model is needed; got Net"),
        (lambda model, masking: Bank(Net()).add("a", masking), "a task is added as a file; got Masking"),
        (lambda model, masking: maskfile.save("x", model.state_dict()), "model must be a torch.nn.Module; got"),
        (lambda model, masking: masking.optimizers(also=[nn.Linear(2, 2)]), "also must be a module, such as a head"),
        (lambda model, masking: masking.optimizers(trained_lr="0.1"), "must be numbers; got '0.1'"),
        (lambda model, masking: recalibrate(model, [(IMAGES, torch.arange(4))]), "got a tuple of images and labels"),
        (lambda model, masking: maskfile.save("x", masking, score={"a": 10**400}), "a score must be a finite number"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
def test_what_is_passed_in_place_of_another_thing_is_told_in_a_line(call, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = Net()
    with pytest.raises(ValueError, match=said):
        call(model, mask(model, "weights"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "config",
    [None, "a text", {"input_size": None}, SimpleNamespace(input_size=(3, 12, 12)), {"input_size": (3, 12, 12)}, {}],
)
def test_what_a_network_says_of_its_pictures_is_taken_as_far_as_it_goes(tmp_path, config):
    model = Net()
    model.pretrained_cfg = config
    file = maskfile.save(tmp_path / "task", mask(model, "weights"))
    known = getattr(config, "input_size", config.get("input_size") if isinstance(config, dict) else None)
    assert file.backbone["said"]["size"] == (12 if known else 64)


def test_a_masked_network_in_double_precision_is_still_its_masks(tmp_path):
    model = Net()
    masking = mask(model, "weights", rescale="variance")
    masking.load_masks({name: task_masks(1).get(name, on) for name, on in masking.masks().items()})
    model.double()
    assert not masking.inexact()
    maskfile.save(tmp_path / "task", masking)
    masking.bake()


def test_a_task_is_laid_on_by_the_handle_as_well(tmp_path):
    file, masking = task(tmp_path / "task", Net())
    handle = mask(Net(), "weights")
    assert file.apply(handle) is handle
    assert torch.equal(handle.model.eval()(IMAGES), masking.model.eval()(IMAGES))


def test_norms_that_were_emptied_are_no_task(tmp_path):
    model = Net().train()
    model(IMAGES)
    masking = mask(model, "weights", norms="freeze")
    torch.optim.swa_utils.update_bn([IMAGES], model)
    with pytest.raises(ValueError, match=r"1 norms, first 'norm\.running_var', have statistics of 0 and 1"):
        maskfile.save(tmp_path / "task", masking)
    recalibrate(model, [IMAGES])
    maskfile.save(tmp_path / "task", masking)
    fresh = Net()  # whose statistics are of 0 and 1 from the start
    maskfile.save(tmp_path / "task", mask(fresh, "weights", norms="freeze"))


def test_scores_that_were_loaded_have_another_start_than_the_model_was_masked_with(tmp_path):
    first = Net()
    mask(first, "weights", init="squared")
    second = Net()
    masking = mask(second, "weights")
    second.load_state_dict(first.state_dict())
    assert maskfile.save(tmp_path / "task", masking).init == ""
