"""Parameterized notebooks: strict parameters, and running one through papermill.

papermill only warns of a parameter that a notebook does not have, and passes some values with another type.
Here both are errors: every notebook calls `parameters` in its first cell after the parameters, whoever runs it.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from submasking.files import identity
from submasking.records.places import REPOSITORY, results_folder
from submasking.records.profiles import profile

FOLDER = REPOSITORY / "notebooks"
# text that may be a whole number, such as seeds; in quotes, and written like this, papermill knows the parameter
NUMBERS = "Union[int, str]"
TYPES = {"str": str, NUMBERS: str, "int": int, "float": float, "bool": bool}
_PLAIN = re.compile(r"[^\w.-]+")  # what no file's name has, of what stands for a model
_NO_TEXT = re.compile("[\ud800-\udfff]")  # what Python makes of bytes of a name that are no UTF-8
START_SECONDS = 600  # until a kernel must have answered: papermill's 60 are too few where a grid shares busy cores


def declared(source: str) -> dict[str, tuple[str, Any]]:
    """Parameters that a cell declares as `name: type = default`, by name: (type, default)."""
    assignments = (node for node in ast.parse(source).body if isinstance(node, ast.AnnAssign))
    return {
        node.target.id: (ast.unparse(node.annotation).strip("'"), ast.literal_eval(node.value))
        for node in assignments
        if isinstance(node.target, ast.Name) and node.value is not None
    }


def coerce(name: str, kind: str, value: Any) -> Any:
    """`value` as the declared type; a ValueError says the rule, the value and the remedy.

    An int is taken where a float is declared, and where a whole number or text is. A number in place of text is
    refused: papermill has made it of 2024.10, 007 or nan, and which of them it was is gone.
    """
    expected = TYPES[kind]
    if isinstance(value, str) and (odd := _NO_TEXT.search(value)):
        raise ValueError(
            f"parameter {name!r} must be text in UTF-8, got {value!r}, whose {odd[0]!r} is none; rename what it names"
        )
    if kind == "float" and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    elif kind == "bool" and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    elif kind == NUMBERS and type(value) is int:
        return str(value)
    elif (kind == "float" and isinstance(value, int) and not isinstance(value, bool)) or type(value) is expected:
        return expected(value)
    got = f"{value!r} ({type(value).__name__})"
    if expected is str and isinstance(value, list | tuple):
        raise ValueError(
            f"parameter {name!r} must be text, got {got}: split what is several by commas, such as"
            f" {','.join(str(each) for each in value) or 'all'}"
        )
    if expected is str:
        raise ValueError(
            f"parameter {name!r} must be text, got {got}: pass it as -r {name} <text>, which papermill keeps"
        )
    raise ValueError(f"parameter {name!r} must be {kind}, got {got}: pass it as -p {name} <{kind}>")


def check(known: Mapping[str, tuple[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters, the given ones over the defaults.

    Raises:
        ValueError: an unknown name (the message suggests the nearest), or a value of another type.
    """
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"unknown parameter {name!r}{hint}; this notebook has: {', '.join(known)}")
    values = {name: default for name, (_, default) in known.items()} | dict(given)
    return {name: coerce(name, known[name][0], value) for name, value in values.items()}


def parameters(namespace: dict[str, Any]) -> dict[str, Any]:
    """Check the parameters of the running notebook and write them, with their declared types, to `namespace`.

    Called with globals() in the first cell after the parameters. papermill puts the values that it was given
    into a cell between the two: each name assigned there must be declared in the parameters cell.
    """
    cells = [source for source in namespace["In"] if source.strip()]
    known = declared(cells[0])
    given = {name: namespace[name] for name in known}
    if len(cells) == 3:
        injected = ast.parse(cells[1]).body
        targets = (target for node in injected if isinstance(node, ast.Assign) for target in node.targets)
        given |= {target.id: namespace[target.id] for target in targets if isinstance(target, ast.Name)}
    values = check(known, given)
    namespace.update(values)
    return values


