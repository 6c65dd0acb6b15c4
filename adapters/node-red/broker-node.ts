import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parsePolicy, type RunningBroker, startBroker } from '@fleetgate/broker';
import { type FlowNode, type NodeRed, words } from './node-red.ts';

interface Config {
  /** Default 127.0.0.1: what comes is not encrypted. */
  readonly host?: string;
  readonly port: string | number;
  /** Whose tokens are taken; its keys are found by its metadata. */
  readonly issuer: string;
  /** Default `mqtt`. */
  readonly audience?: string;
  /** The topic policy, relative to the user directory of Node-RED. */
  readonly policyFile: string;
}

/** Registers `fleetgate-broker`: Aedes with the plugin, while the flow is deployed. What is refused goes to its output. */
export function brokerNode(RED: NodeRed): void {
  RED.nodes.registerType<FlowNode, Config>('fleetgate-broker', function (config) {
    RED.nodes.createNode(this, config);
    const started = start(this, config, RED.settings.userDir).then(
      (broker) => {
        this.status({ fill: 'green', shape: 'dot', text: broker.urls.mqtt ?? '' });
        this.log(`broker at ${broker.urls.mqtt}`);
        return broker;
      },
      (error: unknown) => {
        this.status({ fill: 'red', shape: 'ring', text: words(error) });
        this.error(words(error));
        return undefined;
      },
    );
    this.on('close', (done) => {
      void started.then((broker) => broker?.close()).then(done, done);
    });
  });
}

async function start(
  node: FlowNode,
  { host = '', port, issuer, audience = '', policyFile }: Config,
  userDirectory = '.',
): Promise<RunningBroker> {
  const file = resolve(userDirectory, policyFile);
  return startBroker({
    issuers: [{ issuer, keys: { discover: true } }],
    ...(audience === '' ? {} : { audience }),
    policy: parsePolicy(await readFile(file, 'utf8'), file),
    listeners: [{ protocol: 'mqtt', host: host === '' ? '127.0.0.1' : host, port: Number(port) }],
    onRefusal: ({ action, reason, clientId, topic }) =>
      node.send({ topic, payload: { action, reason, clientId, topic } }),
  });
}
