import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import type { Credentials } from '@fleetgate/shared';
import { Aedes, type AedesOptions } from 'aedes';
import { onTestFinished } from 'vitest';
import { type Agent, type AgentEvents, type AgentOptions, createAgent } from '../../agent/index.ts';

export const FLEET_SECRET = 'canary-secret-8d1f';

export interface IssuerDouble {
  readonly origin: string;
  /** Token requests so far. */
  readonly requests: () => number;
  /** How the next requests are answered; the default is a token. */
  answer: (count: number) => { status: number; body: unknown };
}

/** A token endpoint over real HTTP that gives `canary-token-1`, `canary-token-2`, … */
export async function startIssuer(lifetimeSeconds = 900): Promise<IssuerDouble> {
  let count = 0;
  const double = {
    origin: '',
    requests: () => count,
    answer: (number: number): { status: number; body: unknown } => ({
      status: 200,
      body: { access_token: `canary-token-${number}`, token_type: 'Bearer', expires_in: lifetimeSeconds },
    }),
  };
  const server = createHttpServer((_request, response) => {
    count += 1;
    const { status, body } = double.answer(count);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  double.origin = `http://127.0.0.1:${await listen(server)}`;
  onTestFinished(() => closeHttp(server));
  return double;
}

export type Decide = (connect: {
  clientId: string;
  username: string | undefined;
  token: string;
  /** CONNECTs so far, this one included. */
  count: number;
}) => number;

export interface BrokerDouble {
  readonly url: string;
  readonly aedes: Aedes;
  /** Tokens of all CONNECTs, in order. */
  readonly tokens: string[];
  /** Ends every connection without a word. */
  cut(): void;
  /** No longer listens; the port stays its own. */
  stop(): Promise<void>;
  /** Listens again, with the sessions it had. */
  start(): Promise<void>;
}

/** An Aedes behind real TCP that answers CONNECT with the code that `decide` gives. */
export async function startBroker(
  decide: Decide = () => 0,
  options: AedesOptions = {},
): Promise<BrokerDouble> {
  const tokens: string[] = [];
  const aedes = await Aedes.createBroker({
    authenticate(client, username, password, done) {
      const token = password?.toString() ?? '';
      tokens.push(token);
      const returnCode = decide({ clientId: client.id, username, token, count: tokens.length });
      if (returnCode === 0) done(null, true);
      else done(Object.assign(new Error('refused'), { returnCode }), false);
    },
    ...options,
  });
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    aedes.handle(socket);
  });
  const port = await listen(server);
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const stop = () =>
    new Promise<void>((resolve) => {
      if (!server.listening) return resolve();
      server.close(() => resolve());
      cut();
    });
  onTestFinished(async () => {
    await stop();
    await new Promise<void>((resolve) => aedes.close(() => resolve()));
  });
  return {
    url: `mqtt://127.0.0.1:${port}`,
    aedes,
    tokens,
    cut,
    stop,
    start: () => new Promise((resolve) => server.listen(port, '127.0.0.1', resolve)),
  };
}

export function deviceCredentials(issuer: string, broker: string): Credentials {
  return {
    version: 1,
    client_id: 'd1',
    issuer,
    token_endpoint: `${issuer}/oauth/token`,
    auth: { method: 'client_secret_basic', client_secret: FLEET_SECRET },
    broker: { url: broker },
  };
}

const eventNames = [
  'connected',
  'disconnected',
  'renewed',
  'refused',
  'unreachable',
  'token',
  'token_failed',
  'subscription_lost',
  'handler_failed',
  'unhandled',
  'queue_problem',
  'stopped',
] as const satisfies (keyof AgentEvents)[];

/** What happened, in order. */
export type Story = { name: keyof AgentEvents; event: unknown }[];

/** An agent that is stopped with the test. Its back-off has no chance in it: `random` is 0.01. */
export function startAgent(
  issuer: string,
  broker: string,
  options: AgentOptions = {},
): { agent: Agent; story: Story; once: typeof once } {
  const agent = createAgent(deviceCredentials(issuer, broker), { random: () => 0.01, ...options });
  const story: Story = [];
  for (const name of eventNames) agent.on(name, (event) => story.push({ name, event }));
  onTestFinished(() => agent.stop());

  /** The next event of this name. */
  function once<Name extends keyof AgentEvents>(name: Name): Promise<AgentEvents[Name][0]> {
    return new Promise((resolve) => {
      const listener = (...[event]: AgentEvents[Name]) => {
        agent.off(name, listener);
        resolve(event);
      };
      agent.on(name, listener);
    });
  }
  return { agent, story, once };
}

function listen(server: HttpServer | ReturnType<typeof createTcpServer>): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

function closeHttp(server: HttpServer): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
