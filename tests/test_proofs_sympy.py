"""The algebra of each theorem of book/proofs.md, for general gradients: test_sympy_<label of the theorem>."""

from dataclasses import fields, replace

import numpy as np
import pytest
import sympy
from sympy import Function, Symbol, symbols
from sympy.core.function import AppliedUndef

from submasking.experiments import invariance
from submasking.experiments.invariance import INVARIANCES, ROWS, SGD, Setup, convert, needed, scale, translate

LR, M, ALPHA = symbols("eta s alpha", positive=True)
MU, SHIFT, LAMBDA, C = symbols("mu a lambda c", real=True)
SCORES = np.array(symbols("S_1 S_2", real=True))
PAST = symbols("M_0 M_1 M_2")
MOVED = "translation, $\\kappa$ moved"
SGD_ROWS = [row for row in ROWS if "thm-translation" in row.theorems]
ADAPTIVE_ROWS = [row for row in ROWS if "thm-adaptive" in row.theorems]
named = {"ids": lambda row: row.name}
every_sgd = pytest.mark.parametrize("row", SGD_ROWS, **named)


def symbolic(row, decay=0):
    """The row's rule with a symbol for every hyper-parameter, and this decay."""
    rule, values = row.rule, {"lr": LR}
    for field in fields(rule):
        value = getattr(rule, field.name)
        if field.name not in values and not isinstance(value, bool) and value not in (0, None):
            values[field.name] = Symbol(field.name, positive=True)
    return replace(rule, **values, **{row.decay: decay})


def signs(threshold, scores):
    """The side of mu that each score is on: all that a mask knows of it."""
    return np.array([sympy.sign(sympy.factor(sympy.expand(score - threshold))) for score in scores])


def gradient(threshold, scores, history=PAST):
    """One uninterpreted function per weight, of all masks up to now."""
    return np.array([Function(f"g_{i}")(*history, *signs(threshold, scores)) for i in (1, 2)])


def later(rule):
    """A general state of the optimizer after the first step."""
    _, state = rule.step(SCORES, gradient(MU, SCORES), {})
    general = {name: np.array(symbols(f"{name}_1 {name}_2", real=True)) for name in state}
    return general | ({"step": Symbol("t", integer=True, positive=True)} if "step" in state else {})


def residuals(rule, change):
    """What is left of "step of the changed run = changed step of the run", in scores, state and sides of mu."""
    run = Setup(rule, SCORES, MU)
    other = change(run)
    left = list(signs(other.threshold, other.start) - signs(run.threshold, run.start))
    for state in ({}, later(rule)):
        score, after = rule.step(run.start, gradient(run.threshold, run.start), state, M)
        changed, changed_after = other.rule.step(other.start, gradient(other.threshold, other.start), state, M)
        wanted = change(Setup(rule, score, MU)).start
        left += list(changed - wanted)
        left += [part for name in after for part in np.atleast_1d(changed_after[name] - after[name])]
    return left


def is_zero(expression):
    """Whether an expression is 0 whatever its symbols and functions are; one point tells what is not."""
    expression = sympy.expand(expression)
    if expression == 0:
        return True
    unknown = sorted(expression.atoms(Symbol) | expression.atoms(AppliedUndef), key=str)
    point = {name: sympy.Rational(2 * index + 3, 7) for index, name in enumerate(unknown)}
    return abs(expression.subs(point).evalf(30)) < 1e-20 and sympy.simplify(expression) == 0


def proved(rule, change):
    return all(is_zero(expression) for expression in residuals(rule, change))


def changed(invariance_name):
    return lambda setup: INVARIANCES[invariance_name](setup, ALPHA, SHIFT)


def test_sympy_lem_history():
    """dL/dM by the chain rule, with and without rescaling, is the formula of the code: masks, weights, no score."""
    theta, masks, slopes = symbols("theta_1:4"), symbols("M_1:4", positive=True), symbols("g_1:4")
    spread = sympy.sqrt(sum(masks) / 3)
    through = sum(g * frozen * mask for g, frozen, mask in zip(slopes, theta, masks, strict=True)) / (6 * spread**3)
    for alpha, shared in ((sympy.Integer(1), 0), (spread, through)):
        effective = [frozen * mask / alpha for frozen, mask in zip(theta, masks, strict=True)]
        for g, frozen, mask in zip(slopes, theta, masks, strict=True):
            derivative = sum(part * sympy.diff(value, mask) for part, value in zip(slopes, effective, strict=True))
            assert is_zero(sympy.simplify(derivative - (g * frozen / alpha - shared)))


