"""More tasks than memory holds: a folder of task files over one backbone, each read when it is first asked for."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from submasking.tasks.bank import Bank, Task
from submasking.tasks.maskfile import SUFFIX

HELD = 64  # tasks in memory: of a ResNet-50 about 4 MB each


class Shelf:
    """A folder of task files, of which the bank holds those used last.

    Opening lists names and reads no file; a file is read, checked and decoded when its task is first used, and again
    after other tasks have taken its place. So a damaged file is found when it is used, and memory does not grow with
    the folder.

    Args:
        bank: over the backbone that all files are for; tasks that are in it already stay there.
        folder: with files NAME.safetensors; NAME is the task's name. Hidden files are passed over.
        held: tasks of the folder that are kept in memory at most, 1 or more.

    Raises:
        ValueError: `held` is less than 1, the folder has no such file, or a task of the bank has a file's name.
    """

    def __init__(self, bank: Bank, folder: str | Path, *, held: int = HELD) -> None:
        if type(held) is not int or held < 1:
            raise ValueError(
                f"held must be a whole number, at least 1, got {held!r}; the task in use is always in memory"
            )
        self.bank, self.held = bank, held
        self.files = {path.stem: path for path in sorted(Path(folder).glob(f"[!.]*{SUFFIX}"))}
        if not self.files:
            raise ValueError(f"a shelf must have files *{SUFFIX}, {folder} has none; save tasks there first")
        if both := self.files.keys() & bank.tasks.keys():
            raise ValueError(f"a task's name must be new, {min(both)!r} is in the bank; remove it first")
        self._used: dict[str, Task] = {}  # in the order of their use, the latest last

    def use(self, name: str) -> nn.Module:
        """Switch the bank's model to a task of the folder, and let go of the one whose use lies furthest back.

        Returns:
            The model.

        Raises:
            MaskFileError: the file is damaged, made for another backbone, or coded against a sibling; the model is as
                before then.
            ValueError: the folder has no such task, the bank has another of this name, or as for `Bank.use`.
        """
        if name not in self.files:
            raise ValueError(
                f"the task must be on the shelf, {name!r} is not; it has {len(self.files):,}, the first is"
                f" {next(iter(self.files))!r}"
            )
        if name not in self.bank.tasks:
            self.bank.add(name, self.files[name])
        elif self.bank.tasks[name] is not self._used.get(name):
            raise ValueError(
                f"a task's name must be one task's; {name!r} came into the bank past this shelf; take it out of the"
                " bank, or rename it or the file"
            )
        self._used.pop(name, None)
        self._used[name] = self.bank.tasks[name]
        model = self.bank.use(name)
        while len(self._used) > self.held:
            oldest, task = next(iter(self._used.items()))
            del self._used[oldest]
            if self.bank.tasks.get(oldest) is task:  # else somebody has removed or replaced it by hand
                self.bank.remove(oldest)
        return model
