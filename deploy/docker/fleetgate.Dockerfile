# Issuer, broker and command. From the top of the repository:
#   docker build -f deploy/docker/fleetgate.Dockerfile -t fleetgate .
#   docker run --name fleetgate --read-only --init -v fleetgate:/data -p 127.0.0.1:8080:8080 -p 127.0.0.1:1883:1883 fleetgate up \
#     --set issuer.url=http://127.0.0.1:8080 --set issuer.http.host=0.0.0.0 --set broker.listeners.0.host=0.0.0.0
# The admin listener stays on loopback inside: `docker exec fleetgate fleetgate …` runs the command there.
FROM node:24-slim AS build
WORKDIR /fleetgate
COPY . .
RUN npm ci --no-audit --no-fund && npm run build
# What the command is made of; an adapter would bring its framework.
RUN mkdir -p /packages && npm pack --silent --ignore-scripts --pack-destination /packages \
    --workspace shared --workspace verifier --workspace broker --workspace issuer --workspace agent \
    --workspace console --workspace cli
# With what exports spans where OTEL_ variables ask for it.
RUN npm install --prefix /opt/fleetgate --omit=dev --no-audit --no-fund /packages/*.tgz \
    @opentelemetry/exporter-trace-otlp-proto@0.223.1 @opentelemetry/resources@2.12.1 \
    @opentelemetry/sdk-trace-node@2.12.1

FROM node:24-slim
COPY --from=build /opt/fleetgate /opt/fleetgate
RUN mkdir -m 700 /data && chown 1000:1000 /data
ENV FLEETGATE_DATA_DIR=/data NODE_ENV=production PATH=/opt/fleetgate/node_modules/.bin:$PATH
VOLUME /data
# `node`, in numbers: Kubernetes looks for a uid that is not root's.
USER 1000:1000
EXPOSE 8080 1883
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["node", "/opt/fleetgate/node_modules/fleetgate/bin/healthy.js"]
ENTRYPOINT ["fleetgate"]
CMD ["up"]
