"""Whole trajectories of random networks, data, optimizers and schedules: test_hypothesis_<label of the theorem>."""

import re
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, find, given, settings
from hypothesis import strategies as st
from references_invariance import Network
from references_notation import nameless, unexplained, unknown_names

import submasking
from submasking import Threshold, TopK
from submasking.experiments import invariance
from submasking.experiments.invariance import (
    INVARIANCES,
    ROWS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    RMSprop,
    Setup,
    canonical,
    convert,
    equivalent,
    needed,
    scale,
    trajectory,
    translate,
    with_lr,
)
from submasking.experiments.invariance import verdicts as verdict_tables
from submasking.experiments.invariance.rules import clipped, root

SGD_ROWS = [row for row in ROWS if "thm-translation" in row.theorems]
SGD_LIKE = [row for row in ROWS if isinstance(row.rule, SGD)]
MOVED = "translation, $\\kappa$ moved"
ADAPTIVE_ROWS = [row for row in ROWS if "thm-adaptive" in row.theorems]
positive = st.fractions(min_value=Fraction(1, 16), max_value=16, max_denominator=16)
shifts = st.fractions(min_value=-8, max_value=8, max_denominator=16)
dyadic = st.integers(-8, 8).map(lambda number: Fraction(number, 4))
shares = st.integers(0, 7).map(lambda number: Fraction(number, 8))
multipliers = st.lists(st.integers(0, 4).map(lambda number: Fraction(number, 4)), min_size=1, max_size=4)