@pytest.mark.parametrize("change", [changed(name) for name in INVARIANCES], ids=INVARIANCES)
def test_sympy_lem_order(change):
    """The sign of S - mu, which decides > as well as >=, is that of alpha (S - mu); so is the order of two scores."""
    other = change(Setup(SGD(LR), SCORES, MU))
    for score, moved in zip(SCORES, other.start, strict=True):
        assert sympy.sign(sympy.factor(moved - other.threshold)) == sympy.sign(score - MU)
    assert sympy.sign(sympy.factor(other.start[0] - other.start[1])) == sympy.sign(SCORES[0] - SCORES[1])


def test_sympy_thm_induction():
    """Three whole steps with momentum: the gradients, functions of all masks so far, are the same in both runs."""
    rule, runs = SGD(LR, momentum=Symbol("beta", positive=True)), []
    for change in (lambda setup: setup, changed("affine")):
        setup = change(Setup(rule, SCORES, MU))
        score, state, history = setup.start, {}, []
        for step in range(3):
            values = gradient(setup.threshold, score, (step, *history))
            history += list(signs(setup.threshold, score))
            score, state = setup.rule.step(score, values, state, Symbol(f"s_{step}", positive=True))
        runs.append((history, score))
    (history, score), (other_history, other_score) = runs
    assert history == other_history
    assert all(is_zero(part) for part in other_score - (ALPHA * score + SHIFT))


@every_sgd
def test_sympy_thm_translation(row):
    decayed = replace(symbolic(row, LAMBDA), constant_decay=C)
    assert proved(decayed, changed(MOVED))
    assert proved(symbolic(row), changed("translation, decay kept"))
    assert not proved(decayed, changed("translation, decay kept"))


@every_sgd
def test_sympy_thm_scale(row):
    assert proved(symbolic(row, LAMBDA), changed("scale, decay divided"))


@every_sgd
def test_sympy_thm_affine(row):
    assert proved(replace(symbolic(row, LAMBDA), constant_decay=C), changed("affine"))


def test_sympy_thm_constant_decay():
    (row,) = (row for row in ROWS if row.decay == "constant_decay")
    rule = symbolic(row, C)
    for name in (MOVED, "scale, decay kept", "affine"):
        assert proved(rule, changed(name))
    assert not proved(rule, changed("scale, decay divided"))


@pytest.mark.parametrize("row", ADAPTIVE_ROWS, **named)
@pytest.mark.parametrize("name", INVARIANCES)
def test_sympy_thm_adaptive(row, name):
    assert proved(symbolic(row, 0 if needed(row, name) else LAMBDA), changed(name))


COUPLED_ROWS = [row for row in ROWS if row.decay == "weight_decay" and row.name != "AdamW"]


@pytest.mark.parametrize("row", COUPLED_ROWS, **named)
def test_sympy_thm_necessity(row):
    """Coupled decay: at g = -lambda S the run stands still; whatever lr' and lambda', the changed run moves."""
    score, shift = symbols("S a", positive=True)
    decay, other_decay, share = symbols("lambda lambda' q", positive=True)
    rule = replace(symbolic(row, decay), **({"max_norm": None} if hasattr(row.rule, "max_norm") else {}))
    after, _ = rule.step(np.array([score]), np.array([-decay * score]), {})
    assert sympy.simplify(after[0] - score) == 0
    pull = Symbol("x", real=True, nonzero=True)
    moved, _ = replace(rule, weight_decay=0).step(np.array([score]), np.array([pull]), {})
    ratio = sympy.simplify((score - moved[0]) / pull).subs(Symbol("smoothing", positive=True), share / (1 + share))
    assert sympy.simplify(ratio).is_positive  # so the changed run stands still only where its pull is 0
    in_score = sympy.Poly(-decay * score + other_decay * (score + shift), score)
    assert sympy.solve(in_score.all_coeffs(), [other_decay, shift], dict=True) == []
    kept = sympy.factor(-decay * score + decay * ALPHA * score)  # the pull when a changed scale keeps the decay
    assert kept == decay * score * (ALPHA - 1)


