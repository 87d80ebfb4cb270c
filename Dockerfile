# docker build -t particle_nb . && docker run --rm -p 8888:8888 particle_nb
# JupyterLab with the quickstart open; the address with its token stands in the output.
FROM python:3.11-slim

# e.g. --build-arg PIP_OPTIONS="--index-url URL" for another index, such as one of CPU-only wheels
ARG PIP_OPTIONS=""

RUN useradd --create-home --uid 1000 person
WORKDIR /home/person/particle_nb
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE ./
COPY particle_nb particle_nb
COPY notebooks notebooks
RUN pip install --no-cache-dir $PIP_OPTIONS -c constraints.txt ".[excel]" \
    && chown -R person notebooks

USER person
ENV OMP_NUM_THREADS=2
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--ServerApp.root_dir=notebooks", "--LabApp.default_url=/lab/tree/quickstart.ipynb"]
