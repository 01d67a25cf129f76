"""One backbone in memory, many tasks on it: switch, mix in one batch, guess, combine.

A task holds one bit per masked weight, its norm buffers and its head; the backbone is held once.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from submasking.masking.criteria import RESCALES, alpha, effective
from submasking.masking.handle import Masking
from submasking.masking.modes import evaluated, forget
from submasking.masking.structure import aliases
from submasking.masking.whole import require_handle, require_whole
from submasking.tasks.answer import answer, require_same
from submasking.tasks.bits import Packed, Plan
from submasking.tasks.ground import Ground
from submasking.tasks.heads import (
    check_classes,
    check_head,
    check_outputs,
    check_width,
    logits_of,
    require_width,
    reshaped,
    trains_classifier,
)
from submasking.tasks.maskfile import TaskFile, backbone_state, load
from submasking.tasks.similarity import Similarity, similarity

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Task:
    """A task in memory.

    Attributes:
        bits: one per masked weight, 1 where it is on.
        state: norm buffers and trained parameters by name.
        head: features -> logits, or None.
        classes: names of the classes.
    """

    bits: Packed = field(repr=False)
    state: dict[str, Tensor] = field(repr=False)
    head: nn.Module | None = None
    classes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Memory of the bits, the state and the head."""
        held = [*self.state.values(), *(self.head.state_dict().values() if self.head is not None else ())]
        return self.bits.nbytes + sum(tensor.numel() * tensor.element_size() for tensor in held)


def _in_turn(method: Callable[Concatenate[Bank, P], R]) -> Callable[Concatenate[Bank, P], R]:
    """Let other threads wait while a method looks at the model, which it does with other tensors in it."""

    @wraps(method)
    def alone(bank: Bank, *given: P.args, **named: P.kwargs) -> R:
        with bank._lock:
            return method(bank, *given, **named)

    return alone


