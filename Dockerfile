# bangui as an image: `docker build -t bangui .` is the worker (and the agent, with `agent` as its argument).
# `--target host` adds a fail2ban, for an agent that runs in a container beside it, as docker-compose.yml does.
#
# It needs no BuildKit. The dependencies are a layer of their own, built anew only when Cargo.lock changes.
ARG RUST_IMAGE=rust:1-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
ARG PROFILE=release
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
# Sources without content: what the manifest names must be there for the dependencies to be built.
RUN mkdir -p src benches/figures tests/it \
 && touch src/lib.rs \
 && echo 'fn main() {}' | tee src/main.rs benches/figures/main.rs tests/it/main.rs \
 && cargo build --locked --profile "$PROFILE" --bin bangui \
 && rm -r src
COPY src src
# Newer than the empty ones, whatever the times in the checkout are.
RUN touch src/lib.rs src/main.rs \
 && cargo build --locked --profile "$PROFILE" --bin bangui \
 && cp "target/$(test "$PROFILE" = dev && echo debug || echo "$PROFILE")/bangui" /bangui

FROM ${BASE_IMAGE} AS bangui
# The authorities that sign the certificates of Redis and agents.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 65532 bangui \
 && useradd --system --uid 65532 --gid bangui --home-dir / --no-create-home --shell /usr/sbin/nologin bangui
COPY --from=build /bangui /usr/local/bin/bangui
ENV BANGUI_LISTEN=0.0.0.0:8080 BANGUI_LOG_FORMAT=json
EXPOSE 8080
USER 65532:65532
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["bangui", "healthcheck"]
ENTRYPOINT ["bangui"]
CMD ["serve"]

# A host of fail2ban in containers: the server and the agent share this image, the socket and the configuration.
FROM bangui AS host
USER root
RUN apt-get update \
 && apt-get install -y --no-install-recommends fail2ban nftables \
 && rm -rf /var/lib/apt/lists/* /etc/fail2ban/jail.d/*
COPY .deploy/fail2ban /etc/fail2ban
HEALTHCHECK NONE
CMD ["agent"]

# The last one is what a build without --target makes.
FROM bangui