def search(strategy, condition):
    """A case that fulfils the condition, always the same one; how small it is does not matter."""
    limits = settings(
        max_examples=20_000, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    return find(strategy, condition, settings=limits, random=Random(0))


def arrays(*shape, values=dyadic):
    size = int(np.prod(shape))
    return st.lists(values, min_size=size, max_size=size).map(
        lambda found: np.array(found, dtype=object).reshape(shape)
    )


@st.composite
def networks(draw, steps=4):
    inputs, hidden, features, images = (draw(st.integers(1, 2)) for _ in range(4))
    batch = st.tuples(arrays(images, inputs), arrays(images))
    return Network(
        first=draw(arrays(hidden, inputs)),
        second=draw(arrays(features, hidden)),
        head=draw(arrays(features)),
        batches=tuple(draw(st.lists(batch, min_size=steps, max_size=steps))),
        head_lr=draw(st.sampled_from([Fraction(0), Fraction(1, 16)])),
        rescale=draw(st.booleans()),
    )


@st.composite
def rules(draw, rows):
    """A rule of one of the rows with its learning rate, decay and other hyper-parameters drawn."""
    row = draw(st.sampled_from(rows))
    rule, values = row.rule, {"lr": draw(positive), row.decay: draw(positive)}
    for name in ("momentum", "dampening", "beta1", "beta2", "smoothing"):
        if getattr(rule, name, 0):
            values[name] = draw(shares)
    for name in ("eps", "max_norm"):
        if getattr(rule, name, None):
            values[name] = draw(positive)
    if isinstance(rule, RMSprop):
        values |= {"centered": draw(st.booleans()), "momentum": draw(shares)}
    if isinstance(rule, Adagrad):
        values["lr_decay"] = draw(shares)
    return row, replace(rule, **values)


@st.composite
def runs(draw, rows=SGD_ROWS, decay=False):
    """Row of the table, setup, network, schedule."""
    row, rule = draw(rules(rows))
    if not decay:
        rule = replace(rule, **{row.decay: Fraction(0)})
    network = draw(networks())
    start = draw(st.one_of(dyadic.map(lambda value: np.full(network.size, value)), arrays(network.size)))
    return row, Setup(rule, start, draw(dyadic)), network, draw(multipliers)


def above_or_equal(score, threshold):
    return score >= threshold


def largest_half(score, threshold):
    """The mask of the larger half; of equal scores the first wins."""
    order = sorted(range(len(score)), key=lambda index: (-score[index], index))
    mask = np.zeros(len(score), dtype=bool)
    mask[order[: (len(score) + 1) // 2]] = True
    return mask


def same_masks(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one.masks, two.masks, strict=True))


def moved(setup, change):
    """The map of scores that belongs to a change of the setup."""
    return lambda score: change(replace(setup, start=score)).start


def check(run, change, criterion=invariance.above):
    """Both runs have the same masks at every step, and the scores differ by the change throughout."""
    _, setup, network, schedule = run
    other = change(setup)
    one, two = (trajectory(each, network, schedule, criterion) for each in (setup, other))
    assert same_masks(one, two)
    for score, changed in zip(one.scores, two.scores, strict=True):
        assert np.array_equal(moved(setup, change)(score), changed)


def changed(name, alpha, shift):
    return lambda setup: INVARIANCES[name](setup, alpha, shift)


def test_the_random_networks_switch_weights_off_and_on():
    def flips(run):
        _, setup, network, schedule = run
        masks = trajectory(setup, network, schedule).masks
        pairs = list(pairwise(masks))
        return any((a & ~b).any() for a, b in pairs) and any((~a & b).any() for a, b in pairs)

    search(runs(), flips)


@given(networks(), st.lists(st.integers(0, 255), min_size=4, max_size=4))
def test_hypothesis_lem_history(network, bits):
    """The gradient of torch's autograd, with a head trained step by step, is the function of the masks."""
    masks = [np.array([(number >> i) & 1 for i in range(network.size)], dtype=bool) for number in bits]
    found = network(masks)
    as_tensor = {name: torch.tensor(getattr(network, name).astype(float)) for name in ("first", "second", "head")}
    head = as_tensor["head"].requires_grad_()
    for mask, (images, targets) in zip(masks, network.batches, strict=True):
        m1, m2 = (
            torch.tensor(part.astype(float)).reshape(frozen.shape).requires_grad_()
            for part, frozen in zip(np.split(mask, [network.first.size]), (network.first, network.second), strict=True)
        )
        w1, w2 = (
            frozen * part / (part.mean().sqrt() if network.rescale and part.any() else (1 / part.numel()) ** 0.5
                             if network.rescale else 1)
            for frozen, part in ((as_tensor["first"], m1), (as_tensor["second"], m2))
        )  # fmt: skip
        x = torch.tensor(images.astype(float))
        output = (x @ w1.T).relu() @ w2.T
        loss = ((output.relu() @ head - torch.tensor(targets.astype(float))) ** 2).sum() / 2
        g1, g2, of_head = torch.autograd.grad(loss, (m1, m2, head))
        head = (head - float(network.head_lr) * of_head).detach().requires_grad_()
    wanted = torch.cat([g1.ravel(), g2.ravel()]).numpy()
    # a tensor that is wholly off has no gradient through alpha; the reference gives it the clamped one, which is 0
    np.testing.assert_allclose(found.astype(float), wanted, rtol=1e-9, atol=1e-9)


@given(arrays(6), dyadic, positive, shifts, st.sampled_from([invariance.above, above_or_equal, largest_half]))
def test_hypothesis_lem_order(scores, threshold, alpha, shift, criterion):
    mask = criterion(scores, threshold)
    assert np.array_equal(mask, criterion(alpha * scores + shift, alpha * threshold + shift))


@given(runs(ROWS), positive, shifts, st.sampled_from([above_or_equal, largest_half]))
def test_hypothesis_thm_induction(run, alpha, shift, criterion):
    """Also with the other convention for ties, and with top-k masks."""
    check(run, changed("affine", alpha, shift), criterion)


@given(runs(SGD_ROWS, decay=True), shifts)
def test_hypothesis_thm_translation(run, shift):
    """With weight decay; the constant decay takes up what the shift does to it."""
    check(run, changed(MOVED, None, shift))


@given(runs(SGD_ROWS, decay=True), positive)
def test_hypothesis_thm_scale(run, alpha):
    check(run, changed("scale, decay divided", alpha, None))


@given(runs(SGD_ROWS, decay=True), positive, shifts)
def test_hypothesis_thm_affine(run, alpha, shift):
    check(run, changed("affine", alpha, shift))


@given(runs([row for row in ROWS if row.decay == "constant_decay"], decay=True), positive, shifts, st.data())
def test_hypothesis_thm_constant_decay(run, alpha, shift, data):
    name = data.draw(st.sampled_from([MOVED, "scale, decay kept", "affine"]))
    check(run, changed(name, alpha, shift))


@pytest.mark.parametrize("row", ADAPTIVE_ROWS, ids=lambda row: row.name)
@given(st.data(), positive, shifts)
def test_hypothesis_thm_adaptive(row, data, alpha, shift):
    name = data.draw(st.sampled_from(list(INVARIANCES)))
    run = data.draw(runs([row], decay=needed(row, name) is None))
    check(run, changed(name, alpha, shift))


FAILS = [(row, name) for row in ROWS for name in INVARIANCES if needed(row, name)]
fails = pytest.mark.parametrize(("row", "name"), FAILS, ids=[f"{row.name}: {name}" for row, name in FAILS])


def differ(setups, gradient, schedule):
    return not same_masks(*(trajectory(setup, gradient, schedule) for setup in setups))


@fails
def test_hypothesis_thm_necessity(row, name):
    """hypothesis finds, among one-weight one-step runs with a constant gradient, one whose mask changes."""
    whole = st.integers(1, 16).map(Fraction)
    quarters = st.integers(-8, 8).map(lambda number: Fraction(number, 4))

    def setups(values):
        lr, decay, alpha, shift, _ = values
        rule = replace(row.rule, lr=lr, **{row.decay: decay})
        first = Setup(rule, np.array([Fraction(1)]), Fraction(0))
        return first, changed(name, alpha, shift)(first)

    def breaks(values):
        return differ(setups(values), lambda masks: np.array([values[-1]]), [1])

    strategy = st.tuples(whole, quarters.filter(lambda decay: decay > 0), whole, whole, quarters)
    found = search(strategy, breaks)
    without = replace(row.rule, lr=found[0])
    first = Setup(without, np.array([Fraction(1)]), Fraction(0))
    pair = (first, changed(name, *found[2:4])(first))
    assert not differ(pair, lambda masks: np.array([found[-1]]), [1])


@fails
def test_the_printed_counterexample_is_one_exactly_and_in_torch(row, name):
    example = verdict_tables.COUNTEREXAMPLES[row.decay, name]
    setups = example.setups(row, name)
    assert differ(setups, lambda masks: np.array([example.gradient]), [1])
    ends = []
    for setup in setups:
        score = torch.tensor([float(setup.start[0])], dtype=torch.float64)
        as_float = replace(setup.rule, **{key: float(v) for key, v in vars(setup.rule).items() if type(v) is Fraction})
        (after,) = real_steps(as_float, score, [torch.tensor([float(example.gradient)])])
        ends.append(bool(after > float(setup.threshold)))
    assert ends[0] != ends[1]


@given(runs(ROWS, decay=True), positive)
def test_hypothesis_cor_canonical(run, gap):
    """The canonical setup trains the same masks from S0 = 1 and mu = 0, wherever the run began above mu."""
    row, setup, network, schedule = run
    if row not in SGD_LIKE:
        setup = replace(setup, threshold=Fraction(0))
    setup = replace(setup, start=setup.threshold + gap)
    found = canonical(setup)
    assert (found.start, found.threshold) == (1, 0)
    assert found.rule.lr == setup.rule.lr / gap
    assert equivalent(setup, found)
    one, two = (
        trajectory(replace(each, start=np.full(network.size, each.start)), network, schedule) for each in (setup, found)
    )
    assert same_masks(one, two)


@given(positive, positive, dyadic, positive, positive, dyadic)
def test_hypothesis_cor_ratio(lr, gap, mu, other_lr, other_gap, other_mu):
    """Equal ratios (S0 - mu) / lr: equivalent; unequal ones: the gradient between them separates the masks."""
    one, two = Setup(SGD(lr), mu + gap, mu), Setup(SGD(other_lr), other_mu + other_gap, other_mu)
    ratios = gap / lr, other_gap / other_lr
    assert equivalent(one, two) == (ratios[0] == ratios[1])
    between = sum(ratios) / 2
    masks = [trajectory(setup, lambda _: between, [1]).masks[-1] for setup in (one, two)]
    assert (masks[0] != masks[1]) == (ratios[0] != ratios[1])


@given(runs(ROWS), positive, st.sampled_from([invariance.above, above_or_equal]))
def test_hypothesis_cor_tie(run, factor, criterion):
    """From S0 = mu on, without weight decay, every learning rate gives the same masks."""
    _, setup, network, schedule = run
    setup = replace(setup, start=np.full(network.size, setup.threshold))
    other = replace(setup, rule=replace(setup.rule, lr=factor * setup.rule.lr))
    assert equivalent(replace(setup, start=setup.threshold), replace(other, start=setup.threshold))
    one, two = (trajectory(each, network, schedule, criterion) for each in (setup, other))
    assert same_masks(one, two)
    assert one.masks[0].all() == (criterion is above_or_equal)


@given(st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(9, 10)]), positive, positive)
def test_momentum_lets_a_gradient_act_so_many_times(momentum, lr, pull):
    """The first step from which on a weight pulled by one gradient stays off: (1 - beta) (S0 - mu) / lr is the edge."""
    ends = []
    for share in (Fraction(99, 100), Fraction(101, 100)):
        total = share * (1 - momentum) / lr
        found = trajectory(
            Setup(SGD(lr, momentum), Fraction(1)), lambda masks, g=total: g * (len(masks) == 1), [1] * 70
        )
        ends.append(found.masks[-1])
    assert ends == [True, False]