def test_sympy_thm_necessity_of_decoupled_decay():
    """AdamW at g = 0: equal steps need lr lambda = lr' lambda' for the score's part, then lr' lambda' a = 0."""
    (row,) = (row for row in ROWS if row.name == "AdamW")
    score, shift, decay = symbols("S a lambda", positive=True)
    other_lr, other_decay = symbols("eta' lambda'", positive=True)
    rule, still = symbolic(row, decay), np.array([sympy.Integer(0)])
    other = replace(rule, lr=other_lr, weight_decay=other_decay)
    (after,), _ = rule.step(np.array([score]), still, {})
    (moved,), _ = other.step(np.array([score + shift]), still, {})
    in_score = sympy.Poly(sympy.expand(moved - after - shift), score)
    assert sympy.expand(in_score.coeff_monomial(score) - LR * decay + other_lr * other_decay) == 0
    assert sympy.expand(in_score.coeff_monomial(1) + other_lr * other_decay * shift) == 0


def test_sympy_cor_canonical():
    start, mu = symbols("S0 mu", real=True)
    gap = Symbol("d", positive=True)
    setup = Setup(SGD(LR, momentum=Symbol("beta")), mu + gap, mu)
    found = convert(setup, start=sympy.Integer(1), threshold=sympy.Integer(0))
    assert sympy.simplify(found.rule.lr - LR / gap) == 0
    assert (sympy.simplify(found.start), sympy.simplify(found.threshold)) == (1, 0)
    decayed = convert(Setup(SGD(LR, weight_decay=LAMBDA), gap), start=sympy.Integer(1))
    assert (decayed.rule.lr, decayed.rule.weight_decay) == (LR / gap, LAMBDA * gap)
    moved = convert(Setup(SGD(LR, weight_decay=LAMBDA, constant_decay=C), mu + gap, mu), start=sympy.Integer(1)).rule
    assert sympy.simplify(moved.constant_decay - (C + LAMBDA * mu)) == 0
    assert start not in decayed.rule.lr.free_symbols


def test_sympy_cor_ratio():
    """After one step a weight is on for exactly the gradients below (S0 - mu) / lr; equal masks need equal ratios."""
    value = Symbol("g", real=True)
    score, _ = SGD(LR).step(Symbol("S", real=True), value, {})
    (edge,) = sympy.solve(score - MU, value)
    assert sympy.simplify(edge - (Symbol("S", real=True) - MU) / LR) == 0
    assert sympy.diff(score, value) == -LR


def test_sympy_cor_tie():
    """From S = mu the sign of S - mu after any step does not depend on the learning rate."""
    first, second, beta = symbols("g_1 g_2", real=True), Symbol("s_2", positive=True), Symbol("beta", positive=True)
    rule = SGD(LR, momentum=beta)
    score, state = rule.step(MU, first[0], {})
    assert sympy.sign(score - MU) == -sympy.sign(first[0])
    score, _ = rule.step(score, first[1], state, second)
    assert LR not in sympy.sign(sympy.factor(sympy.expand(score - MU))).free_symbols


SIZES = np.array(symbols("x_1 x_2", positive=True))
SHADOW = np.array(symbols("W_1 W_2", real=True))
PULL = np.array(symbols("g_1 g_2", real=True))


def in_shadow(rule, other, factor, offset, gradients, state):
    """What is left of "score = factor W + offset" after a first and a later step; `state` makes the score's state."""
    left = []
    _, known = other.step(SHADOW, gradients[1], {})
    general = {name: np.array(symbols(f"{name}_1 {name}_2", positive=True)) for name in known}
    general |= {"step": Symbol("t", integer=True, positive=True)} if "step" in known else {}
    for shadow in ({}, general):
        score, after = rule.step(factor * SHADOW + offset, gradients[0], state(shadow), M)
        weight, shadow_after = other.step(SHADOW, gradients[1], shadow, M)
        left += list(score - offset - factor * weight)
        left += [part for name, value in state(shadow_after).items() for part in np.atleast_1d(after[name] - value)]
    return left


@every_sgd
def test_sympy_thm_shadow(row):
    """A step of the score is theta times a step of the shadow, with every decay and any threshold."""
    theta, rule = np.array(symbols("theta_1 theta_2", real=True, nonzero=True)), symbolic(row, LAMBDA)
    other = replace(rule, constant_decay=(C + LAMBDA * MU) / theta)
    arguments = (theta, MU, (PULL * theta, PULL), lambda state: {key: theta * value for key, value in state.items()})
    assert all(is_zero(part) for part in in_shadow(replace(rule, constant_decay=C), other, *arguments))
    assert not all(is_zero(part) for part in in_shadow(replace(rule, constant_decay=C), rule, *arguments))


