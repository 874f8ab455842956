# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements-build.lock ./
RUN python -m venv /build && /build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE rules.example.yaml rules.example.test.yaml ./
COPY relay ./relay
COPY templates ./templates
RUN /build/bin/python -m build --wheel --no-isolation --outdir /dist
COPY requirements.lock ./
RUN python -m venv /app \
 && /app/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && /app/bin/pip install --no-cache-dir --no-deps --no-index /dist/*.whl

FROM python:3.13-slim
COPY --from=build /app /app
RUN useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin relay \
 && install -d -o relay -g relay /data
ENV PATH=/app/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RELAY_LISTEN=0.0.0.0:8000 \
    RELAY_RULES=/data/rules.yaml \
    RELAY_DATABASE=sqlite:////data/relay.db
USER relay
WORKDIR /data
VOLUME /data
EXPOSE 8000
# Asks whether it is alive, not whether it is ready: with a full disk it still sends. http.client uses no proxy of the environment.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
  CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); exit(c.getresponse().status != 200)"]
CMD ["relay", "serve"]
