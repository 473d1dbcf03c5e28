# CPU by default. For a CUDA build of PyTorch give another index of the same site, such as
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 -t hnet-dna .
FROM python:3.12-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH=torch
ARG EXTRAS=twobit,plot,anndata
RUN python -m venv /opt/hnet-dna
ENV PATH=/opt/hnet-dna/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Before anything else asks for torch, and in a layer of its own, since it is large and changes seldom.
RUN pip install --index-url "$TORCH_INDEX" "$TORCH"
COPY . /src
RUN pip install "/src[$EXTRAS]"

FROM python:3.12-slim
COPY --from=build /opt/hnet-dna /opt/hnet-dna
# Fetched genomes, stores and models from the hub; open to all, since `docker run --user` may be anybody.
ENV PATH=/opt/hnet-dna/bin:$PATH HNET_DNA_HOME=/cache HOME=/cache
RUN mkdir /data && mkdir -m 1777 /cache
USER nobody
WORKDIR /data
VOLUME ["/cache"]
ENTRYPOINT ["hnet-dna"]
CMD ["--help"]
