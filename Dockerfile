# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock askama.toml build.rs schema.sql ./
COPY config config
COPY docs/openapi.json docs/
COPY src src
RUN cargo build --locked --release && mkdir /data

# This image contains the C library, without a shell or a package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/statusmirror /statusmirror
COPY LICENSE-MIT LICENSE-APACHE /licenses/
# A new volume gets the owner of this folder.
COPY --from=build --chown=65532:65532 /data /data
# The server listens on all addresses, so that the host and other containers can reach it. It therefore
# starts only if an API key and a source are configured.
ENV STATUSMIRROR__SERVER__LISTEN=0.0.0.0:8080 \
    STATUSMIRROR__STORE__URL=sqlite:/data/statusmirror.db
VOLUME /data
EXPOSE 8080
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["/statusmirror", "healthcheck"]
ENTRYPOINT ["/statusmirror"]
CMD ["serve", "--lock-wait", "30s"]