# ---- shadows: what fine-tuning would make of the weights, seen through the mask --------------------------------------
class OfWeights(Network):
    """The gradient of the weights with which the network works, divided by alpha, in place of that of the mask."""

    def pass_through(self, gradient, frozen, mask, alpha):
        return gradient.ravel() / alpha


class Shared(Network):
    """The part of the mask's gradient that goes through alpha: one number for a tensor."""

    def pass_through(self, gradient, frozen, mask, alpha):
        return np.full(mask.size, -(gradient * frozen).ravel() @ mask / (2 * mask.size * alpha**3))


def frozen(network):
    return np.concatenate([network.first.ravel(), network.second.ravel()])


def over(numerator, weights):
    """A quotient; 0 where a frozen weight is 0 and so has no shadow."""
    return np.where(weights == 0, 0, numerator / np.where(weights == 0, 1, weights))


def shadow(rule, start, network, schedule, *, moved=lambda step: 0):
    """Masks and weights of the shadow that starts here; `moved` gives the threshold of each step."""
    theta, gradient = frozen(network), OfWeights(**vars(network))
    weights, state, masks, found = start, {}, [theta * start > moved(0)], [start]
    for step, multiplier in enumerate(schedule, 1):
        weights, state = rule.step(weights, gradient(masks), state, multiplier)
        masks.append(theta * weights > moved(step))
        found.append(weights)
    return masks, found


