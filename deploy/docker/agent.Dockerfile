# The agent and Node, nothing else. From the top of the repository:
#   docker build -f deploy/docker/agent.Dockerfile -t fleetgate-agent .
#   docker run --init --user "$(id -u)" -v "$PWD/press-7.json:/device.json:ro" fleetgate-agent \
#     run --credentials /device.json --mqtt --health 127.0.0.1:9090
FROM node:24-slim AS build
WORKDIR /fleetgate
COPY . .
RUN npm ci --ignore-scripts --no-audit --no-fund && \
    /usr/local/bin/node --conditions=@fleetgate/source deploy/bundle-agent.ts

FROM node:24-slim
COPY --from=build /fleetgate/dist/fleetgate-agent.mjs /usr/local/lib/
USER 1000:1000
ENTRYPOINT ["node", "/usr/local/lib/fleetgate-agent.mjs"]
