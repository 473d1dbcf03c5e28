# Pretraining runs on one genome and split, each evaluated, and a table of them.
#
#     snakemake -s pipelines/pretrain.smk --configfile mine.yaml --workflow-profile pipelines/profiles/local --cores 2
#
# A run's folder is no output of its rule: Snakemake would delete it, with its checkpoints, before a job starts again.
from snakemake.utils import min_version, validate

min_version("9.0")
validate(config, "schemas/pretrain.schema.yaml")

OUT = config["out"]
RUNS = config["runs"]
SPLIT = ["--split", config["split"]] if "split" in config else []
ANNOTATION = ["--annotation", config["annotation"]] if "annotation" in config else []
TORCHRUN = f"torchrun --standalone --nproc-per-node {config['gpus']} --no-python " if config["gpus"] > 1 else ""


wildcard_constraints:
    run=r"[\w-]+",


rule all:
    input:
        f"{OUT}/table.tsv",


rule pretrain:
    input:
        config["genome"],
    output:
        f"{OUT}/{{run}}/results.json",
    params:
        launch=TORCHRUN,
        run=f"{OUT}/{{run}}",
        options=lambda wildcards: RUNS[wildcards.run],
        steps=config["steps"],
        split=SPLIT,
    log:
        f"{OUT}/logs/pretrain.{{run}}.log",
    threads: config["threads"]
    resources:
        gpu=config["gpus"],
    shell:
        "{params.launch}hnet-dna pretrain --genome {input:q} --out {params.run:q} --steps {params.steps} "
        "{params.split:q} {params.options:q} --resume > {log:q} 2>&1"


rule evaluate:
    input:
        genome=config["genome"],
        results=rules.pretrain.output,
    output:
        f"{OUT}/evaluations/{{run}}.json",
    params:
        run=f"{OUT}/{{run}}",
        options=[*SPLIT, *ANNOTATION],
    log:
        f"{OUT}/logs/evaluate.{{run}}.log",
    resources:
        gpu=int(config["gpus"] > 0),
    shell:
        "hnet-dna evaluate --genome {input.genome:q} --model {params.run:q} {params.options:q} --json "
        "> {output:q} 2> {log:q}"


rule table:
    input:
        script=workflow.source_path("evaluation_table.py"),
        evaluations=expand(rules.evaluate.output, run=RUNS),
    output:
        report(f"{OUT}/table.tsv", caption="captions/pretrain.rst", category="Pretraining"),
    log:
        f"{OUT}/logs/table.log",
    shell:
        "python {input.script:q} {input.evaluations:q} --out {output:q} 2> {log:q}"
