# Oncegate in a container: a static binary, no shell, no root; for amd64 and arm64, whichever builds it.
#
#   docker build -t oncegate .
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/oncegate --push .
#   (umask 077; openssl rand -hex 32 > master.key) && sudo chown 65532 master.key
#   docker run --network host --read-only --cap-drop ALL --security-opt no-new-privileges \
#              -v oncegate:/var/lib/oncegate -v $PWD/master.key:/run/secrets/master_key:ro oncegate
#
# The first start makes the installation. Volumes:
#
#   /var/lib/oncegate            store, configuration, and policies: what a backup holds
#   /var/lib/oncegate/policies   the policies alone, where they are kept elsewhere (version control); may be read-only
#   /run/secrets/master_key      the master key, outside of the store's volume: a copy of that opens nothing
#
# packaging/compose.yaml does the same.
#
# Host networking: RADIUS clients are known by their source address, and a bridge may hide it.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends musl-tools \
 && rm -rf /var/lib/apt/lists/* \
 && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /oncegate
COPY . .
# A static binary loads no PKCS #11 module: without the feature `hsm`.
RUN target="$(uname -m)-unknown-linux-musl" \
 && TARGET_CC=musl-gcc packaging/without-paths \
    cargo build --locked --release --target "$target" --no-default-features --features bench \
 && install -D "target/$target/release/oncegate" /out/oncegate \
 && install -d -m 0700 -o 65532 -g 65532 /out/state

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/oncegate /usr/bin/oncegate
COPY --from=build --chown=65532:65532 /out/state /var/lib/oncegate
ENV ONCEGATE_DIR=/var/lib/oncegate \
    ONCEGATE__KEYS__MASTER=file:/run/secrets/master_key
USER 65532:65532
VOLUME /var/lib/oncegate
EXPOSE 1812/udp 1813/udp 8080/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=2s --start-period=5s CMD ["/usr/bin/oncegate", "status", "--quiet"]
ENTRYPOINT ["/usr/bin/oncegate"]
CMD ["serve", "--init"]