def test_sympy_cor_start():
    size, p, c = symbols("x p c", positive=True)
    for sign in (1, -1):
        assert sympy.simplify(sympy.Abs(c * size**p / (sign * size)) - c * size ** (p - 1)) == 0
    moved = translate(Setup(SGD(LR), MU + c * size**p, MU), -MU)
    squared = scale(moved, size ** (2 - p) / c)
    assert (sympy.simplify(squared.start - size**2), squared.threshold) == (0, 0)
    assert sympy.simplify(squared.rule.lr - LR * size ** (2 - p) / c) == 0


@every_sgd
def test_sympy_thm_shadow_rescale(row):
    """What all scores of a tensor share adds up beside the shadow; and is 0 where the loss knows no size."""
    theta, rule = np.array(symbols("theta_1 theta_2", real=True)), symbolic(row, LAMBDA)
    common, shared, alpha = Symbol("R", real=True), Symbol("r", real=True), Symbol("alpha_M", positive=True)
    for state, later_shared in (({}, {}), ({"velocity": SHADOW[0]}, {"velocity": common})):
        mixed = {"velocity": theta * state["velocity"] + later_shared["velocity"]} if state else {}
        score, _ = rule.step(theta * SHADOW + common, theta * PULL / alpha - shared, mixed, M)
        weight, _ = rule.step(SHADOW, PULL / alpha, state, M)
        rest, _ = rule.step(common, -shared, later_shared, M)
        assert all(is_zero(part) for part in score - theta * weight - rest)
    first, second = symbols("e_1 e_2", positive=True)
    loss = Function("L")(first / second)
    assert sympy.simplify(first * loss.diff(first) + second * loss.diff(second)) == 0


@pytest.mark.parametrize("row", [row for row in ADAPTIVE_ROWS if row.name != "SGD with clipping"], **named)
@pytest.mark.parametrize("sign", [1, -1])
def test_sympy_thm_shadow_adaptive(row, sign):
    """A step of the score is sign(theta) times a step of the shadow whose epsilon is divided by the weight's size."""
    theta, rule = sign * SIZES, symbolic(row, LAMBDA if row.name == "AdamW" else 0)
    powers = {"first": theta, "second": theta**2, "square": theta**2, "mean": theta, "total": theta**2, "step": 1}
    factors = powers | {"velocity": sign}
    for centred in (False, True) if row.name == "RMSprop" else (False,):
        rule = replace(rule, centered=True) if centred else rule
        other = replace(rule, eps=rule.eps / SIZES)
        arguments = (sign, 0, (PULL * theta, PULL), lambda state: {k: factors[k] * v for k, v in state.items()})
        assert all(is_zero(part) for part in in_shadow(rule, other, *arguments))
    assert not all(is_zero(part) for part in in_shadow(rule, rule, *arguments))


class Rounded:
    """A floating-point number alpha**power * value, alpha a power of two; each operation is followed by a rounding.

    Of the rounding fl, an uninterpreted function, one thing is used: fl(alpha**k x) = alpha**k fl(x). So a sum of
    numbers of different powers has no such form, and is refused.
    """

    def __init__(self, value, power=0):
        self.value, self.power = sympy.sympify(value), power

    def _add(self, other, sign):
        other = other if isinstance(other, Rounded) else Rounded(other)
        if other.value == 0:
            return self
        if self.power != other.power:
            raise ArithmeticError(f"alpha**{self.power} and alpha**{other.power} cannot be added")
        return Rounded(Function("fl")(self.value + sign * other.value), self.power)

    def __add__(self, other):
        return self._add(other, 1)

    def __sub__(self, other):
        return self._add(other, -1)

    def __rsub__(self, other):
        return Rounded(other)._add(self, -1)

    def __mul__(self, other):
        other = other if isinstance(other, Rounded) else Rounded(other)
        return Rounded(Function("fl")(self.value * other.value), self.power + other.power)

    def __truediv__(self, other):
        other = other if isinstance(other, Rounded) else Rounded(other)
        return Rounded(Function("fl")(self.value / other.value), self.power - other.power)

    def __rtruediv__(self, other):
        return Rounded(other) / self

    def __pow__(self, exponent):
        assert self.power == 0  # a root is only taken of what alpha does not touch
        return Rounded(Function("fl")(self.value**exponent))

    __radd__, __rmul__ = __add__, __mul__


UNCLIPPED = [row for row in ROWS if getattr(row.rule, "max_norm", None) is None and row.decay == "weight_decay"]