def agree(masks, others, network):
    """Equal masks wherever there is something to switch."""
    there = frozen(network) != 0
    return all(np.array_equal(one[there], two[there]) for one, two in zip(masks, others, strict=True))


@given(runs(decay=True), dyadic)
def test_hypothesis_thm_shadow(run, constant_decay):
    """Any start, threshold and decays, in exact arithmetic: the masks are the signs of the shadow, S - mu = theta W."""
    _, setup, network, schedule = run
    network, setup = (
        replace(network, rescale=False),
        replace(setup, rule=replace(setup.rule, constant_decay=constant_decay)),
    )
    theta, mu = frozen(network), setup.threshold
    rule = replace(setup.rule, constant_decay=over(constant_decay + setup.rule.weight_decay * mu, theta))
    one = trajectory(setup, network, schedule)
    masks, weights = shadow(rule, over(setup.start - mu, theta), network, schedule)
    assert agree(one.masks, masks, network)
    for score, weight in zip(one.scores, weights, strict=True):
        assert np.array_equal((score - mu)[theta != 0], (theta * weight)[theta != 0])


@given(runs())
def test_from_the_squared_start_the_shadow_is_plain_fine_tuning(run):
    """Nothing but the frozen weights, the rule of the run and gradients goes into it."""
    _, setup, network, schedule = run
    network = replace(network, rescale=False)
    one = trajectory(replace(setup, start=frozen(network) ** 2, threshold=Fraction(0)), network, schedule)
    assert agree(one.masks, shadow(setup.rule, frozen(network), network, schedule)[0], network)


def test_another_start_has_other_masks_than_fine_tuning():
    def parts(run):
        _, setup, network, schedule = run
        network = replace(network, rescale=False)
        theta = frozen(network)
        masks, _ = shadow(setup.rule, theta, network, schedule)
        starts = (np.where(theta == 0, 1, abs(theta) ** power) for power in (0, 1, 3))
        found = (trajectory(Setup(setup.rule, start), network, schedule).masks for start in starts)
        return not any(agree(one, masks, network) for one in found)

    search(runs(), parts)


@given(runs(), st.integers(0, 4), positive)
def test_hypothesis_cor_start(run, power, factor):
    """A start from any power trains each weight as the squared start does at a learning rate of the weight's own."""
    _, setup, network, schedule = run
    network = replace(network, rescale=False)
    size = abs(frozen(network))
    away = Setup(setup.rule, setup.threshold + factor * size**power, setup.threshold)
    lr = setup.rule.lr * over(size**2, factor * size**power)
    squared = Setup(replace(setup.rule, lr=lr), size**2)
    one, two = (trajectory(each, network, schedule) for each in (away, squared))
    assert agree(one.masks, two.masks, network)
    assert np.array_equal(abs(over(away.start - away.threshold, size)), over(factor * size**power, size))


@given(runs(decay=True), st.booleans())
def test_hypothesis_thm_shadow_rescale(run, squared):
    """With rescaling the masks are [theta W > mu^t], mu^t one number for each tensor."""
    _, setup, network, schedule = run
    network = replace(network, rescale=True)
    theta = frozen(network)
    assume((theta != 0).all())  # a frozen 0 counts for alpha, and has no shadow
    start = theta**2 if squared else setup.start
    one = trajectory(Setup(setup.rule, start), network, schedule)
    shared, rest, state = Shared(**vars(network)), [0 * theta], {}
    for step, multiplier in enumerate(schedule):
        after, state = setup.rule.step(rest[-1], shared(one.masks[: step + 1]), state, multiplier)
        rest.append(after)
    masks, _ = shadow(setup.rule, over(start, theta), network, schedule, moved=lambda step: -rest[step])
    assert same_masks(one, one._replace(masks=masks))
    assert all(len(set(part)) == 1 for each in rest for part in np.split(each, [network.first.size]))


@pytest.mark.parametrize(
    "row", [row for row in ADAPTIVE_ROWS if row.name != "SGD with clipping"], ids=lambda row: row.name
)
@given(st.integers(0, 2**31), st.data())
def test_hypothesis_thm_shadow_adaptive(row, seed, data):
    """Frozen weights that are powers of two make every product exact: the masks are those of the shadow bit for bit."""
    _, rule = data.draw(rules([row]))
    rule = replace(rule, **{key: float(value) for key, value in vars(rule).items() if type(value) is Fraction})
    rule = rule if row.name == "AdamW" else replace(rule, weight_decay=0.0)
    random = torch.Generator().manual_seed(seed)
    size = 2.0 ** torch.randint(-3, 4, (20,), generator=random).double()
    theta = size * (2.0 * torch.randint(0, 2, (20,), generator=random) - 1.0)
    mix, steps = torch.randn(20, 20, generator=random, dtype=torch.float64), torch.rand(6, generator=random).tolist()
    score, weight, states = size, theta, ({}, {})
    for step in steps:
        assert torch.equal(score > 0, theta * weight > 0)
        assert torch.equal(score, theta.sign() * weight)
        gradient = mix @ torch.tanh(mix @ (theta * (score > 0))) - 0.5  # of the weights, through the mask alone
        score, state = rule.step(score, gradient * theta, states[0], step)
        weight, shadows = replace(rule, eps=rule.eps / size).step(weight, gradient, states[1], step)
        states = state, shadows


