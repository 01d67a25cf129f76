# The grid: every notebook with every parameter set of a profile, then grid.json, which lets the book show this run.
#
#   snakemake --cores 2 --keep-going --nolock            the tiny profile (what `make grid` calls)
#   snakemake --cores 2 --config profile=smoke           another profile
#   snakemake --cores 2 --config seeds=0,1,2,3,4         more seeds than the profile's
#   snakemake --cores 8 --resources gpu=1 --config profile=paper    the paper itself, one notebook at a time on a GPU
#   snakemake --executor slurm --jobs 20 ...             the same file on a cluster, with Snakemake's Slurm plugin
#
# One job is one notebook with many runs in it. A killed grid goes on where it stopped, since each run leaves its own
# record; the lock that Snakemake itself leaves behind is in nobody's way with --nolock, since `sole` sees to it that no
# two grids are at work in one folder. A job is due again when its notebook or a hyper-parameter of one of its runs changes, never because of a
# commit or a clone.
import hashlib
import json
from pathlib import Path

from snakemake.exceptions import WorkflowError

# nothing that brings torch: a grid with nothing to do is planned in the time that Snakemake itself takes
from submasking.experiments import grid, notebooks, sole
from submasking.experiments.progress import Watch
from submasking.files import atomic
from submasking.records import places, surroundings
from submasking.records.profiles import profile
from submasking.worlds import origin

PROFILE = config.get("profile", "tiny")
SEEDS = str(config.get("seeds") or "all")
FOLDER = places.results_folder(PROFILE)
NOTEBOOKS = grid.notebooks(PROFILE, SEEDS)
# the longest chain first: the backbone that feeds the self-supervised runs
FIRST = grid.UNLABELLED_MODEL
watch = Watch(PROFILE, SEEDS)

if workflow.subprocess_exec:
    sole.hold_job(FOLDER)


def digest(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def source(stem):
    return str(notebooks.path(NOTEBOOKS[stem][0]))


def models(stem):
    given = NOTEBOOKS[stem][1]["model"]
    return sorted({run.model for run in grid.notebook_runs(stem, PROFILE, SEEDS)}) if given == "all" else [given]


def backbones_of(stem):
    """Files of the pretrained backbones that a notebook's runs take; the first for one that keeps its own record."""
    runs = [(run.model, run.seed) for run in grid.notebook_runs(stem, PROFILE, SEEDS)]
    wanted = runs or [(model, 0) for model in models(stem)]
    return sorted({str(file) for model, seed in wanted for file in origin.pretrained(model, PROFILE, seed)})


onstart:
    try:
        sole.hold_grid(FOLDER)
    except ValueError as error:
        raise WorkflowError(str(error)) from None
    watch.start()


onsuccess:
    watch.stop()


onerror:
    watch.stop()


rule all:
    default_target: True
    input:
        str(FOLDER / "grid.json"),


rule backbone:
    output:
        str(FOLDER / "backbones" / "{model}-{number}.safetensors"),
    wildcard_constraints:
        number=r"\d+",
    params:
        recipe=lambda wildcards: digest(origin.of(wildcards.model, PROFILE, seed=int(wildcards.number))),
    priority: lambda wildcards: 3 if wildcards.model == FIRST else 0
    log:
        str(FOLDER / "logs" / "backbone-{model}-{number}.txt"),
    run:
        from submasking.worlds import backbones

        backbones.load(wildcards.model, PROFILE, seed=int(wildcards.number))


for stem in NOTEBOOKS:

    rule:
        name:
            f"notebook_{stem.replace('-', '_')}"
        input:
            source=source(stem),
            backbone=backbones_of(stem),
            # the runs that two notebooks share are made by one of them
            before=[str(FOLDER / "notebooks" / f"{other}.ipynb") for other in grid.before(stem, PROFILE)],
        output:
            str(FOLDER / "notebooks" / f"{stem}.ipynb"),
        params:
            stem=stem,
            recipes=digest([run.recipe() for run in grid.notebook_runs(stem, PROFILE, SEEDS)]),
        priority: 2 if FIRST in models(stem) else 1
        resources:
            gpu=int(profile(PROFILE).protocol is not None),
        log:
            str(FOLDER / "logs" / f"{stem}.txt"),
        run:
            name, given = NOTEBOOKS[params.stem]
            notebooks.execute(name, given, Path(output[0]), progress=False)


rule grid:
    input:
        [str(FOLDER / "notebooks" / f"{stem}.ipynb") for stem in NOTEBOOKS],
    output:
        str(FOLDER / "grid.json"),
    run:
        runs = grid.runs(PROFILE, SEEDS)
        content = {"profile": PROFILE, "seeds": SEEDS, "runs": len(runs), "notebooks": sorted(NOTEBOOKS), "commit": surroundings.commit()}
        atomic.write(Path(output[0]), json.dumps(content, indent=1) + "\n")
