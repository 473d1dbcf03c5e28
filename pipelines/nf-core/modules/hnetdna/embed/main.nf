process HNETDNA_EMBED {
    tag "$meta.id"
    label 'process_medium'

    conda "${moduleDir}/environment.yml"

    input:
    tuple val(meta), path(fasta)
    val model // a run or model folder, a built-in model, or owner/name on the hub

    output:
    tuple val(meta), path("*.parquet"), emit: vectors
    path "versions.yml", emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    hnet-dna embed \\
        $args \\
        --quiet \\
        --model $model \\
        --out ${prefix}.parquet \\
        $fasta

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        hnet-dna: \$(hnet-dna --version | cut -d' ' -f2)
    END_VERSIONS
    """

    stub:
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.parquet

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        hnet-dna: \$(hnet-dna --version | cut -d' ' -f2)
    END_VERSIONS
    """
}
