# The environment of doubledraft in an image: the same pins, the same commands as on a machine.
#   docker build .                               for CPU
#   docker build --build-arg BUILD=gpu .         for a GPU; the host's driver is passed in by the container toolkit
# The working tree is inside; data, results and caches are volumes. compose.yaml runs study, demo and a vLLM teacher.
# Where there is no registry of images, the base comes from Debian's packages:
#   mmdebstrap --variant=minbase bookworm debian.tar
#   docker import debian.tar debian:local; then build with --build-arg BASE=debian:local
# docs/how-to/containers.md has the same with buildah, and what was tried.

# Pin by digest where your registry has one: BASE=docker.io/library/debian@sha256:...
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${BASE}
ARG BUILD=cpu
ARG UID=1000

# g++ compiles the engine's own pass, libnuma1 is vLLM's, git records in every result which commit made it; python3.11-dev is for
# the GPU build alone, where Triton compiles against it.
RUN apt-get update && apt-get install --yes --no-install-recommends \
    ca-certificates g++ git libnuma1 make python3.11 python3.11-dev python3.11-venv && \
    rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid ${UID} study && \
    install --directory --owner study /doubledraft /doubledraft/data /doubledraft/results /home/study/.cache
USER study
WORKDIR /doubledraft

# The environment alone first: it changes only with the pins, and takes the most time.
COPY --chown=study envs envs
COPY --chown=study pyproject.toml README.md LICENSE ./
COPY --chown=study doubledraft/__init__.py doubledraft/__init__.py
RUN PYTHON=python3.11 envs/install.sh ${BUILD} .venv && rm -rf ~/.cache/*

COPY --chown=study . .
ENV PATH=/doubledraft/.venv/bin:${PATH}
VOLUME ["/doubledraft/data", "/doubledraft/results", "/home/study/.cache"]
EXPOSE 7860
CMD ["snakemake", "--cores", "all"]
