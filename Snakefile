# The grid: every notebook with every parameter set of a profile, then grid.json, which lets the book show this run.
#
#   make grid                                         the tiny profile on this machine
#   make grid PROFILE=paper                           the paper itself, a run on each GPU of this machine
#   make grid PROFILE=paper ON=slurm                  the same on a cluster; each with DRY=1 says what is due
#   snakemake --profile profiles/machine --cores 2 --config profile=smoke seeds=0,1         what make calls
#   snakemake --profile profiles/slurm --config profile=paper check=answer.json             hours of one's own device
#
# One job is one notebook with many runs in it, or (job=run, and the paper always) one run, and a notebook reads what
# its runs left. Starting a process takes as long as a run of tiny, and nothing beside one of the paper. A killed grid
# goes on where it stopped, since each run leaves its own record; the lock that Snakemake itself leaves behind is in
# nobody's way with nolock, since `sole` sees to it that no two grids are at work in one folder. A job is due again when
# its notebook or a hyper-parameter of one of its runs changes, never because of a commit or a clone.
import hashlib
import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from snakemake.exceptions import WorkflowError

# nothing that brings torch: a grid with nothing to do is planned in the time that Snakemake itself takes
from submasking.experiments import cost, forecast, grid, notebooks, sole, work
from submasking.experiments.progress import Watch
from submasking.experiments.run import Run
from submasking.records import places
from submasking.records.profiles import profile
from submasking.worlds import origin

PROFILE = config.get("profile", "tiny")
SEEDS = str(config.get("seeds") or "all")
try:
    PAPER = profile(PROFILE).protocol is not None
    NOTEBOOKS, MAKERS = grid.notebooks(PROFILE, SEEDS), grid.makers(PROFILE, SEEDS)
except ValueError as error:
    raise WorkflowError(str(error)) from None
JOB = config.get("job") or ("run" if PAPER else "notebook")
STEPS = forecast.checked_steps(Path(config["check"])) if config.get("check") else None
FOLDER = places.results_folder(PROFILE)
THREADS = int(os.environ.get("OMP_NUM_THREADS", 1))  # what a cluster is asked for is what a run will use
MEMORY = 16_000 if PAPER else 2_000  # a guess; a run of tiny was seen to hold 1,131 MiB
LEFT = work.until_the_end(PROFILE, SEEDS)  # what has most after it starts first, lest it end alone
# a process for each job, and not a second Snakemake between, nor a kernel: each would import PyTorch or nearly as much
WORDS = (sys.executable, "-m", "submasking.experiments.job", f"--profile={PROFILE}", f"--seeds={SEEDS}")
CALL = shlex.join(WORDS).replace("{", "{{").replace("}", "}}")  # as Snakemake reads a line of shell
ONE_GPU = ("", " --gpu")
watch = Watch(PROFILE, SEEDS)

if JOB not in ("run", "notebook"):
    raise WorkflowError(f"job must be run or notebook, got {JOB!r}; pass --config job=run")
if not workflow.is_main_process:  # on a cluster, where this process begins what holds the lock then
    sole.hold_job(FOLDER)


