# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock askama.toml build.rs schema.sql ./
COPY config config
COPY docs/openapi.json docs/
COPY src src
RUN cargo build --locked --release && mkdir /data

# Of the C library and nothing else: no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/statusmirror /statusmirror
COPY LICENSE-MIT LICENSE-APACHE /licenses/
# A volume takes its owner from here.
COPY --from=build --chown=65532:65532 /data /data
# From the host and from other containers it is reached at an address of its own. Such an address needs an
# API key and a source, so that without both it does not start.
ENV STATUSMIRROR__SERVER__LISTEN=0.0.0.0:8080 \
    STATUSMIRROR__STORE__URL=sqlite:/data/statusmirror.db
VOLUME /data
EXPOSE 8080
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["/statusmirror", "healthcheck"]
ENTRYPOINT ["/statusmirror"]
CMD ["serve", "--lock-wait", "30s"]
