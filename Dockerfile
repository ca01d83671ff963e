# One image for every process of Callreel. Without a command it runs all of them on one machine, with /data to keep:
#   docker run -p 3000:3000 -v callreel:/data callreel
# For a deployment of several machines give it the command of one process, as docs/protocol.md lists them.
FROM debian:12-slim AS build
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
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home callreel \
    && install -d -o callreel -g callreel -m 0750 /data
COPY --from=build /opt/callreel /opt/callreel
ENV PATH=/opt/callreel/bin:$PATH PYTHONUNBUFFERED=1
USER callreel
WORKDIR /data
VOLUME /data
EXPOSE 3000
# SIGTERM ends everything within some seconds; `docker stop` waits for ten.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD \
    ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:3000/readyz', timeout=4)"]
# The first process of a container inherits every orphan; tini buries them.
ENTRYPOINT ["tini", "--"]
CMD ["callreel", "up", "--host", "0.0.0.0", "--port", "3000", "--data", "/data"]
