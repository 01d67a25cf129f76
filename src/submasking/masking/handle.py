"""The handle of a masked model: how its masks are learned, set and kept, and the way back to a plain model."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from submasking.masking import past
from submasking.masking.attached import attach
from submasking.masking.criteria import Criterion, effective
from submasking.masking.in_backward import MaskSGDInBackward
from submasking.masking.modes import forget
from submasking.masking.norms import let_train
from submasking.masking.optimizer import MaskSGD
from submasking.masking.shares import Shares
from submasking.masking.state import FROZEN, ROUNDED, SCORES, MaskState, Target, owner_of
from submasking.masking.structure import hooked, structure

HANDLE = "_submasking"

_EDITED = (
    "another optimizer, an average of models or an edit has been there; call masking.apply() to write the masked"
    " weights anew"
)


class Masking(MaskState):
    """The handle of a masked model, made by `mask`.

    The frozen weights and the scores are buffers beside the parameter they belong to (``conv1.weight_frozen``,
    ``conv1.weight_scores``), so they follow the model through ``.to()``, ``state_dict()``, ``deepcopy`` and pickle;
    the handle follows too: `of` finds the one of a copy.
    """

    def __init__(
        self,
        model: nn.Module,
        targets: tuple[Target, ...],
        criterion: Criterion,
        rescale: str,
        trained: tuple[str, ...],
        shares: Shares,
    ) -> None:
        super().__init__(model, targets, criterion, rescale, trained)
        self.shares = shares
        self.unbaked = False
        self.kept_as_they_are: dict[str, dict[torch.dtype, str]] = {}  # frozen parameters, see `past.digests`
        self.built_of = structure(model)
        self.hooked = hooked(model)
        self._remembered: tuple[str, ...] = ()
        self._kept_before: dict[str, Tensor] = {}
        self._flags: dict[str, bool] = {}
        self._hooks: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return f"Masking of {type(self.model).__name__}: {self.shares}"

    def before(self) -> dict[str, Tensor]:
        """Return, by name, the buffers and the trained parameters as they were when the model was masked.

        They follow the model: what is cast is cast, and weights loaded from a plain checkpoint are the backbone's.
        """
        return dict(self._kept_before) if self.baked else past.recalled(self.model, self._remembered)

    def own_buffers(self) -> set[str]:
        """Return the names of the buffers that masking has added to the model."""
        added = {target.name + suffix for target in self.targets for suffix in (FROZEN, SCORES)}
        return added | {past.place(name) for name in self._remembered}

    def optimizer(
        self, lr: float = 50.0, momentum: float = 0.9, *, compiled: bool = False, in_backward: bool = False
    ) -> MaskSGD:
        """Return the optimizer that updates scores and weights together, in place of one over the masked parameters.

        Args:
            lr: step size, not negative; see `submasking.find_lr`.
            momentum: in [0, 1).
            compiled: fuse the update with `torch.compile`: see `MaskSGD`.
            in_backward: update each tensor as soon as backward has its gradient, and drop the gradient: saves memory
                and costs time, see `MaskSGDInBackward`.

        Raises:
            ValueError: if lr or momentum is out of range, or the model was baked.
        """
        self.require_masked()
        kind = MaskSGDInBackward if in_backward else MaskSGD
        return kind(self, lr=lr, momentum=momentum, compiled=compiled)

    def optimizers(
        self,
        lr: float = 50.0,
        *,
        trained_lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        also: nn.Module | None = None,
        **options: Any,
    ) -> list[torch.optim.Optimizer]:
        """Return all optimizers of a training: that of the masks, and SGD for what is trained beside them.

        Args:
            lr: step size of the masks, see `optimizer`.
            trained_lr: step size of the trained parameters, such as a new classifier; not negative.
            momentum: of both, in [0, 1).
            weight_decay: of the trained parameters, not negative; masks have none.
            also: a module outside the model, such as a head on its features, whose parameters are trained too.
            options: what else `optimizer` takes.

        Returns:
            `optimizer`, and `torch.optim.SGD` over the trained parameters and those of `also` that require gradients;
            the first alone where there are none. Step and clear each.

        Raises:
            ValueError: as `optimizer`, if a number is out of range, or if `also` holds masked parameters.
        """
        if not isinstance(also, nn.Module | None):
            raise ValueError(
                f"also must be a module, such as a head; got {type(also).__name__}; pass nn.ModuleList(...)"
            )
        if isinstance(trained_lr, str) or isinstance(weight_decay, str):
            raise ValueError(f"trained_lr and weight_decay must be numbers; got {trained_lr!r} and {weight_decay!r}")
        largest = torch.finfo(torch.float32).max
        if not (0 <= trained_lr <= largest and 0 <= weight_decay <= largest):
            raise ValueError(
                f"trained_lr and weight_decay must be finite, from 0 on; got {trained_lr} and {weight_decay}; 0.1 and 0"
                " are usual"
            )
        masks = self.optimizer(lr, momentum, **options)
        there = dict(self.model.named_parameters(remove_duplicate=False))  # a classifier may have been taken off
        trained = [there[name] for name in self.trained if name in there]
        trained += () if also is None else also.parameters()
        masked = {id(self.parameter(target.name)) for target in self.targets}
        if any(id(parameter) in masked for parameter in trained):
            raise ValueError(
                f"also must be a module outside the masked model; got {type(also).__name__} with masked parameters in"
                " it; pass the head alone"
            )
        trained = [parameter for parameter in dict.fromkeys(trained) if parameter.requires_grad]
        if not trained:
            return [masks]
        return [masks, torch.optim.SGD(trained, lr=trained_lr, momentum=momentum, weight_decay=weight_decay)]

    def attach(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Let any torch optimizer over the scores train the masks, as ``SGD(masking.scores().values(), lr=50)``.

        Before each of its steps the gradients of the weights become gradients of the scores; after it the weights
        follow the new masks, and the gradients of the weights are cleared. A closure, as LBFGS needs one, is
        evaluated under the masks of the moment. What is attached is not copied or pickled with the optimizer: attach
        the copy to its own masking. ``GradScaler`` needs `optimizer`, which holds the weights.

        Args:
            optimizer: over all score tensors, in as many parameter groups as wanted.

        Returns:
            The same optimizer.

        Raises:
            ValueError: if it lacks a score tensor, now or at a later step (moving the model replaces them).
        """
        self.require_masked()
        attach(self, optimizer)
        return optimizer

    def load_masks(self, masks: Mapping[str, Bool[Tensor, "*shape"]]) -> None:
        """Set the masks, and with them the weights.

        The scores become one above the threshold where a weight is on, one below where it is off.

        Args:
            masks: by parameter name, true where the weight is on; each of the shape of its parameter.

        Raises:
            ValueError: for a name or shape that is not masked here, a missing name, a density that the criterion does
                not allow, or a weight switched off outside a partial mask.
        """
        self.require_masked()
        scores = self.scores()
        if not isinstance(masks, Mapping):
            raise ValueError(
                f"masks must be bool tensors by parameter name; got {type(masks).__name__}; pass such as"
                " masking.masks()"
            )
        if masks.keys() != scores.keys():
            odd = sorted(masks.keys() ^ scores.keys(), key=str)
            raise ValueError(
                f"masks must name exactly the {len(scores)} masked parameters; got {len(masks)}, first difference"
                f" {odd[0]!r}; masking.masks() shows the names"
            )
        middle, wanted = getattr(self.criterion, "mu", 0.0), {}
        for name, given in masks.items():
            if getattr(given, "dtype", None) != torch.bool:
                kind = getattr(given, "dtype", type(given).__name__)
                raise ValueError(f"a mask must be a bool tensor; that of {name!r} is {kind}; pass such as scores > 0")
            if given.shape != scores[name].shape:
                raise ValueError(
                    f"a mask has the shape of its parameter; {name!r} is {tuple(scores[name].shape)}, got"
                    f" {tuple(given.shape)}; was it made for another architecture?"
                )
            on = given.to(scores[name].device, torch.bool)
            fresh = torch.where(on, middle + 1.0, middle - 1.0).to(scores[name].dtype)
            fresh = torch.where(torch.isposinf(scores[name]), scores[name], fresh)
            if not torch.equal(self.criterion(fresh), on):
                raise ValueError(
                    f"{self.criterion} must be able to give the mask; that of {name!r} keeps {int(on.sum())} of"
                    f" {on.numel()} weights, or drops some outside a partial mask; use Threshold() on the whole tensor"
                )
            wanted[name] = fresh
        for name, fresh in wanted.items():  # all of them fit
            scores[name].copy_(fresh)
        self.init = ""
        self.apply()

    def bake(self) -> nn.Module:
        """Make the model plain again, with the masked weights; `unbake` can still undo it.

        Returns:
            The model, without hooks or extra buffers. The handle keeps the frozen weights and scores.

        Raises:
            ValueError: if that was done already, or the masked weights are not those of the masks: another optimizer,
                an average of models or an edit has been there; nothing is changed then.
        """
        self.require_masked()
        if odd := self.inexact():
            raise ValueError(
                f"what is baked must be the weights under their masks; {len(odd)} of {len(self.targets)} masked"
                f" parameters, first {odd[0]!r}, are not: {self.miscast(odd[0]) or _EDITED}, or unbake() for the"
                " original ones"
            )
        self._make_plain()
        return self.model

    def _make_plain(self) -> None:
        """Take scores, frozen weights and hooks off the model, which keeps the weights that it has."""
        kept = {target.name: self.tensors(target.name) for target in self.targets}
        now = dict(self.model.named_parameters())
        for target in self.targets:
            self.parameter(target.name)  # else nothing is done
        added = self.own_buffers()
        self._kept_before, self._kept = self.before(), kept
        for target in self.targets:
            owner, attribute = owner_of(self.model, target.name)
            delattr(owner, attribute + FROZEN)
            delattr(owner, attribute + SCORES)
        past.forget(self.model, self._remembered)
        for hook in self._hooks:
            hook.remove()
        let_train(self.model)
        for name, flag in self._flags.items():
            if name in now:  # a classifier may have been taken off since
                now[name].requires_grad_(flag)
        self._stop_ignoring(added)
        delattr(self.model, HANDLE)

    def miscast(self, name: str) -> str:
        """Return what helps where a masked parameter was cast without its frozen weights; "" where it was not."""
        kind, frozen = self.parameter(name).dtype, self.tensors(name)[0].dtype
        if kind == frozen:
            return ""
        return f"it is {kind}, and its frozen weights are {frozen}; cast the whole model, as with model.to({kind})"

    @torch.no_grad()
    def inexact(self) -> list[str]:
        """Return the names of the masked parameters that are not theta or 0 (or theta / alpha) under their masks."""
        return [target.name for target in self.targets if not self._exact(target.name)]

    def _exact(self, name: str) -> bool:
        frozen, scores = self.tensors(name)
        there: Tensor = self.parameter(name)
        if there.shape != frozen.shape or there.dtype != frozen.dtype:
            return False
        wanted = effective(frozen, self.criterion(scores), self.rescale)
        if self.rescale == "none":
            return torch.equal(there, wanted)
        # a cast rounds theta / alpha, not theta
        eps = max(torch.finfo(frozen.dtype).eps, torch.finfo(torch.float32).eps)  # of the type that it was divided in
        return torch.allclose(there, wanted, rtol=4 * eps, atol=0.0)

    @torch.no_grad()
    def unbake(self) -> nn.Module:
        """Give the original model back, bit for bit: weights, trained parameters and buffers (norm statistics).

        Returns:
            The model, plain, masked or baked before. The handle keeps the frozen weights and scores.

        Raises:
            ValueError: if a part of the original is gone, has another shape now, or is a frozen parameter that was
                changed, of which no copy is kept; if the model was masked anew since; nothing is changed then.
        """
        if self.baked and HANDLE in self.model.__dict__:
            raise ValueError(
                "what is unbaked must be under no other masks; the model was masked anew since it was baked; call"
                " submasking.of(model).unbake() first"
            )
        original = {**self.frozen(), **self.before()}
        now = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        for name, value in original.items():
            if name not in now or now[name].shape != value.shape:
                there = f"is {tuple(now[name].shape)} now" if name in now else "is gone"
                raise ValueError(
                    f"the original must fit into the model; {name!r}, {tuple(value.shape)}, {there}; undo that first"
                    f"{self._or_keep(now)}"
                )
        if moved := past.changed(self.model, self.kept_as_they_are):
            raise ValueError(
                f"the original must be there whole; {len(moved)} frozen parameters, first {moved[0]!r}, were changed or"
                " taken away since the model was masked, and of these no copy is kept; load the backbone's weights into"
                " the model first (load_state_dict)"
            )
        if self._kept is None:  # whatever the weights are now: what follows is what was there before
            self._make_plain()
        for name, value in original.items():
            now[name].copy_(value)
        forget(self.model)
        self.unbaked = True
        return self.model

    def _or_keep(self, now: Mapping[str, Tensor]) -> str:
        """What else can be done with a model that the original does not fit into."""
        if self.baked:
            return ", or keep the model as it is"
        if any(target.name not in now for target in self.targets):
            return ""
        return f", or {'call masking.apply(), ' if self.inexact() else ''}bake and keep what is there"

    def _stop_ignoring(self, added: set[str]) -> None:
        """Take back what `mask` has told DistributedDataParallel."""
        ignored: Any = self.model.__dict__.pop("_ddp_params_and_buffers_to_ignore")
        theirs = [name for name in ignored if name not in added]
        if theirs:
            nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self.model, theirs)

    def _on_load(self, module: nn.Module, state: dict[str, Any], prefix: str, *unused: Any) -> None:
        """Make what is loaded agree: the weights of a plain checkpoint become frozen ones, all weights follow masks.

        Shapes that do not fit and names that are missing are left for torch to report.

        Raises:
            ValueError: weights that are loaded beside their scores are not what these make, as in an average of models,
                or under another criterion; or those that are loaded without are the backbone's under a mask, which
                would lose what is off; nothing is changed then.
        """
        self._refuse_others(state, prefix)
        self._refuse_baked(state, prefix)
        self._remember_loaded(state, prefix)
        if any(prefix + target.name + SCORES in state for target in self.targets):
            self.init = ""  # whoever resumes a training of their own knows it, and says so
        for target in self.targets:
            theirs = [prefix + name for name in target.names if prefix + name in state]
            frozen_name, scores_name = prefix + target.name + FROZEN, prefix + target.name + SCORES
            if theirs and frozen_name not in state and scores_name not in state:
                state[frozen_name] = state[theirs[0]].detach()
                state[scores_name] = self.tensors(target.name)[1]
            elif frozen_name not in state and scores_name not in state:
                continue
            frozen, scores = self.tensors(target.name)
            frozen, scores = state.get(frozen_name, frozen), state.get(scores_name, scores)
            if frozen.shape == scores.shape == self.parameter(target.name).shape:
                masked = effective(frozen, self.criterion(scores).to(frozen.device), self.rescale)
                state.update(dict.fromkeys(theirs or [prefix + name for name in target.names], masked))

    def _refuse_others(self, state: dict[str, Any], prefix: str) -> None:
        """Weights beside scores are made to follow these; so they must be what these make of the frozen ones."""
        for target in self.targets:
            weight, frozen, scores = (state.get(prefix + target.name + suffix) for suffix in ("", FROZEN, SCORES))
            if weight is None or frozen is None or scores is None or weight.is_meta:
                continue
            if not weight.shape == frozen.shape == scores.shape:
                continue
            wanted = effective(frozen, self.criterion(scores).to(frozen.device), self.rescale).to(weight)
            if not bool(((weight - wanted).abs() <= ROUNDED * wanted.abs()).all()):  # true for NaN, too
                raise ValueError(
                    f"loaded weights beside scores must be masked weights; {target.name!r} is not, as in an average of"
                    " models, or under another criterion or rescale; load an average into a plain model with"
                    " strict=False, mask as the saved model was masked, or leave its weights out to keep the masks"
                )

    def _refuse_baked(self, state: dict[str, Any], prefix: str) -> None:
        """Weights without scores become the frozen ones; so they must not be these under a mask already."""
        off = 0
        for target in self.targets:
            weight, frozen = state.get(prefix + target.name), self.tensors(target.name)[0]
            if any(prefix + target.name + suffix in state for suffix in (FROZEN, SCORES)) or weight is None:
                return
            if weight.is_meta or weight.shape != frozen.shape:
                return
            gone = (weight == 0) & (frozen.to(weight) != 0)
            if not torch.equal(torch.where(gone, frozen.to(weight), weight), frozen.to(weight)):
                return  # another backbone's
            off += int(gone.sum())
        if off:
            raise ValueError(
                f"what is loaded without scores must be a backbone; this is the one that is here with {off} weights"
                " switched off, as bake leaves it; load it into a plain model, or masks with load_masks"
            )

    def _remember_loaded(self, state: dict[str, Any], prefix: str) -> None:
        """A plain checkpoint is the backbone's; of a masked one that does not say, what was before stays, and of a part
        without any masked weight, such as a classifier and statistics.
        """
        plain = not any(key.startswith(prefix) and key.endswith(SCORES) for key in state)
        plain = plain and any(prefix + name in state for target in self.targets for name in target.names)
        saved = self.model.state_dict().keys()
        for name, value in self.before().items():
            place = prefix + past.place(name)
            if past.place(name) in saved and place not in state:
                theirs = state.get(prefix + name)
                fits = plain and theirs is not None and theirs.shape == value.shape
                state[place] = theirs.detach() if fits and theirs is not None else value

    def _on_loaded(self, module: nn.Module, incompatible: Any) -> None:
        """What is frozen is from here on what was loaded."""
        self.kept_as_they_are = past.digests(module, self.kept_as_they_are)