# ---- mutations: each removes one hypothesis; a run must then be found whose masks change -----------------------------
MUTATIONS = {
    "translation with weight decay": (True, lambda setup: translate(setup, Fraction(4), ())),
    "scale that keeps the weight decay": (True, lambda setup: scale(setup, Fraction(4), ())),
    "affine with weight decay": (True, lambda setup: translate(scale(setup, Fraction(2)), Fraction(4), ())),
    "scale without the learning rate": (
        False,
        lambda setup: replace(scale(setup, Fraction(4)), rule=setup.rule),
    ),
    "scale without the threshold": (
        False,
        lambda setup: replace(scale(setup, Fraction(4)), threshold=setup.threshold),
    ),
    "translation without the threshold": (
        False,
        lambda setup: replace(translate(setup, Fraction(1)), threshold=setup.threshold),
    ),
    "scale by a negative factor": (False, lambda setup: scale(setup, Fraction(-1))),
    "scale by zero": (False, lambda setup: scale(setup, Fraction(0), ())),
    "another momentum": (False, lambda setup: replace(setup, rule=replace(setup.rule, momentum=Fraction(7, 8)))),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_without_a_hypothesis_a_counterexample_is_found(name):
    decay, change = MUTATIONS[name]

    def breaks(run):
        _, setup, network, schedule = run
        return differ((setup, change(setup)), network, schedule)

    search(runs(SGD_ROWS, decay), breaks)


def test_a_gradient_that_reads_the_scores_breaks_translation():
    """The assumption of lemma lem-history is needed: a penalty on the scores' size is a function of no mask."""
    first = Setup(SGD(Fraction(1, 2)), Fraction(1), Fraction(0))
    second = translate(first, Fraction(4))
    masks = []
    for setup in (first, second):
        score, _ = setup.rule.step(setup.start, setup.start, {})  # dL/dS of L = S^2 / 2
        masks.append(score > setup.threshold)
    assert masks == [True, False]


# ---- the rules are torch's -------------------------------------------------------------------------------------------
def real_steps(rule, start, gradients, schedule=None):
    """Scores after each step of torch.optim's optimizer of that rule, in float64."""
    score = torch.nn.Parameter(start.clone())
    common = {"lr": rule.lr, "weight_decay": rule.weight_decay, "foreach": False}
    if isinstance(rule, SGD):
        optimizer = torch.optim.SGD(
            [score], momentum=rule.momentum, dampening=rule.dampening, nesterov=rule.nesterov, **common
        )
    elif isinstance(rule, Adam):
        kind = torch.optim.AdamW if isinstance(rule, AdamW) else torch.optim.Adam
        optimizer = kind([score], betas=(rule.beta1, rule.beta2), eps=rule.eps, **common)
    elif isinstance(rule, RMSprop):
        optimizer = torch.optim.RMSprop(
            [score], alpha=rule.smoothing, eps=rule.eps, momentum=rule.momentum, centered=rule.centered, **common
        )
    else:
        optimizer = torch.optim.Adagrad([score], lr_decay=rule.lr_decay, eps=rule.eps, **common)
    found = []
    for multiplier, gradient in zip(schedule or [1.0] * len(gradients), gradients, strict=True):
        optimizer.param_groups[0]["lr"] = rule.lr * multiplier
        score.grad = gradient.to(score.dtype).clone()
        if getattr(rule, "max_norm", None) is not None:
            torch.nn.utils.clip_grad_norm_([score], rule.max_norm)
        score.grad += getattr(rule, "constant_decay", 0.0)
        optimizer.step()
        found.append(score.detach().clone())
    return found


unit = st.floats(0.05, 0.95)
sgd_rules = st.one_of(
    st.builds(SGD, lr=unit, momentum=unit, dampening=unit, weight_decay=unit, constant_decay=unit),
    st.builds(SGD, lr=unit, momentum=unit, nesterov=st.booleans(), weight_decay=unit, max_norm=unit),
    st.builds(SGD, lr=unit, weight_decay=unit, max_norm=st.floats(1.0, 10.0)),
)
adaptive_rules = st.one_of(
    st.builds(Adam, lr=unit, beta1=unit, beta2=unit, weight_decay=unit),
    st.builds(AdamW, lr=unit, beta1=unit, beta2=unit, weight_decay=unit),
    st.builds(RMSprop, lr=unit, smoothing=unit, momentum=unit, weight_decay=unit),
    st.builds(RMSprop, lr=unit, smoothing=unit, centered=st.just(True), eps=unit, weight_decay=unit),
    st.builds(Adagrad, lr=unit, lr_decay=unit, weight_decay=unit),
)


@given(
    st.one_of(sgd_rules, adaptive_rules), st.integers(0, 2**32 - 1), st.lists(st.floats(0, 1), min_size=6, max_size=6)
)
def test_every_rule_is_the_one_of_torch(rule, seed, schedule):
    random = torch.Generator().manual_seed(seed)
    start, *gradients = torch.randn(7, 5, generator=random, dtype=torch.float64)
    wanted = real_steps(rule, start, gradients, schedule)
    score, state = start, {}
    for gradient, multiplier, right in zip(gradients, schedule, wanted, strict=True):
        score, state = rule.step(score, gradient, state, multiplier)
        torch.testing.assert_close(score, right, rtol=1e-12, atol=1e-12)


@given(st.integers(0, 2**31), unit, unit)
def test_the_masks_own_optimizer_follows_the_rule(seed, lr, momentum):
    torch.manual_seed(seed)
    layer = torch.nn.Linear(5, 4, dtype=torch.float64)
    masking = submasking.mask(layer, "weights", Threshold(0.0), init=0.5)
    trained, rule, states = masking.optimizer(lr=lr, momentum=momentum), SGD(lr, momentum), {}
    wanted = {name: scores.clone() for name, scores in masking.scores().items()}
    for _ in range(5):
        layer(torch.randn(3, 5, dtype=torch.float64)).square().sum().backward()
        for name, scores in wanted.items():
            gradient = layer.get_parameter(name).grad * masking.frozen()[name]
            wanted[name], states[name] = rule.step(scores, gradient, states.get(name, {}))
        trained.step()
        trained.zero_grad()
        for name, scores in masking.scores().items():
            torch.testing.assert_close(scores, wanted[name], rtol=1e-12, atol=1e-12)


@given(st.one_of(sgd_rules, adaptive_rules))
def test_a_step_is_the_same_for_every_kind_of_number(rule):
    exact = replace(rule, **{key: Fraction(v) for key, v in vars(rule).items() if type(v) is float})
    results = []
    for each, kind in ((rule, lambda x: np.array([x])), (exact, lambda x: np.array([Fraction(x)], dtype=object))):
        score, state = kind(0.75), {}
        for gradient in (0.5, -1.25, 0.125):
            score, state = each.step(score, kind(gradient), state)
        results.append(float(score[0]))
    assert results[0] == pytest.approx(results[1], rel=1e-9)


@given(st.fractions(min_value=0, max_value=1000))
def test_the_root_of_a_fraction_is_right_to_64_bits(value):
    found = root(value)
    assert found**2 <= value < (found + Fraction(1, 2**64)) ** 2


def test_clipping_shortens_only_what_is_too_long():
    gradient = np.array([Fraction(3), Fraction(4)])
    assert np.array_equal(clipped(gradient, Fraction(10), Fraction(0)), gradient)
    assert clipped(gradient, Fraction(1), Fraction(0)).tolist() == [Fraction(3, 5), Fraction(4, 5)]


# ---- real networks in float32 ----------------------------------------------------------------------------------------
def optimizers(name, scores, lr):
    scores = list(scores)
    return {
        "SGD": lambda: torch.optim.SGD(scores, lr=lr, momentum=0.9, nesterov=True),
        "Adam": lambda: torch.optim.Adam(scores, lr=lr / 8, eps=1e-3),
        "AdamW": lambda: torch.optim.AdamW(scores, lr=lr / 8, weight_decay=0.0, eps=1e-3),
        "RMSprop": lambda: torch.optim.RMSprop(scores, lr=lr / 16, momentum=0.5, eps=1e-3),
        "Adagrad": lambda: torch.optim.Adagrad(scores, lr=lr / 4, eps=1e-3),
    }[name]()


def train(seed, criterion, start, lr, rescale, optimizer=None, dtype=torch.float32, steps=8):
    """Masks and scores of a small real network after every step of a real masked training run."""
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    ).to(dtype)
    images, labels = torch.randn(steps, 16, 6, dtype=dtype), torch.randint(3, (steps, 16))
    masking = submasking.mask(network, "weights", criterion, init=start, rescale=rescale)
    if optimizer is None:
        trained = masking.optimizer(lr=lr)
    else:
        trained = masking.attach(optimizers(optimizer, masking.scores().values(), lr))
    masks, scores = [], []
    for step in range(steps):
        trained.param_groups[0]["lr"] *= 0.5 if step == steps // 2 else 1.0
        torch.nn.functional.cross_entropy(network(images[step]), labels[step]).backward()
        trained.step()
        network.zero_grad()
        masks.append(torch.cat([mask.ravel() for mask in masking.masks().values()]))
        scores.append(torch.cat([score.ravel().clone() for score in masking.scores().values()]))
    return masks, scores


