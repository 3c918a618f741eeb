# edge_sim as a container: the daemon with the page, without root, on a read-only file system with one volume.
# docker build -t edge_sim . && docker compose up; the log of the first run holds the password of the page.
FROM debian:12-slim AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv binutils liblapack3 \
 && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN sh /source/tools/packaging/container/build.sh /source /opt/edge_sim

FROM debian:12-slim
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 ca-certificates liblapack3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 990 --groups video --no-create-home --shell /usr/sbin/nologin edge_sim \
 && install -d -o edge_sim -g edge_sim -m 750 /data
COPY --from=build /opt/edge_sim /opt/edge_sim
COPY tools/packaging/container/start.sh /opt/edge_sim/bin/start.sh
ENV PATH=/opt/edge_sim/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1
USER 990
WORKDIR /data
VOLUME /data
EXPOSE 9713
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python3", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9713, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status == 503)"]
ENTRYPOINT ["sh", "/opt/edge_sim/bin/start.sh"]
