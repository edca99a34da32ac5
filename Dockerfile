# The worker's image: docker build .
# The digest decides which base that is: here python:3.13.15-slim-trixie of September 2026. For a newer one, ask
# `docker buildx imagetools inspect docker.io/library/python:3.13-slim`, and give --build-arg PYTHON_IMAGE=…@sha256:…
# An index or a proxy of your own: docker build --secret id=pip.conf,src=pip.conf …
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /source
COPY locks/build.txt locks/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv /tools \
    && /tools/bin/pip install --no-cache-dir --require-hashes --only-binary :all: --requirement locks/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY docs docs
COPY worker worker
RUN /tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM ${PYTHON_IMAGE} AS environment
# `sandbox` adds what the command `sandbox` needs.
ARG LOCK=worker
COPY locks/${LOCK}.txt /lock.txt
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv /tools \
    && python3 -m venv --without-pip /opt/attribute-worker \
    && /tools/bin/pip --python /opt/attribute-worker install --no-cache-dir --require-hashes --only-binary :all: \
       --requirement /lock.txt
COPY --from=wheel /wheels /wheels
RUN /tools/bin/pip --python /opt/attribute-worker install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM ${PYTHON_IMAGE}
# The base's own pip, and the copy of it that makes new environments. Nothing installs anything from here on.
RUN find /usr -xdev \( -name ensurepip -o -name pip -o -name 'pip[-0-9]*' \) -prune -exec rm -r {} +
COPY --from=environment /opt/attribute-worker /opt/attribute-worker
ENV PATH=/opt/attribute-worker/bin:$PATH

ARG PYTHON_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="attentive-attribute-worker" \
      org.opencontainers.image.description="Coalesces a Kafka topic of profile changes into few, ordered Attentive custom-attribute upserts." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"

USER 10001:10001
EXPOSE 8080
# Kubernetes asks /livez by its own probe. This is for engines that ask from inside.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python3", "-c", "import http.client, os; host = os.environ.get('WORKER_HTTP__HOST', '::'); connection = http.client.HTTPConnection('127.0.0.1' if host == '::' else host, os.environ.get('WORKER_HTTP__PORT', '8080'), timeout=4); connection.request('GET', '/livez'); raise SystemExit(connection.getresponse().status != 200)"]
ENTRYPOINT ["attribute-worker"]
CMD ["run"]