def digest(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def source(stem):
    return str(notebooks.path(NOTEBOOKS[stem][0]))


def run_of(wildcards):
    labels, seed = float(wildcards.labels), int(wildcards.seed)
    return Run(PROFILE, wildcards.model, wildcards.dataset, wildcards.method, labels, seed)


def needs_of(wildcards):
    """Files that must be there before a run: its backbone, and of a random mask the run that says how dense."""
    run = run_of(wildcards)
    learnt = [replace(run, method="FS").record_file] if run.method == "FS-random" else []
    return [str(file) for file in (*origin.pretrained(run.model, PROFILE, run.seed), *learnt)]


def rank(run):
    """Hours, so that the longest run comes first; of the embedded world, where all are short, what comes after it."""
    if not PAPER:
        return round(LEFT[MAKERS[run]])
    known = STEPS or forecast.shipped_steps()
    return 1 + round(cost.seconds(run, known.seconds, known.batch) / 3600)


def before(stem):
    """What a notebook reads and does not make: the records of its runs, or notebooks that share runs with it."""
    if JOB == "run":
        return [str(run.record_file) for run in grid.notebook_runs(stem, PROFILE, SEEDS)]
    return [str(FOLDER / "notebooks" / f"{other}.ipynb") for other in grid.before(stem, PROFILE)]


def gpus(stem):
    """A notebook that only reads needs none, nor does the one on rounding, which stays on the processor."""
    trains = tuple(grid.ANALYSES) + (() if JOB == "run" else ("submasking", "label_sparsity"))
    return int(PAPER and NOTEBOOKS[stem][0] in trains)


def models(stem):
    given = NOTEBOOKS[stem][1]["model"]
    return sorted({run.model for run in grid.notebook_runs(stem, PROFILE, SEEDS)}) if given == "all" else [given]


def backbones_of(stem):
    """Files of the pretrained backbones that a notebook's runs take; the first for one that keeps its own record."""
    runs = [(run.model, run.seed) for run in grid.notebook_runs(stem, PROFILE, SEEDS)]
    wanted = runs or [(model, 0) for model in models(stem)]
    return sorted({str(file) for model, seed in wanted for file in origin.pretrained(model, PROFILE, seed)})


def whole(wildcards):
    """What a grid leaves. A dry run says here, as soon as Snakemake knows that it is one, what is due."""
    if workflow.dryrun:
        print("\n".join(forecast.told(list(MAKERS), STEPS)), file=sys.stderr)
    return str(FOLDER / "grid.json")


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
        whole,


rule backbone:
    output:
        str(FOLDER / "backbones" / "{model}-{number}.safetensors"),
    wildcard_constraints:
        number=r"\d+",
    params:
        recipe=lambda wildcards: digest(origin.of(wildcards.model, PROFILE, seed=int(wildcards.number))),
    priority: lambda wildcards: round(LEFT[wildcards.model])
    resources:
        mem_mb=MEMORY,
        runtime=forecast.DAY,
        cpus_per_task=THREADS,
    shell:
        CALL + " backbone {wildcards.model:q} {wildcards.number:q}"


rule run:
    input:
        needs_of,
    output:
        str(FOLDER / "records" / "{model}" / "{dataset}" / "{method}-labels{labels}-seed{seed}.json"),
    wildcard_constraints:
        model="[^/]+",
        dataset="[^/]+",
        method="[^/]+",
        labels=r"[\d.]+",
        seed=r"\d+",
    params:
        # Snakemake knows that of its own jobs: a record of another recipe that one made by hand its notebook makes anew
        recipe=lambda wildcards: digest(run_of(wildcards).recipe()),
    priority: lambda wildcards: rank(run_of(wildcards))
    resources:
        gpu=int(PAPER),
        mem_mb=MEMORY,
        runtime=lambda wildcards: forecast.minutes(run_of(wildcards), STEPS),
        cpus_per_task=THREADS,
    shell:
        CALL + ONE_GPU[PAPER] + " run {wildcards.model:q} {wildcards.dataset:q} {wildcards.method:q}"
        " {wildcards.labels:q} {wildcards.seed:q}"


for stem in NOTEBOOKS:

    rule:
        name:
            f"notebook_{stem.replace('-', '_')}"
        input:
            source=source(stem),
            backbone=backbones_of(stem),
            before=before(stem),
        output:
            str(FOLDER / "notebooks" / f"{stem}.ipynb"),
        params:
            stem=stem,
            recipes=digest([run.recipe() for run in grid.notebook_runs(stem, PROFILE, SEEDS)]),
        priority: round(LEFT[stem])
        resources:
            gpu=gpus(stem),
            mem_mb=MEMORY,
            runtime=forecast.DAY,
            cpus_per_task=THREADS,
        shell:
            CALL + ONE_GPU[gpus(stem)] + " notebook {params.stem:q}"


rule grid:
    input:
        [str(FOLDER / "notebooks" / f"{stem}.ipynb") for stem in NOTEBOOKS],
    output:
        str(FOLDER / "grid.json"),
    shell:
        CALL + " finish"
