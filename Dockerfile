# reid-dhm on the CPU, with the service, installed from the wheel.
#
#   docker build -t reid-dhm .
#   docker run --rm -v "$PWD/galleries:/data/galleries" -p 127.0.0.1:8000:8000 \
#       --user "$(id -u):$(id -g)" -e REID_DHM_HOME=/tmp/reid \
#       -e REID_DHM_TOKEN=... reid-dhm serve --gallery galleries/site --host 0.0.0.0
#
# Galleries are readable by their owner only (mode 0700): --user runs the service as that owner, who has
# no home in the container, so that REID_DHM_HOME names a folder for its cache.
#
# TORCH_INDEX: an index with PyTorch's CPU wheels; without it pip installs the CUDA builds.
FROM python:3.12-slim AS wheel
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /wheels

FROM python:3.12-slim
ARG TORCH_INDEX=""
# EXTRAS: service,cluster for deploy/.
ARG EXTRAS="service"
# OpenCV's wheel needs these two libraries.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=wheel /wheels /wheels
RUN if [ -n "$TORCH_INDEX" ]; then \
        pip install --no-cache-dir torch torchvision --index-url "$TORCH_INDEX"; \
    fi \
    && wheel="$(echo /wheels/*.whl)" \
    && pip install --no-cache-dir "${wheel}[${EXTRAS}]" \
    && rm -r /wheels
RUN useradd --create-home --uid 1000 reid && mkdir /data && chown reid /data
USER reid
WORKDIR /data
EXPOSE 8000
ENTRYPOINT ["reid-dhm"]
CMD ["--help"]