class Bank:
    """Many tasks over one backbone.

    All tasks mask the same tensors, those of the first one added. A classifier inside the model may have another number
    of classes in each. The model may be moved, cast, laid out anew, or wrapped: the bank follows it. What somebody else
    writes into its weights is noticed at the next switch, or made good by it. Only where a large frozen tensor is
    edited through ``.data``, which torch keeps no count of, a sample of its numbers has to show it: an edit of a few of
    them may stay.

    Threads take turns: one asks for `logits` while the others wait, since there is one model. Who calls the model
    themselves do so within `using`, which holds it for the length of the block.

    Args:
        model: the plain backbone. The bank writes masked weights into it; `release` gives the original back.

    Raises:
        ValueError: the model is masked, or in use by another bank; at a switch, if the model has lost a tensor, or
            somebody has changed its weights.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.tasks: dict[str, Task] = {}
        self.current: str | None = None
        self._ground = Ground(model)
        self._lock = Turns()
        self._plan = Plan({})
        self._rescale = "none"
        self._touched: set[str] = set()  # what any task sets beside masked weights

    @_in_turn
    def add(
        self, name: str, task: TaskFile | str | Path, *, sibling: Mapping[str, Bool[Tensor, "..."]] | None = None
    ) -> None:
        """Take in a mask file, or the file at a path, with its head unless that needs a text tower.

        Args:
            name: how the task is asked for.
            task: the file.
            sibling: the masks of the file that this one is coded against, if it is; `masks` has those of a task that
                is in the bank already.

        Raises:
            MaskFileError: the file belongs to another backbone, is damaged, or coded against another sibling.
            ValueError: see `put`.
        """
        if not isinstance(task, TaskFile | str | Path):
            raise ValueError(
                f"a task is added as a file; got {type(task).__name__}; pass a path, or what load gives, and a masked"
                " model's handle to take()"
            )
        file = task if isinstance(task, TaskFile) else load(task)
        pristine = self._ground.pristine
        file.require(pristine)
        file.require_room(pristine, any_shape=file.trained)
        file.require_features(self.model)
        file.require_ties(self.model)
        head = file.head() if file.head_kind != "cosine" else None
        masks = file.masks(pristine, sibling=sibling)
        file.require_said(self.model, pristine, masks)
        self.put(name, masks, state=file.state, head=head, classes=file.classes, rescale=file.rescale)

    @_in_turn
    def take(self, name: str, masking: Masking, *, head: nn.Module | None = None, classes: Sequence[str] = ()) -> None:
        """Take in the task of a masked copy of the backbone.

        Raises:
            ValueError: it is a copy of another backbone, not what its masks say (`submasking.masking.whole`), the head
                does not take its features, or as for `put`.
        """
        require_handle(masking)
        require_whole(masking)
        require_width(head, masking.model, {})  # with the classifier that it may have
        now, pristine, before = masking.model.state_dict(), self._ground.pristine, backbone_state(masking)
        second = aliases(masking.model)
        other = [
            key
            for key, value in before.items()
            if second.get(key, key) not in masking.trained and (key not in pristine or not _equal(value, pristine[key]))
        ]
        if other:
            raise ValueError(
                f"a task must come from a copy of the bank's backbone; {other[0]!r} and {len(other) - 1} others differ;"
                " make a bank over that backbone"
            )
        state = {key: now[key].clone() for key in masking.before() if key in now and key in pristine}
        require_same(answer(masking, {}), self.model, pristine, masking.masks(), state, masking.rescale)
        self.put(name, masking.masks(), state=state, head=head, classes=classes, rescale=masking.rescale)

    @_in_turn
    def put(
        self,
        name: str,
        masks: Mapping[str, Bool[Tensor, "..."]],
        *,
        state: Mapping[str, Tensor] | None = None,
        head: nn.Module | None = None,
        classes: Sequence[str] = (),
        rescale: str = "none",
    ) -> None:
        """Take in masks as they are, such as those that `union` made.

        Args:
            name: how the task is asked for.
            masks: by parameter name, true where on.
            state: buffers and parameters to set with them.
            head: features -> logits; a copy in eval mode is kept, so that it may be trained further for the next task.
            classes: names of the classes.
            rescale: "none" or "variance".

        Raises:
            ValueError: the name is taken, the masks or the state do not fit the backbone, numbers are not finite, the
                head does not take its features, or has not an output for each class, or other tensors are masked, or
                otherwise rescaled, than in the tasks before; the bank is as before then.
        """
        if not isinstance(name, str):
            raise ValueError(f"a task's name must be a text; got {name!r}; write it as one, such as {str(name)!r}")
        if name in self.tasks:
            raise ValueError(f"a task's name must be new, {name!r} is in the bank; remove it first")
        if rescale not in RESCALES:
            raise ValueError(f"rescale must be one of {', '.join(RESCALES)}; got {rescale!r}")
        for what, given in (("masks", masks), ("state", {} if state is None else state)):
            if not isinstance(given, Mapping):
                raise ValueError(
                    f"{what} must be tensors by name; got {type(given).__name__}; pass such as a state_dict"
                )
        others = self._ground.others
        if second := [key for key in (*masks, *(state or {})) if key in others]:
            raise ValueError(
                f"a tensor of several names must have its first; {second[0]!r} is {others[second[0]]!r} too; pass it as"
                " that"
            )
        self._require_masks(masks)
        self._require_state(dict(state or {}), masks)
        check_classes(classes)
        check_head(head, classes)
        if head is None and len(classes):
            check_outputs(self.model, dict(state or {}), classes, state)
        if not self._ground.swapped and not set(state or {}) - self._ground.buffers():
            require_width(head, self.model, {})  # of the backbone's own features
        self._follow()
        plan = Plan({key: self._ground.fitted[key] for key in masks})
        if self.tasks and (plan != self._plan or rescale != self._rescale):
            raise ValueError(
                f"all tasks of a bank mask the same tensors, rescaled alike ({self._rescale!r}); {name!r} does not;"
                " use a second bank"
            )
        own = {key: value.detach().clone() for key, value in (state or {}).items()}  # perhaps the model's own
        self.tasks[name] = Task(plan.pack(masks), own, _copied(head), tuple(classes))
        self._plan, self._rescale = plan, rescale
        self._touched |= own.keys()

    def _require_masks(self, masks: Mapping[str, Tensor]) -> None:
        pristine = self._ground.pristine
        buffers = self._ground.buffers()
        none = [key for key, mask in masks.items() if not isinstance(mask, Tensor) or mask.dtype != torch.bool]
        wrong = none + [key for key in masks if key in buffers]
        if wrong or not masks:
            raise ValueError(
                "a task must have bool masks of parameters, one at least;"
                f" {f'that of {wrong[0]!r} is none' if wrong else 'there are none'}; pass such as masking.masks()"
            )
        odd = [key for key, mask in masks.items() if key not in pristine or pristine[key].shape != mask.shape]
        if odd:
            raise ValueError(
                f"masks must fit the backbone's tensors, that of {odd[0]!r} does not; make a bank over the backbone"
                " that they are for"
            )

    def _require_state(self, state: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
        pristine, buffers = self._ground.pristine, self._ground.buffers()
        absent = [key for key in state if key not in pristine]
        if absent:
            raise ValueError(f"a task sets tensors of the backbone; {absent[0]!r} is none; build it with a classifier")
        strange = [
            key
            for key, value in state.items()
            if not isinstance(value, Tensor)
            or value.layout != torch.strided
            or value.is_meta
            or _kind(value) != _kind(pristine[key])
        ]
        if strange:
            raise ValueError(
                f"a task sets tensors of plain numbers, whole ones where the backbone has whole ones; {strange[0]!r} is"
                f" {_told(state[strange[0]])}; pass such as torch.tensor(values, dtype={pristine[strange[0]].dtype})"
            )
        both = [key for key in state if key in masks]
        if both:
            raise ValueError(f"a task either masks a tensor or sets it; it does both with {both[0]!r}; leave one out")
        bent = [key for key, value in state.items() if key in buffers and value.shape != pristine[key].shape]
        bent += reshaped(self.model, {key: value for key, value in state.items() if key not in buffers}, pristine)
        if bent:
            raise ValueError(
                "a tensor keeps its shape in every task, but for the rows of a classifier, one for each class and one"
                f" bias with it; {bent[0]!r} is {tuple(pristine[bent[0]].shape)} in the backbone and"
                f" {tuple(state[bent[0]].shape)} in the task; make a bank over the backbone that the task is for"
            )
        sick = [
            key
            for key, value in state.items()
            if not bool(value.isfinite().all()) and not _equal(value, pristine[key].to(value.device))
        ]
        if sick:
            raise ValueError(
                f"a task must set finite numbers; those of {sick[0]!r} are nan or inf; train it again at a lower"
                " learning rate, and look at the images it has seen"
            )

    @_in_turn
    def remove(self, name: str) -> None:
        """Forget a task; of one that is in use, give the backbone back first.

        Raises:
            ValueError: there is no such task, or as for `release`; it is in the bank as before then.
        """
        self._task(name)
        if self.current == name:
            self.release()
        del self.tasks[name]

    def masks(self, name: str) -> dict[str, Bool[Tensor, "..."]]:
        """Masks of a task, unpacked."""
        return self._plan.unpack(self._task(name).bits)

    @torch.inference_mode(False)  # whoever asks for logits within one; what is written must stay an ordinary tensor
    @torch.no_grad()
    def use(self, name: str) -> nn.Module:
        """Switch the model to a task, in one pass over the masked weights; returns the model.

        Raises:
            ValueError: see the class; the model is as before then.
        """
        with self._lock:
            task, now = self._task(name), self._follow()
            fitted = self._ground.fitted
            for key in self._plan.shapes:
                self._plan.write(key, task.bits, fitted[key], now[key])
                torch.autograd.graph.increment_version(now[key])  # a backward of before must not take the new weights
            if self._rescale == "variance":
                for key, on in self._plan.unpack(task.bits).items():
                    now[key].div_(alpha(on).to(now[key].device))
            drifting = self._ground.buffers() - self._ground.others.keys()  # statistics, in train mode
            for key in self._touched | drifting:
                self._ground.put(key, task.state.get(key, fitted[key]), now[key])
            self._ground.wrote()
            self.current = name
            self._ground.note(name)
            forget(self.model)
            return self.model

    @torch.inference_mode(False)
    @torch.no_grad()
    def release(self) -> nn.Module:
        """Give the untouched backbone back, bit for bit; also after somebody has changed the model's weights.

        Raises:
            ValueError: the model was masked, or has lost a tensor; it is as before then.
        """
        with self._lock:
            self._ground.restore()
            self.current = None
            self._ground.note(None)
            forget(self.model)
            return self.model

    @contextmanager
    def using(self, name: str) -> Iterator[nn.Module]:
        """Switch to a task for the length of a `with` block, then back to what was there before.

        Raises:
            ValueError: see `use`; the block is not entered, and the model is as before then.
        """
        with self._lock:
            before = self.current
            model = self.use(name)
            try:
                yield model
            finally:
                if before is not None and before in self.tasks:
                    if self.current != before:
                        self.use(before)
                elif self.current is not None:  # what was released in the block may have been masked or trained since
                    self.release()

    @torch.no_grad()
    def logits(self, name: str, images: Float[Tensor, "n ..."]) -> Float[Tensor, "n out"]:
        """What a task says of a batch, in eval mode: its head's logits, or features where it has no head.

        Raises:
            ValueError: there is no such task, the network gives no tensor, its head takes other features, or as for
                `use`.
        """
        head = self._task(name).head
        with self.using(name) as model, evaluated(model):
            features = model(images)
            if not isinstance(features, Tensor):
                raise ValueError(
                    f"a bank's network must give a tensor, of features or logits; it gives a {type(features).__name__};"
                    " make the bank over a module that takes the tensor out of it"
                )
            check_width(head, features.shape[-1])
            return features if head is None else logits_of(head, features)

    def mixed(self, images: Float[Tensor, "n ..."], tasks: Sequence[str]) -> list[Float[Tensor, " out"]]:
        """A batch in which every image has its own task: one switch and one forward per task that occurs.

        Args:
            images: the batch.
            tasks: the task of each image.

        Returns:
            For each image the logits of its task, in the order of the images.
        """
        _listed(tasks)
        if len(tasks) != len(images):
            raise ValueError(
                f"every image needs a task; got {len(images)} images and {len(tasks)} tasks; name one for each"
            )
        self._require_there(tasks)
        answers: dict[int, Tensor] = {}
        for name in dict.fromkeys(tasks):
            chosen = [index for index, task in enumerate(tasks) if task == name]
            answers.update(zip(chosen, self.logits(name, images[chosen]), strict=True))
        return [answers[index] for index in range(len(tasks))]

    def guess(self, images: Float[Tensor, "n ..."], tasks: Sequence[str] | None = None) -> dict[str, float]:
        """Which task an unlabelled batch belongs to: the one whose logits are surest.

        The measure is the entropy of the softmax over that of a uniform guess among the task's classes, averaged over
        the batch: with it the entropy criterion of arXiv:2006.14769 compares tasks of unequal numbers of classes.

        Args:
            images: the batch.
            tasks: the candidates; None takes all that have a head, or train the classifier that is part of the model.

        Returns:
            Candidates with their mean relative entropy in [0, 1], the likeliest first.

        Raises:
            ValueError: there is no candidate or no image, one is unknown, or says a single logit, of which it is always
                sure, or numbers that are not finite.
        """
        names = self._answering() if tasks is None else tasks
        if not names:
            there = f"name some of {', '.join(list(self.tasks)[:10])} as tasks=" if self.tasks else "add tasks first"
            raise ValueError(
                "guessing needs tasks that give logits, by a head or a classifier of the model that they train; got"
                f" none; {there}"
            )
        _listed(names)
        self._require_there(names)
        found = {}
        if not len(images):
            raise ValueError("guessing needs images; got an empty batch; pass one at least")
        for name in names:
            logits = self.logits(name, images)
            if logits.dim() != 2 or logits.shape[1] < 2 or not bool(logits.isfinite().all()):
                what = "nan or inf" if logits.dim() == 2 and logits.shape[1] > 1 else f"shape {tuple(logits.shape)}"
                raise ValueError(
                    f"a candidate must say finite logits, two an image at least, or it is always sure; {name!r} gives"
                    f" {what}; leave it out with tasks=, or look at the images"
                )
            found[name] = float(doubt(logits).mean())
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def union(self, names: Sequence[str]) -> dict[str, Bool[Tensor, "..."]]:
        """Masks that keep a weight if any of the tasks does."""
        return self._combined(names, np.bitwise_or.reduce)

    def intersection(self, names: Sequence[str]) -> dict[str, Bool[Tensor, "..."]]:
        """Masks that keep a weight if all of the tasks do."""
        return self._combined(names, np.bitwise_and.reduce)

    def vote(self, names: Sequence[str]) -> dict[str, Bool[Tensor, "..."]]:
        """Masks that keep a weight if at least half of the tasks do."""
        return self._combined(names, lambda bits: np.packbits(
            2 * sum(np.unpackbits(one).astype(np.int32) for one in bits) >= len(bits)
        ))  # fmt: skip

    def similarity(self, first: str, second: str) -> Similarity:
        """How alike two tasks' masks are, beyond what chance and a shared taste for magnitudes explain."""
        weights = {name: self._ground.pristine[name] for name in self._plan.shapes}
        return similarity(self.masks(first), self.masks(second), weights)

    @property
    def bytes(self) -> dict[str, int]:
        """Memory of the backbone, which is held twice (untouched and in use), and of all tasks."""
        backbone = sum(value.numel() * value.element_size() for value in self._ground.pristine.values())
        return {"backbone": 2 * backbone, "tasks": sum(task.bytes for task in self.tasks.values())}

    @torch.no_grad()
    def _follow(self) -> dict[str, Tensor]:
        """The model's tensors as they are now; the bits of the tasks lie in memory as they do."""
        now = self._ground.follow(self._expected, self._touched | self._plan.shapes.keys())
        plan = Plan({key: self._ground.fitted[key] for key in self._plan.shapes})
        if plan.orders != self._plan.orders:
            packed = {name: plan.pack(self._plan.unpack(task.bits)) for name, task in self.tasks.items()}
            for name, task in self.tasks.items():
                task.bits = packed[name]
            self._plan = plan
        return now

    def _expected(self, key: str) -> Tensor:
        """What a parameter holds under the task that is in use."""
        theta = self._ground.fitted[key]
        if self.current is None:
            return theta
        task = self.tasks[self.current]
        if key in self._plan.shapes:
            on = self._plan.unpack(task.bits)[key].to(theta.device)
            return effective(theta, on, self._rescale)
        return task.state.get(key, theta).to(theta.device, theta.dtype)

    def _combined(self, names: Sequence[str], how: Callable[[list[Packed]], Packed]) -> dict[str, Tensor]:
        _listed(names)
        if not len(names):
            raise ValueError("name at least one task to combine; got none")
        return self._plan.unpack(how([self._task(name).bits for name in names]))

    def _answering(self) -> list[str]:
        """Names of the tasks that are known to give logits."""
        return [
            name
            for name, task in self.tasks.items()
            if task.head is not None or trains_classifier(self.model, task.state)
        ]

    def _require_there(self, names: Sequence[str]) -> None:
        """Refuse a name that is none before anything is computed for those that are."""
        for name in names:
            self._task(name)

    def _task(self, name: str) -> Task:
        if not isinstance(name, str) or name not in self.tasks:
            there = ", ".join(list(self.tasks)[:10]) or "none"
            raise ValueError(f"the task must be in the bank, {name!r} is not; there are: {there}")
        return self.tasks[name]


