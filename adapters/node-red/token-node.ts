import { keepTokenFresh } from '@fleetgate/agent';
import type { CredentialsNode, OpenedCredentials } from './credentials-node.ts';
import { type FlowNode, type NodeRed, words } from './node-red.ts';

interface Config {
  /** Id of a `fleetgate-credentials` node. */
  readonly source: string;
}

/**
 * Registers `fleetgate-token`. A message that comes goes to the first output with a token that is valid now, in `token` and
 * as `headers.authorization`. Each new token goes to the second as what the MQTT nodes connect by.
 */
export function tokenNode(RED: NodeRed): void {
  RED.nodes.registerType<FlowNode, Config>('fleetgate-token', function (config) {
    RED.nodes.createNode(this, config);
    const source = RED.nodes.getNode(config.source) as CredentialsNode | null;
    const fail = (text: string) => this.status({ fill: 'red', shape: 'ring', text });
    if (source === null) return fail('no credentials: choose some');
    const stopping = new AbortController();
    const renewing = renew(this, source, stopping.signal).catch((error: unknown) => {
      if (stopping.signal.aborted) return;
      fail(words(error));
      this.error(words(error));
    });
    this.on('input', (message, send, done) => {
      withToken(source, message).then(
        (sent) => {
          send([sent, null]);
          done();
        },
        (error: unknown) => done(error),
      );
    });
    this.on('close', (done) => {
      stopping.abort();
      void renewing.then(done);
    });
  });
}

async function withToken({ opened }: CredentialsNode, message: Record<string, unknown>): Promise<object> {
  const { tokens } = await opened;
  const { value } = await tokens.get();
  const headers = { ...(message['headers'] as object | undefined), authorization: `Bearer ${value}` };
  return Object.assign(message, { token: value, headers });
}

async function renew(node: FlowNode, { opened }: CredentialsNode, signal: AbortSignal): Promise<void> {
  const { clientId, tokens }: OpenedCredentials = await opened;
  await keepTokenFresh(
    tokens,
    (token) => {
      node.status({ fill: 'green', shape: 'dot', text: `${clientId}, ${token.expiresInSeconds()} s` });
      node.send([null, connectBy(clientId, token.value)]);
    },
    {
      signal,
      onFailure: (error, retryInMs) => {
        node.status({ fill: 'red', shape: 'ring', text: words(error) });
        node.warn(`no new token: ${words(error)}; next try in ${Math.ceil(retryInMs / 1000)} s`);
      },
    },
  );
}

/** What `mqtt in` and `mqtt out` take: they connect, or connect again, as this user. */
function connectBy(username: string, password: string): object {
  return { action: 'connect', broker: { username, password, force: true } };
}
