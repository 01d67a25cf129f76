"""The live page's scripts, and its data as scripts too, which a page may load from a folder as well, without a server.

They do not lie in _static, whose scripts Jupyter Book puts on every page.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from sphinx.util.fileutil import copy_asset

from submasking.files import atomic
from submasking.records.places import LIVE


def write(folder: Path) -> None:
    """Write scripts and style to a folder, and for each file of `LIVE` a script that brings its bytes."""
    for file in sorted([*LIVE.parent.glob("*.js"), *LIVE.parent.glob("*.css")]):
        copy_asset(str(file), str(folder))
    for file in sorted(LIVE.glob("*.safetensors")):
        content = base64.b64encode(file.read_bytes()).decode("ascii")
        script = f"live.files[{json.dumps(file.stem)}] = {json.dumps(content)};\n"
        atomic.write(folder / "data" / f"{file.stem}.js", script)


def _finish(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        write(Path(app.outdir) / "_static" / "live")


def setup(app: Any) -> None:
    app.connect("build-finished", _finish)
