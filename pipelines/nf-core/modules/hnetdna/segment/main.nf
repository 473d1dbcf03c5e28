process HNETDNA_SEGMENT {
    tag "$meta.id"
    label 'process_medium'

    conda "${moduleDir}/environment.yml"

    input:
    tuple val(meta), path(fasta)
    val model // a run or model folder, a built-in model, or owner/name on the hub

    output:
    tuple val(meta), path("*.bed.gz"), emit: bed
    tuple val(meta), path("*.bed.gz.{tbi,csi}"), emit: index
    tuple val(meta), path("*.bb"), emit: bigbed
    tuple val(meta), path("*.bw"), emit: bigwig
    path "versions.yml", emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    hnet-dna segment \\
        $args \\
        --quiet \\
        --model $model \\
        --bigbed ${prefix}.bb \\
        --bigwig ${prefix}.bw \\
        --out ${prefix}.bed.gz \\
        $fasta

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        hnet-dna: \$(hnet-dna --version | cut -d' ' -f2)
    END_VERSIONS
    """

    stub:
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    echo "" | gzip > ${prefix}.bed.gz
    touch ${prefix}.bed.gz.tbi ${prefix}.bb ${prefix}.bw

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        hnet-dna: \$(hnet-dna --version | cut -d' ' -f2)
    END_VERSIONS
    """
}