@given(
    st.integers(0, 2**31),
    st.integers(-10, 10),
    st.sampled_from([0.0, 0.25, -3.0, None]),
    st.sampled_from(["none", "variance"]),
    st.sampled_from([None, "SGD", "Adam", "AdamW", "RMSprop", "Adagrad"]),
)
@settings(max_examples=40)
def test_hypothesis_thm_powers_of_two(seed, power, mu, rescale, optimizer):
    """The library's own training in float32: scaled by a power of two, masks and scores agree bit for bit."""
    alpha = 2.0**power
    criteria = (TopK(0.5),) * 2 if mu is None else (Threshold(mu), Threshold(alpha * mu))
    start = (mu or 0.0) + 0.25
    init = "kaiming" if mu is None else start

    def scaled(frozen, random):
        from submasking.masking.scores import INITS

        return alpha * (INITS["kaiming"](frozen, random) if mu is None else torch.full(frozen.shape, start))

    masks, scores = train(seed, criteria[0], init, 4.0, rescale, optimizer)
    others, others_scores = train(seed, criteria[1], scaled, 4.0 * alpha, rescale, optimizer)
    assert all(torch.equal(a, b) for a, b in zip(masks, others, strict=True))
    assert all(torch.equal(alpha * a, b) for a, b in zip(scores, others_scores, strict=True))


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([3.0, 5.0, 1.25, 0.375, 2.0]),
    st.integers(-64, 64).map(lambda number: number / 8),
    st.booleans(),
)
def test_hypothesis_thm_rounding(seed, alpha, shift, nesterov):
    """In float32, with equal gradients, bits differ only where a score is nearer to mu than the bound."""
    random = np.random.default_rng(seed)
    count, steps, u = 2000, 12, 2.0**-24
    gradients = random.standard_normal((steps, count)).astype(np.float32) / 8
    schedule = random.integers(1, 9, steps) / 8
    first = Setup(SGD(2.0, momentum=0.875, nesterov=nesterov), np.full(count, 1, np.float32), 0.0)
    second = translate(scale(first, alpha), shift)
    assert second.start.dtype == np.float32
    setups, states, bound = [first, second], [{}, {}], np.zeros(count)
    scores = [setup.start for setup in setups]
    for gradient, multiplier in zip(gradients, schedule, strict=True):
        before = scores[0]
        for i, setup in enumerate(setups):
            scores[i], states[i] = setup.rule.step(scores[i], gradient, states[i], multiplier)
        velocity = np.abs((before - scores[0]).astype(float)) + np.abs(scores[0]) * 2 * u  # lr times velocity
        bound += u * (2 * alpha * velocity * (1 + 2 * u) + np.abs(scores[1]) + alpha * np.abs(scores[0]))
        wanted = alpha * scores[0].astype(float) + shift
        assert (np.abs(scores[1] - wanted) <= bound * (1 + 1e-6)).all()
        masks = [score > setup.threshold for score, setup in zip(scores, setups, strict=True)]
        near = alpha * np.abs(scores[0].astype(float) - first.threshold) <= bound * (1 + 1e-6)
        assert not ((masks[0] != masks[1]) & ~near).any()


