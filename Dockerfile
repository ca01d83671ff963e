# One image for every process of Callreel; the command says which: up (the default), ingest, worker or sweep.
#   docker run -p 3000:3000 -v callreel:/data callreel
# compose.yaml runs it as its parts.
FROM debian:12-slim AS build
# hadolint ignore=DL3008  # Debian takes a version away when it mends it; what was tested is the release
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/callreel
ENV PATH=/opt/callreel/bin:$PATH
WORKDIR /src
# First what changes rarely, so that a changed line of ours does not fetch everything again.
COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY callreel callreel
COPY ingest ingest
COPY workers workers
COPY web_client web_client
RUN pip install --no-cache-dir --disable-pip-version-check --no-index --no-deps --no-build-isolation .

FROM debian:12-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home callreel \
    && install -d -o callreel -g callreel -m 0750 /data
COPY --from=build /opt/callreel /opt/callreel
COPY --chmod=0755 deploy/entrypoint /usr/local/bin/callreel-entrypoint
ENV PATH=/opt/callreel/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 3000
# SIGTERM ends everything within some seconds; `docker stop` waits for ten.
STOPSIGNAL SIGTERM
# For what serves HTTP. Workers and the sweeper do not; compose.yaml says so.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD \
    ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:3000/readyz', timeout=4)"]
# The first process of a container inherits every orphan; tini buries them.
ENTRYPOINT ["tini", "--", "callreel-entrypoint"]
CMD ["up"]