def rounded(row, powers):
    """Score and state after a first and a later step in floating point; `powers` of alpha scale lr, decay and score."""
    plain = symbolic(row, LAMBDA)
    values = {
        field.name: Rounded(getattr(plain, field.name), powers.get(field.name, 0))
        for field in fields(plain)
        if isinstance(getattr(plain, field.name), sympy.Expr)
    }
    rule, outcomes = replace(plain, **values), []
    score, slope = Rounded(Symbol("S", real=True), powers.get("score", 0)), Rounded(Symbol("g", real=True))
    names = rule.step(score, slope, {})[1]
    general = {name: 3 if name == "step" else Rounded(Symbol(name, real=True)) for name in names}
    for state in ({}, general):
        after, state = rule.step(score, slope, state, Rounded(M))
        outcomes += [after, *(value for name, value in state.items() if name != "step")]
    return [(each.value, each.power) for each in outcomes], len(outcomes) // 2


@pytest.mark.parametrize("row", UNCLIPPED, **named)
def test_sympy_thm_powers_of_two(row):
    """With a rounding after every operation, scaling by a power of two still scales every step exactly."""
    plain, size = rounded(row, {})
    scaled, _ = rounded(row, {"lr": 1, "weight_decay": -1, "score": 1})
    for index, ((value, _), (other, power)) in enumerate(zip(plain, scaled, strict=True)):
        assert value == other
        assert power == (1 if index % size == 0 else 0)
    with pytest.raises(ArithmeticError, match="cannot be added"):
        rounded(row, {"lr": 1, "score": 1})


def test_sympy_thm_rounding():
    """One step with relative roundings of the product and of the difference: the error grows by the bound's terms."""
    v, e, score = symbols("v e S", real=True)
    d1, d2, f1, f2 = symbols("delta_1 delta_2 delta_3 delta_4", real=True)
    one = (score - LR * v * (1 + d1)) / (1 + d2)
    two = (ALPHA * score + SHIFT + e - ALPHA * LR * v * (1 + f1)) / (1 + f2)
    grown = two - (ALPHA * one + SHIFT)
    terms = e + ALPHA * LR * v * (d1 - f1) - f2 * two + ALPHA * d2 * one
    assert sympy.simplify(grown - terms) == 0


# Each line removes or breaks one hypothesis of a theorem; the check above must then fail.
MUTATIONS = {
    "translation with weight decay": (SGD(LR, weight_decay=LAMBDA), changed("translation, decay kept")),
    "affine with weight decay": (
        SGD(LR, weight_decay=LAMBDA),
        lambda setup: translate(scale(setup, ALPHA), SHIFT, ()),
    ),
    "scale that keeps a weight decay": (SGD(LR, weight_decay=LAMBDA), changed("scale, decay kept")),
    "scale that divides a constant decay": (SGD(LR, constant_decay=C), changed("scale, decay divided")),
    "scale without the learning rate": (
        SGD(LR),
        lambda setup: replace(scale(setup, ALPHA), rule=setup.rule),
    ),
    "scale without the threshold": (
        SGD(LR),
        lambda setup: replace(scale(setup, ALPHA), threshold=setup.threshold),
    ),
    "translation without the threshold": (
        SGD(LR),
        lambda setup: replace(translate(setup, SHIFT), threshold=setup.threshold),
    ),
    "scale by a negative factor": (SGD(LR), lambda setup: scale(setup, -ALPHA)),
    "scale by zero": (SGD(LR), lambda setup: scale(setup, sympy.Integer(0), ())),
    "translation of AdamW with decay": (symbolic(ROWS[6], LAMBDA), changed(MOVED)),
    "translation of Adam with decay": (symbolic(ROWS[5], LAMBDA), changed(MOVED)),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_without_a_hypothesis_the_check_fails(name):
    assert not proved(*MUTATIONS[name])


def test_a_gradient_that_reads_the_score_breaks_translation(monkeypatch):
    """The assumption behind every theorem: the gradient depends on the scores through the masks alone."""
    monkeypatch.setitem(
        globals(), "gradient", lambda threshold, scores: np.array([Function("g")(score) for score in scores])
    )
    assert not proved(SGD(LR), changed(MOVED))


@pytest.mark.parametrize("row", ROWS, **named)
@pytest.mark.parametrize("name", INVARIANCES)
def test_the_table_says_only_if_exactly_where_the_proof_needs_it(row, name):
    decay = C if row.decay == "constant_decay" else LAMBDA
    assert proved(symbolic(row, 0), changed(name))
    assert proved(symbolic(row, decay), changed(name)) == (invariance.needed(row, name) is None)