def test_float32_breaks_exact_equality_by_a_shift():
    """The rounding theorem is no luxury: a shift that is not exact moves scores, and some across the threshold."""

    def breaks(seed):
        one = train(seed, Threshold(0.0), 1.0, 4.0, "none", steps=8)
        two = train(seed, Threshold(4096.0), 4097.0, 4.0, "none", steps=8)
        return any(not torch.equal(a, b) for a, b in zip(one[0], two[0], strict=True))

    search(st.integers(0, 2**31), breaks)


# ---- conversion ------------------------------------------------------------------------------------------------------
def test_the_published_pair_is_equivalent():
    one = Setup(SGD(50, momentum=0.9), 1, 0)
    assert convert(one, start=2.5, threshold=0.5) == Setup(SGD(100, momentum=0.9), 2.5, 0.5)
    assert equivalent(one, Setup(SGD(100, momentum=0.9), 2.5, 0.5))
    for other in (Setup(SGD(100, 0.9), 1), Setup(SGD(50, 0.9), 2.5), Setup(SGD(50, 0.9), 1, 0.5), Setup(Adam(50), 1)):
        assert not equivalent(one, other)


@given(runs(ROWS, decay=True), positive, positive)
def test_conversion_there_and_back_changes_nothing(run, alpha, gap):
    row, setup, _, _ = run
    threshold = setup.threshold if row in SGD_LIKE else Fraction(0)
    setup = replace(setup, start=threshold + gap, threshold=threshold)
    there = with_lr(setup, alpha * setup.rule.lr)
    assert there.start - there.threshold == alpha * gap
    assert convert(there, setup.start, setup.threshold) == setup
    assert equivalent(setup, there)
    assert equivalent(there, setup)


@given(shifts, shifts, shifts, shifts)
def test_conversion_refuses_to_cross_the_threshold(start, mu, other_start, other_mu):
    assume(np.sign(float(start - mu)) != np.sign(float(other_start - other_mu)))
    with pytest.raises(ValueError, match="same side of their thresholds"):
        convert(Setup(SGD(1), start, mu), other_start, other_mu)


