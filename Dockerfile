# Oncegate in a container: a static binary, no shell, no root.
#
#   docker build -t oncegate .
#   (umask 077; openssl rand -hex 32 > master.key) && sudo chown 65532 master.key
#   docker run --network host --read-only --cap-drop ALL --security-opt no-new-privileges \
#              -v oncegate:/var/lib/oncegate -v $PWD/master.key:/run/secrets/master_key:ro oncegate
#
# The first start makes the installation. Volumes: /var/lib/oncegate holds store, configuration and policies (mount
# /var/lib/oncegate/policies by itself to keep them elsewhere); the master key lies outside, in
# /run/secrets/master_key: a copy of the volume opens nothing. packaging/compose.yaml does the same.
#
# Host networking: RADIUS clients are known by their source address, and a bridge may hide it.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends musl-tools \
 && rm -rf /var/lib/apt/lists/* \
 && rustup target add x86_64-unknown-linux-musl
WORKDIR /src
COPY . .
RUN cargo build --locked --release --target x86_64-unknown-linux-musl \
 && install -D target/x86_64-unknown-linux-musl/release/oncegate /out/oncegate \
 && install -d -m 0700 -o 65532 -g 65532 /out/state

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/oncegate /usr/bin/oncegate
COPY --from=build --chown=65532:65532 /out/state /var/lib/oncegate
ENV ONCEGATE_DIR=/var/lib/oncegate \
    ONCEGATE__KEYS__MASTER=file:/run/secrets/master_key
USER 65532:65532
VOLUME /var/lib/oncegate
EXPOSE 1812/udp 8080/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=2s --start-period=5s CMD ["/usr/bin/oncegate", "status", "--quiet"]
ENTRYPOINT ["/usr/bin/oncegate"]
CMD ["serve", "--init"]
