# The image of a server: `docker build --tag wse-server .`, then `docker run --publish 5007:5007 wse-server`.
# docs/how-to/docker.md has the rest: clusters, read-only containers, and an image with handlers of your own.

# The compiler that rust-toolchain.toml names.
FROM rust:1.95.0-slim-trixie AS rust

# ---- Builds the wheels, and the environment that they are installed in ----

FROM python:3.12-slim-trixie AS builder

RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

COPY --from=rust /usr/local/rustup /usr/local/rustup
COPY --from=rust /usr/local/cargo /usr/local/cargo

# RUSTUP_TOOLCHAIN: what is installed is used. The components that rust-toolchain.toml asks for are for developers.
ENV RUSTUP_HOME=/usr/local/rustup \
    CARGO_HOME=/usr/local/cargo \
    RUSTUP_TOOLCHAIN=1.95.0 \
    PATH=/usr/local/cargo/bin:$PATH \
    PYO3_PYTHON=/opt/tools/bin/python

WORKDIR /src

# What changes seldom comes first: these layers are kept when only the sources change.
COPY requirements/run.txt requirements/image.txt requirements/
RUN python -m venv /opt/tools \
    && /opt/tools/bin/python -m pip install --no-cache-dir --require-hashes --requirement requirements/run.txt
RUN python -m venv /opt/wse \
    && /opt/wse/bin/python -m pip install --no-cache-dir --require-hashes --requirement requirements/image.txt

COPY Cargo.toml Cargo.lock pyproject.toml README.md LICENSE ./
COPY crates crates
COPY benches/micro benches/micro
COPY spec spec
COPY python python

# As `make wheel` and `make wheel-client` do it.
RUN /opt/tools/bin/maturin build --release --locked --out build/wheels --interpreter /opt/tools/bin/python
RUN cd python/wse_client && /opt/tools/bin/python -m hatchling build -t wheel -d /src/build/client

# What they ask for is there, from the lock; `pip check` fails if something is missing.
RUN /opt/wse/bin/python -m pip install --no-cache-dir --no-index --no-deps build/wheels/*.whl build/client/*.whl \
    && /opt/wse/bin/python -m pip check

# ---- The image ----

FROM python:3.12-slim-trixie

LABEL org.opencontainers.image.title="wse-server" \
      org.opencontainers.image.description="A WebSocket engine for Python: topics, back-pressure and authentication, with the data plane in Rust" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="python:3.12-slim-trixie"

COPY --from=builder /opt/wse /opt/wse

# Nothing is written outside /tmp, and nothing needs to be written there: the root may be read-only.
ENV PATH=/opt/wse/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# Where `--app module:server` looks for the module.
WORKDIR /app

# A number, so that Kubernetes can tell that it is not root. Any other number works as well.
USER 10001:10001

# Clients, and other nodes.
EXPOSE 5007 9999

# SIGTERM empties the server within WSE_DRAIN_TIMEOUT (30 s): let `docker stop` wait longer, with -t 45.
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["wse", "health"]

ENTRYPOINT ["wse"]
CMD ["serve"]
