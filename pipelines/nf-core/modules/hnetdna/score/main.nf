process HNETDNA_SCORE {
    tag "$meta.id"
    label 'process_medium'

    conda "${moduleDir}/environment.yml"

    input:
    tuple val(meta), path(fasta)
    val model // a run or model folder, a built-in model, or owner/name on the hub

    output:
    tuple val(meta), path("*.bw"), emit: bigwig
    path "versions.yml", emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    hnet-dna score \\
        $args \\
        --quiet \\
        --model $model \\
        --bigwig ${prefix}.bw \\
        $fasta

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        hnet-dna: \$(hnet-dna --version | cut -d' ' -f2)
    END_VERSIONS
    """

    stub:
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.bw

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        hnet-dna: \$(hnet-dna --version | cut -d' ' -f2)
    END_VERSIONS
    """
}
