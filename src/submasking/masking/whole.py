"""Whether a masked model is what its masks say: what a mask file, or a bank, could give back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from submasking.masking.checks import strangers
from submasking.masking.handle import Masking
from submasking.masking.past import changed
from submasking.masking.structure import rebuilt, wrapped_part

_EDITED = (
    "another optimizer, an average of models, an edit or changed scores have been there; train with masking.optimizer,"
    " and call masking.apply() to write the masked weights anew"
)
_SINCE_BAKED = (
    "the model was trained or edited since it was baked; keep masking.masks(), call masking.unbake(),"
    " submasking.mask(...) as before and load_masks with them, and save before bake"
)


def require_handle(masking: object) -> None:
    """Raise `ValueError` unless this is the handle of a masked model."""
    if not isinstance(masking, Masking):
        raise ValueError(
            f"the handle of a masked model is needed; got {type(masking).__name__}; pass what submasking.mask gave, or"
            " submasking.of(model)"
        )


@torch.no_grad()
def require_whole(masking: Masking) -> None:
    """Check that frozen weights, masks, and what is stored beside them make the model that is there.

    Every masked weight must be theta or 0 (or theta / alpha); every other parameter must be the backbone's, or one
    that is trained; what is stored must be finite; nothing may have been put in since the model was masked.

    Raises:
        ValueError: the first thing that is not so, and what to do.
    """
    if masking.unbaked:
        raise ValueError(
            "a task must be taken from a masked or baked model; unbake has given this one its original weights, norm"
            " statistics and classifier back; save before unbake"
        )
    for fault in _faults(masking):
        raise ValueError(f"what is saved must be what the model computes; {fault}")


def _faults(masking: Masking) -> Iterator[str]:
    packed = strangers(masking.model)
    if packed:
        yield f"{packed[0]!r} is no tensor, as after quantisation; save the task before, then bake and quantise"
    inside = wrapped_part(masking.model)
    if inside:
        part = inside.rpartition(".")[0]
        yield (
            f"{part!r} is in a wrapper, under which parameters have other names; take it off for saving, with"
            f" model.set_submodule({part!r}, model.get_submodule({inside!r}))"
        )
    classifier = {name.rpartition(".")[0] for name in masking.trained}
    others = rebuilt(masking.model, masking.built_of, classifier)
    if others:
        yield (
            f"{len(others)} modules, first {others[0]!r}, were replaced, set otherwise, put in or taken out since the"
            " model was masked, so the network that a task is laid on would compute something else; undo that, or do it"
            " before masking"
        )
    parameters = dict(masking.model.named_parameters(remove_duplicate=False))
    for target in masking.targets:
        untied = [name for name in target.names if parameters.get(name) is not parameters.get(target.name)]
        if untied:
            yield f"{untied[0]!r} was tied to {target.name!r}, and is not any more; tie them again"
    lost = [name for name, scores in masking.scores().items() if bool(scores.isnan().any())]
    if lost:
        yield (
            f"the scores of {lost[0]!r} and {len(lost) - 1} others hold NaN, from which no mask follows; go back to a"
            " checkpoint, and train at a lower learning rate"
        )
    odd = masking.inexact()
    if odd:
        yield (
            f"{len(odd)} of {len(masking.targets)} masked parameters, first {odd[0]!r}, are not theta or 0 under their"
            f" masks: {masking.miscast(odd[0]) or (_SINCE_BAKED if masking.baked else _EDITED)}"
        )
    names = dict(masking.model.named_parameters())
    tensors = {**names, **dict(masking.model.named_buffers())}
    known = {name for target in masking.targets for name in target.names}
    known |= set(masking.trained) | set(masking.kept_as_they_are)
    new = [name for name in names if name not in known]
    if new:
        yield (
            f"{len(new)} parameters, first {new[0]!r}, came after masking, and are neither the backbone's nor stored;"
            " mask a model that has them, with a selection that trains them"
        )
    sick = [name for name, before in masking.before().items() if _fell_ill(tensors.get(name), before)]
    if sick:
        yield (
            f"{len(sick)} statistics or trained parameters, first {sick[0]!r}, are nan or inf; train it again at a"
            " lower learning rate, and look at the images it has seen"
        )
    stored = masking.model.state_dict()
    reset = [
        name
        for name, before in masking.before().items()
        if name.endswith("running_var") and _emptied(name, tensors) and not bool((before == 1).all())
    ]
    if reset:
        yield (
            f"{len(reset)} norms, first {reset[0]!r}, have statistics of 0 and 1, as after a reset that nothing"
            " followed: update_bn passes by norms that are held; call submasking.recalibrate instead, or load what they"
            " were"
        )
    unkept = [
        name
        for name, before in masking.before().items()
        if name in tensors and name not in stored and _moved(tensors[name], before)
    ]
    if unkept:
        yield (
            f"{len(unkept)} buffers, first {unkept[0]!r}, followed the task and are in no state_dict, so nothing stores"
            " them; register them with persistent=True before masking"
        )
    moved = changed(masking.model, masking.kept_as_they_are)
    if moved:
        yield (
            f"{len(moved)} frozen parameters, first {moved[0]!r}, were changed or taken away since the model was"
            " masked; undo that, or select them as 'train' before, and they are stored with the task"
        )


def _emptied(name: str, tensors: Mapping[str, Tensor]) -> bool:
    variance, mean = tensors.get(name), tensors.get(name.replace("running_var", "running_mean"))
    return variance is not None and mean is not None and bool((variance == 1).all()) and not bool(mean.any())


def _moved(now: Tensor, before: Tensor) -> bool:
    """Whether numbers are others; a table that was made anew for images of another size has another shape."""
    return now.shape == before.shape and not torch.equal(now, before.to(now))


def _fell_ill(now: Tensor | None, before: Tensor) -> bool:
    """Whether there are numbers that are not finite, and were; a classifier may have been taken off."""
    if now is None or not now.is_floating_point():
        return False
    known = before.isfinite() if before.shape == now.shape else torch.tensor(True)
    return bool((~now.isfinite() & known.to(now.device)).any())