class Turns:
    """A lock that the same thread may take several times; a copy, or what is pickled, has one of its own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *unused: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Turns], tuple[()]]:
        return Turns, ()


def doubt(logits: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """Entropy of the softmax of each image over that of a uniform guess among the classes, in [0, 1]."""
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1) / float(np.log(max(log_p.shape[1], 2)))


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()


def _told(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    place = " on the meta device" if value.is_meta else ""
    return f"{value.dtype}, {value.layout}{place}".replace("torch.", "")


def _listed(tasks: object) -> None:
    """Refuse what is no list of tasks: a text would be taken for its letters."""
    if isinstance(tasks, str) or not isinstance(tasks, Collection):
        raise ValueError(f"tasks must be a list of names; got {tasks!r}; put it into a list")


def _copied(head: nn.Module | None) -> nn.Module | None:
    try:
        return None if head is None else copy.deepcopy(head).eval()  # asking must not change it, nor be luck
    except RuntimeError as error:  # of tensors that were computed, as by the older weight_norm
        raise ValueError(
            f"a head must be one that can be copied; it gave: {str(error).partition('.')[0]}; remove weight norms with"
            " torch.nn.utils.remove_weight_norm, or pass a plain layer with the same weights"
        ) from None


def _equal(first: Tensor, second: Tensor) -> bool:
    return (
        first.shape == second.shape
        and first.dtype == second.dtype
        and bool(torch.equal(first.to(second.device), second))
    )
