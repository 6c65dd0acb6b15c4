/**
 * One Aedes broker in a process of its own: `bare`, without hooks; `naive`, with the check one writes first; or
 * `fleetgate`. Gets the key set by IPC, answers with its port, and with its memory when asked.
 */
import { createServer } from 'node:net';
import { fleetgate, parsePolicy } from '@fleetgate/broker';
import type { JsonWebKeySet } from '@fleetgate/shared';
import { Aedes, type AedesOptions } from 'aedes';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { AUDIENCE, ISSUER } from './tokens.ts';

const policy = parsePolicy(
  `version: 1
scopes:
  telemetry.write: { publish: [ 'devices/{client_id}/telemetry/#' ] }
deny:
  - publish: [ devices/+/firmware/# ]
    unless: [ firmware.write ]
`,
  'policy.yaml',
);

async function start(subject: string, jwks: JsonWebKeySet): Promise<number> {
  if (subject === 'fleetgate') {
    const auth = fleetgate({
      issuers: [{ issuer: ISSUER, keys: { jwks: () => jwks } }],
      policy,
      limits: { maxConnectionsPerAddress: 100_000 },
    });
    const broker = await Aedes.createBroker({ ...auth.hooks });
    auth.attach(broker);
    return listen(broker);
  }
  const hooks = subject === 'naive' ? naiveHooks(jwks) : {};
  return listen(await Aedes.createBroker(hooks));
}

/** What a day's work gives: jose at CONNECT, scopes split and compared for each packet. */
function naiveHooks(jwks: JsonWebKeySet): AedesOptions {
  const keys = createLocalJWKSet(jwks as never);
  const scopes = new WeakMap<object, string>();
  const allows = (client: object | null, action: string, topic: string) =>
    (client === null ? '' : (scopes.get(client) ?? ''))
      .split(' ')
      .filter((scope) => scope.startsWith(`mqtt:${action}:`))
      .map((scope) => scope.split(':')[2] as string)
      .some((filter) => naiveMatches(filter.split('/'), topic.split('/')));
  return {
    authenticate(client, _username, password, done) {
      jwtVerify(password?.toString() ?? '', keys, { issuer: ISSUER, audience: AUDIENCE }).then(
        ({ payload }) => {
          scopes.set(client, payload['scope'] as string);
          done(null, payload.sub === client.id);
        },
        (error) => done(error, false),
      );
    },
    authorizePublish: (client, { topic }, done) =>
      done(allows(client, 'publish', topic) ? null : new Error('refused')),
    authorizeSubscribe: (client, subscription, done) =>
      done(null, allows(client, 'subscribe', subscription.topic) ? subscription : null),
    authorizeForward: (client, packet) =>
      (allows(client, 'subscribe', packet.topic) ? packet : null) as typeof packet,
  };
}

function naiveMatches(filter: readonly string[], topic: readonly string[]): boolean {
  for (const [index, level] of filter.entries()) {
    if (level === '#') return true;
    if (level !== '+' && level !== topic[index]) return false;
  }
  return filter.length === topic.length;
}

function listen(broker: Aedes): Promise<number> {
  const server = createServer({ noDelay: true }, (socket) => void broker.handle(socket));
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });
}

process.on('SIGTERM', () => process.exit(0));
process.on(
  'message',
  async (message: { start?: { subject: string; jwks: JsonWebKeySet }; memory?: true }) => {
    if (message.start !== undefined) {
      process.send?.({ port: await start(message.start.subject, message.start.jwks) });
    }
    if (message.memory === true) {
      globalThis.gc?.();
      globalThis.gc?.();
      process.send?.({ rssBytes: process.memoryUsage().rss });
    }
  },
);
