# One image per service: make images REGISTRY=registry.example.com/you
#
# or by hand: docker build --target ingress --tag bascule-ingress .
#
# Targets: ingress, worker, reaper, relay. Each holds the whole `bascule` command; ccxt is in the worker alone. All run as
# user 10001 on a root that may be read-only, with a writable /tmp. The configuration is mounted as
# /etc/bascule/bascule.yaml, secrets as files that NAME_FILE points to.

ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm

# What everything runs on. The official image comes without the bytecode of its library, and a read-only root keeps none.
FROM ${PYTHON_IMAGE} AS python
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -x '/(site-packages|dist-packages|tests?)/' \
    "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

# The tools that build. Nothing of this stage is in an image, pip neither.
FROM python AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_QUIET=1
WORKDIR /src
COPY requirements/build.txt requirements/
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --require-hashes --requirement requirements/build.txt

FROM tools AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY libs libs
COPY services services
COPY cli cli
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /wheels .

# The packages of a service. Their bytecode is not held against the source at every start, since neither changes.
FROM tools AS dependencies
COPY requirements/run.txt requirements/
RUN python3 -m venv --without-pip /opt/bascule \
 && /opt/build/bin/pip --python /opt/bascule/bin/python install --no-compile --require-hashes --requirement requirements/run.txt \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/bascule/lib

FROM dependencies AS dependencies-with-ccxt
COPY requirements/ccxt.txt requirements/
RUN /opt/build/bin/pip --python /opt/bascule/bin/python install --no-compile --require-hashes --requirement requirements/ccxt.txt \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/bascule/lib

FROM dependencies AS packages
COPY --from=wheel /wheels /wheels
RUN /opt/build/bin/pip --python /opt/bascule/bin/python install --no-compile --no-deps --no-index /wheels/*.whl \
 && cd /opt/bascule/lib/python3*/site-packages && python3 -m compileall -q --invalidation-mode unchecked-hash cli libs services

FROM dependencies-with-ccxt AS packages-with-ccxt
COPY --from=wheel /wheels /wheels
RUN /opt/build/bin/pip --python /opt/bascule/bin/python install --no-compile --no-deps --no-index /wheels/*.whl \
 && cd /opt/bascule/lib/python3*/site-packages && python3 -m compileall -q --invalidation-mode unchecked-hash cli libs services

FROM python AS runtime
RUN groupadd --gid 10001 bascule \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin bascule
ENV PATH=/opt/bascule/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    BASCULE_CONFIG=/etc/bascule/bascule.yaml \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
LABEL org.opencontainers.image.title="Bascule" \
      org.opencontainers.image.description="Carries TradingView alerts to brokers" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /opt/bascule
# Asks only whether the process is alive: what watches it may end the container, and an ingress whose Redis is away must
# stay, to answer 503.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["python", "-IS", "-c", "\
import os, socket; \
s = socket.create_connection(('127.0.0.1', int(os.environ['BASCULE_OPS_PORT'])), 2); \
s.settimeout(2); \
s.sendall(b'GET /live HTTP/1.0\\r\\n\\r\\n'); \
raise SystemExit(b' 200 ' not in s.recv(64))"]

FROM runtime AS ingress
COPY --from=packages /opt/bascule /opt/bascule
ENV BASCULE_OPS_PORT=9101
USER 10001:10001
EXPOSE 8080 9101
CMD ["python", "-m", "services.ingress"]

FROM runtime AS worker
COPY --from=packages-with-ccxt /opt/bascule /opt/bascule
ENV BASCULE_OPS_PORT=9110
USER 10001:10001
EXPOSE 9110
CMD ["python", "-m", "services.worker"]

FROM runtime AS reaper
COPY --from=packages /opt/bascule /opt/bascule
ENV BASCULE_OPS_PORT=9103
USER 10001:10001
EXPOSE 9103
CMD ["python", "-m", "services.reaper"]

FROM runtime AS relay
COPY --from=packages /opt/bascule /opt/bascule
ENV BASCULE_OPS_PORT=9104
USER 10001:10001
EXPOSE 8090 9104
CMD ["python", "-m", "services.relay"]
