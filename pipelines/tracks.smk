# Chunks and scores of a whole genome: its contigs are spread over jobs, and what they write is joined.
#
#     snakemake -s pipelines/tracks.smk --configfile mine.yaml --workflow-profile pipelines/profiles/local --cores 2
from snakemake.utils import min_version, validate

min_version("9.0")
validate(config, "schemas/tracks.schema.yaml")

OUT = config["out"]
SHARDS = range(1, config["shards"] + 1)


wildcard_constraints:
    shard=r"\d+",


rule all:
    input:
        f"{OUT}/chunks.bed.gz",
        f"{OUT}/boundaries.bw",
        f"{OUT}/log2p.bw",
        f"{OUT}/report.tsv",


# The store is built once, before jobs map it.
rule genome:
    input:
        config["genome"],
    output:
        f"{OUT}/genome.json",
    log:
        f"{OUT}/logs/genome.log",
    shell:
        "hnet-dna genome inspect {input:q} --json > {output:q} 2> {log:q}"


rule segment:
    input:
        genome=config["genome"],
        store=rules.genome.output,
        model=config["model"],
    output:
        bed=temp(f"{OUT}/shards/{{shard}}.bed"),
        bigwig=temp(f"{OUT}/shards/{{shard}}.boundaries.bw"),
    params:
        stage=config["stage"],
        shards=config["shards"],
    log:
        f"{OUT}/logs/segment.{{shard}}.log",
    resources:
        gpu=config["gpus"],
    shell:
        "hnet-dna segment {input.genome:q} --model {input.model:q} --stage {params.stage} "
        "--shard {wildcards.shard}/{params.shards} --bigwig {output.bigwig:q} --out {output.bed:q} 2> {log:q}"


rule score:
    input:
        genome=config["genome"],
        store=rules.genome.output,
        model=config["model"],
    output:
        temp(f"{OUT}/shards/{{shard}}.log2p.bw"),
    params:
        strand=config["strand"],
        shards=config["shards"],
    log:
        f"{OUT}/logs/score.{{shard}}.log",
    resources:
        gpu=config["gpus"],
    shell:
        "hnet-dna score {input.genome:q} --model {input.model:q} --strand {params.strand} "
        "--shard {wildcards.shard}/{params.shards} --bigwig {output:q} 2> {log:q}"


rule merge_chunks:
    input:
        expand(f"{OUT}/shards/{{shard}}.bed", shard=SHARDS),
    output:
        bed=f"{OUT}/chunks.bed.gz",
        index=f"{OUT}/chunks.bed.gz.{config['index']}",
    log:
        f"{OUT}/logs/merge_chunks.log",
    shell:
        "hnet-dna merge {input:q} --out {output.bed:q} 2> {log:q}"


rule merge_values:
    input:
        expand(f"{OUT}/shards/{{shard}}.{{{{track}}}}.bw", shard=SHARDS),
    output:
        f"{OUT}/{{track}}.bw",
    log:
        f"{OUT}/logs/merge_{{track}}.log",
    wildcard_constraints:
        track="boundaries|log2p",
    shell:
        "hnet-dna merge {input:q} --out {output:q} 2> {log:q}"


rule report:
    input:
        script=workflow.source_path("track_report.py"),
        genome=rules.genome.output,
        chunks=rules.merge_chunks.output.bed,
        scores=f"{OUT}/log2p.bw",
    output:
        report(f"{OUT}/report.tsv", caption="captions/tracks.rst", category="Tracks"),
    log:
        f"{OUT}/logs/report.log",
    shell:
        "python {input.script:q} {input.genome:q} {input.chunks:q} {input.scores:q} --out {output:q} 2> {log:q}"
