# A table of benchmarks: vectors of each data set's sequences, and heads on them judged by cross-validation.
#
#     snakemake -s pipelines/probes.smk --configfile mine.yaml --workflow-profile pipelines/profiles/local --cores 2
from snakemake.utils import min_version, validate

min_version("9.0")
validate(config, "schemas/probes.schema.yaml")

OUT = config["out"]


wildcard_constraints:
    dataset=r"[\w-]+",
    level=r"[a-z]+(:\d+)?",
    head=r"[a-z]+",


rule all:
    input:
        f"{OUT}/table.tsv",


rule embed:
    input:
        labels=lambda wildcards: config["datasets"][wildcards.dataset],
        model=config["model"],
    output:
        f"{OUT}/vectors/{{dataset}}.{{level}}.parquet",
    params:
        pool=config["pool"],
        strand=config["strand"],
    log:
        f"{OUT}/logs/embed.{{dataset}}.{{level}}.log",
    resources:
        gpu=config["gpus"],
    shell:
        "hnet-dna embed {input.labels:q} --model {input.model:q} --level {wildcards.level} --pool {params.pool} "
        "--strand {params.strand} --out {output:q} 2> {log:q}"


rule probe:
    input:
        labels=lambda wildcards: config["datasets"][wildcards.dataset],
        vectors=rules.embed.output,
    output:
        directory(f"{OUT}/heads/{{dataset}}.{{level}}.{{head}}"),
    params:
        folds=config["folds"],
        task=config["task"],
    log:
        f"{OUT}/logs/probe.{{dataset}}.{{level}}.{{head}}.log",
    shell:
        "hnet-dna probe {input.labels:q} --embeddings {input.vectors:q} --head {wildcards.head} --folds {params.folds} "
        "--task {params.task} --out {output:q} > {log:q} 2>&1"


rule table:
    input:
        script=workflow.source_path("probe_table.py"),
        heads=expand(rules.probe.output, dataset=config["datasets"], level=config["levels"], head=config["heads"]),
    output:
        report(f"{OUT}/table.tsv", caption="captions/probes.rst", category="Probes"),
    log:
        f"{OUT}/logs/table.log",
    shell:
        "python {input.script:q} {input.heads:q} --out {output:q} 2> {log:q}"