def path(name: str) -> Path:
    """File of the notebook called `name`; ValueError lists the notebooks there are."""
    file = FOLDER / f"{name}.ipynb"
    if not file.exists():
        there = sorted(other.stem for other in FOLDER.glob("*.ipynb"))
        near = difflib.get_close_matches(Path(name).stem.lower(), there, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"there is no notebook {name!r} in {FOLDER.name}/{hint}; there are: {', '.join(there) or 'none'}"
        )
    return file


def known_parameters(name: str) -> dict[str, tuple[str, Any]]:
    """Declared parameters of a notebook, read from its cell tagged `parameters`."""
    import nbformat

    cells = nbformat.read(path(name), as_version=4).cells
    tagged = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{name}.ipynb must have one cell tagged 'parameters', it has {len(tagged)}; tag one")
    return declared(tagged[0])


def explained(name: str) -> dict[str, str]:
    """What each parameter of a notebook is, as its parameters cell says it, by name."""
    from papermill import inspect_notebook

    return {parameter: said["help"] for parameter, said in inspect_notebook(path(name)).items()}


def output_path(name: str, given: Mapping[str, Any]) -> Path:
    """Where an executed notebook goes: results/<profile>/notebooks/<name>[-<model>][-<hash>].ipynb.

    The hash is that of the parameters other than profile and model which are not the default: a try of one's own takes
    the place of no notebook of the grid.
    """
    known = known_parameters(name)
    values = check(known, given)
    model = str(values.get("arch") or values.get("model", ""))
    stem = f"{name}-{_PLAIN.sub('_', model)}" if "model" in values else name
    own = {key: value for key, value in values.items() if key not in ("profile", "model") and value != known[key][1]}
    own |= {"model": model} if _PLAIN.search(model) else {}
    stem += f"-{identity.short(own)}" if own else ""
    return results_folder(profile(values.get("profile", "images")).name) / "notebooks" / f"{stem}.ipynb"


def _require_place(output: Path) -> None:
    """Refuse an output that is no notebook by its name, a folder, or there already and nothing that papermill wrote."""
    if output.suffix != ".ipynb":
        raise ValueError(f"the executed notebook must have a name that ends in .ipynb, got {output.name!r}; name it so")
    if not output.exists():
        return
    try:
        executed = "papermill" in json.loads(output.read_bytes() or '{"metadata": ["papermill"]}')["metadata"]
    except (OSError, ValueError, KeyError, TypeError):
        executed = False
    if not executed:
        raise ValueError(
            f"the executed notebook must be a new file, or in the place of an executed one, but {output} is another;"
            " name a new one"
        )


def execute(
    name: str, given: Mapping[str, Any], output: Path | None = None, *, progress: bool = True, engine: str | None = None
) -> Path:
    """Run a notebook through papermill with checked parameters; returns the executed notebook's path.

    `engine` is one that papermill knows; its own, with a kernel for the notebook, where none is named.

    Raises:
        ValueError: unknown notebook, profile or parameter, or an ill-typed one; nothing is started or written then.
        papermill.PapermillExecutionError: a cell failed; the notebook up to there is kept at `output`.
    """
    import papermill

    values = check(known_parameters(name), given)
    output = output or output_path(name, given)
    _require_place(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{output.parent} must be a folder that takes files ({error}); name another output, or set"
            " SUBMASKING_RESULTS to another folder"
        ) from error
    try:
        papermill.execute_notebook(
            str(path(name)),
            str(output),
            parameters={key: values[key] for key in given},
            engine_name=engine,
            progress_bar=progress,
            cwd=str(Path.cwd()),  # paths among the parameters are relative to the caller, as with papermill itself
            start_timeout=START_SECONDS,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # or each warns of plain TCP, or of its end
        )
    except OSError as error:  # papermill's own write of what has run so far does not say where
        if error.errno and error.filename is None:
            error.filename = str(output)
        raise
    return output