def test_conversion_moves_the_threshold_under_weight_decay_where_a_constant_decay_takes_it_up():
    decayed = Setup(Adam(1, weight_decay=Fraction(1, 8)), Fraction(3), Fraction(1))
    with pytest.raises(
        ValueError, match=r"with weight decay only mu = 1/2 is equivalent; got 0.* Adam has no constant"
    ):
        canonical(decayed)
    decayed = replace(decayed, rule=SGD(1, weight_decay=Fraction(1, 8), constant_decay=Fraction(1, 2)))
    assert canonical(decayed) == Setup(SGD(Fraction(1, 2), 0, 0, False, Fraction(1, 4), Fraction(5, 8)), 1, 0)
    assert equivalent(decayed, canonical(decayed))
    assert convert(decayed, Fraction(6), Fraction(2)).rule == SGD(2, 0, 0, False, Fraction(1, 16), Fraction(1, 2))
    with pytest.raises(ValueError, match="must be positive"):
        with_lr(decayed, 0)


# ---- the page --------------------------------------------------------------------------------------------------------
BOOK = Path(__file__).parents[1] / "book"
PAGE, NOTATION = ((BOOK / name).read_text() for name in ("proofs.md", "notation.md"))
LABELS = re.findall(r"\{prf:(?:theorem|lemma|corollary)\}[^\n]*\n:label: (\S+)", PAGE)


@pytest.mark.parametrize("label", LABELS)
def test_every_theorem_of_the_page_has_its_sympy_and_its_hypothesis_test(label):
    for kind, file in (("sympy", "test_proofs_sympy.py"), ("hypothesis", "test_invariance.py")):
        source = (Path(__file__).parent / file).read_text()
        assert f"def test_{kind}_{label.replace('-', '_')}(" in source


def test_no_test_names_a_theorem_that_the_page_lacks():
    named = {name for name in [*globals()] if name.startswith("test_hypothesis_")}
    assert {name.removeprefix("test_hypothesis_").replace("_", "-") for name in named} == set(LABELS)
    assert {label for row in ROWS for label in row.theorems} <= set(LABELS)


@pytest.mark.parametrize("table", [verdict_tables.table, verdict_tables.counterexample_table])
def test_the_tables_of_the_page_are_those_of_the_code(table):
    assert table() in PAGE


def test_every_equation_and_statement_that_the_page_refers_to_is_on_it():
    labels = re.findall(r":label: (\S+)", PAGE)
    assert len(labels) == len(set(labels))
    elsewhere = "".join(page.read_text() for page in (Path(__file__).parents[1] / "book").glob("*.md"))
    known = {*labels, *re.findall(r":label: (\S+)", elsewhere)}
    assert set(re.findall(r"\{(?:prf:ref|eq)\}`([\w-]+)`", PAGE)) <= known


def test_every_symbol_of_the_theorems_and_proofs_is_in_the_notation_table():
    assert unexplained(PAGE, NOTATION) == set()


@pytest.mark.parametrize(
    ("page", "notation", "missing"),
    [
        (PAGE.replace("Let $T$ be strictly", r"Let $\xi$, $T$ be strictly"), NOTATION, {r"\xi"}),
        (PAGE, re.sub(r"\| \$\\omega\$.*\n", "", NOTATION), {r"\omega"}),
        (PAGE, NOTATION.replace(r"$\tilde G^t$", "$G^t$"), {r"\tildeG"}),
        (PAGE, NOTATION.replace(r"$\delta_1$, ", ""), {r"\delta_1"}),
        (PAGE, NOTATION.replace("$s_t$", "$s$"), {"s_0", "s_1"}),
        (PAGE, NOTATION.replace(r"$\mathcal{B}^t$", r"$\mathcal{C}^t$"), {r"\mathcal{B}"}),
    ],
    ids=["a new symbol", "a lost row", "a lost accent", "a lost digit", "a lost index", "another letter"],
)
def test_a_symbol_that_the_table_lacks_is_found(page, notation, missing):
    assert unexplained(page, notation) == missing


def test_every_symbol_has_its_name_in_the_code_and_the_code_has_the_name():
    assert nameless(NOTATION) == []
    assert unknown_names(NOTATION) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("SGD.weight_decay", "SGD.weight_decays"),
        ('state["velocity"]', 'state["velocitas"]'),
        ("masking.scores()", "masking.score()"),
        ("mask_gradient", "gradient_of_mask"),
        ("Network.head", "Network.heads"),
        ('rescale="variance"', 'scale_again="variance"'),
        ("multiplier", "multiplicator"),
        ("torch.finfo(dtype).eps", "torch.finfo(dtype).epsilon"),
    ],
)
def test_a_name_that_the_code_lacks_is_found(right, wrong):
    assert unknown_names(NOTATION.replace(f"`{right}`", f"`{wrong}`")) == [wrong]


def test_a_symbol_without_a_name_is_found():
    assert nameless(NOTATION.replace("`SGD.dampening`", "")) == [r"$\delta$"]
