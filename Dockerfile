# bangui as an image. `docker build -t bangui .` makes the worker's: the binary, the libraries it is linked to, the public
# certificate authorities, and nothing else, not even a shell. It runs as an unprivileged user, and its root may be read-only.
# `--target host` makes the image for beside a fail2ban: the agent, with fail2ban's own programs, which the agent runs.
#
# It needs no BuildKit. The dependencies are a separate layer, rebuilt only when Cargo.toml or Cargo.lock changes.
# For the fail2ban of another Debian release: --build-arg BASE_IMAGE=debian:trixie-slim --build-arg RUST_IMAGE=rust:1-trixie.
# A release names both by digest, so that its origin is known exactly: .ci/release says how.
ARG RUST_IMAGE=rust:1-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
ARG PROFILE=release
# An image is built once, from nothing: what helps the next build or a debugger only takes time here.
ENV CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
# Empty sources: the files that Cargo.toml names must exist for the dependencies to be built.
RUN mkdir -p src/http/pages/assets benches/figures tests/it tests/chaos tests/browser \
 && touch src/lib.rs \
 && echo 'fn main() {}' | tee src/main.rs src/http/pages/assets/build.rs benches/figures/main.rs tests/it/main.rs \
    tests/chaos/main.rs tests/browser/main.rs \
 && cargo build --locked --profile "$PROFILE" --bin bangui \
 && rm -r src
COPY askama.toml askama.toml
COPY src src
# Make the sources newer than the empty ones, whatever their times in the checkout are. No sources remain in this layer:
# `.ci/test-deploy` builds another version on top of it, with its own sources.
RUN touch src/lib.rs src/main.rs src/http/pages/assets/build.rs \
 && cargo build --locked --profile "$PROFILE" --bin bangui \
 && cp "target/$(test "$PROFILE" = dev && echo debug || echo "$PROFILE")/bangui" /bangui \
 && rm -r src

FROM ${BASE_IMAGE} AS base
# The authorities that sign the certificates of Redis and agents; openssl makes an agent's certificate in Kubernetes.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates openssl \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /bangui /usr/local/bin/bangui

# The libraries that the binary is linked to, and the files that it reads: collected here, so that the last image needs no list.
FROM base AS root
RUN mkdir -p /root-fs/etc/ssl/certs /root-fs/usr/local/bin \
 && ldd /usr/local/bin/bangui | grep -o '/[^ ]*' | xargs -I{} cp --dereference --parents {} /root-fs/ \
 && cp /etc/ssl/certs/ca-certificates.crt /root-fs/etc/ssl/certs/ \
 && echo 'hosts: files dns' >/root-fs/etc/nsswitch.conf \
 && echo 'bangui:x:65532:65532::/:/usr/sbin/nologin' >/root-fs/etc/passwd \
 && echo 'bangui:x:65532:' >/root-fs/etc/group \
 && cp /usr/local/bin/bangui /root-fs/usr/local/bin/

# Beside a fail2ban: the agent, and in docker-compose.yml the server too. Root, because fail2ban's socket and
# configuration are root's.
FROM base AS host
RUN apt-get update \
 && apt-get install -y --no-install-recommends fail2ban nftables \
 && rm -rf /var/lib/apt/lists/* /etc/fail2ban/jail.d/*
COPY .deploy/fail2ban /etc/fail2ban
ENV BANGUI_LOG_FORMAT=json
ENTRYPOINT ["bangui"]
CMD ["agent"]

# The last stage is built if there is no --target.
FROM scratch AS bangui
COPY --from=root /root-fs /
ENV PATH=/usr/local/bin BANGUI_LISTEN=0.0.0.0:8080 BANGUI_LOG_FORMAT=json
EXPOSE 8080
USER 65532:65532
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["bangui", "healthcheck"]
ENTRYPOINT ["bangui"]
CMD ["serve"]
