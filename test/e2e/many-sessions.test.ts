import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { startTestBroker, until } from '../support/broker-fixture.ts';
import type { ManyClientsTask } from '../support/many-clients.ts';

const SESSIONS = 10_000;

function startClients(): {
  child: ChildProcess;
  closed: Map<string, number>;
  connect(task: ManyClientsTask): Promise<void>;
} {
  const child = fork(join(import.meta.dirname, '../support/many-clients.ts'), {
    execArgv: ['--conditions=@fleetgate/source'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const closed = new Map<string, number>();
  child.on('message', (message: { closed?: string[] }) => {
    for (const id of message.closed ?? []) closed.set(id, performance.now());
  });
  return {
    child,
    closed,
    connect: (task) =>
      new Promise((resolve, reject) => {
        child.on('message', (message: { connected?: number }) => {
          if (message.connected !== undefined) resolve();
        });
        child.once('exit', (code) => reject(new Error(`the clients ended with ${code}`)));
        child.send(task);
      }),
  };
}

test(`of ${SESSIONS} sessions one is cut in a second, all in five, and the event loop goes on`, {
  timeout: 180_000,
}, async () => {
  const broker = await startTestBroker({ limits: { maxConnectionsPerAddress: SESSIONS + 100 } });
  const clients = Array.from({ length: SESSIONS }, (_, n) => ({
    id: `d${n}`,
    token: broker.token(`d${n}`, { expiresInSeconds: 3600 }),
  }));
  const { closed, connect } = startClients();
  await connect({ port: Number(new URL(broker.mqtt).port), clients });
  const issuer = broker.issuer.name;
  const atSeconds = Math.floor(Date.now() / 1000);

  const oneMs = performance.now();
  await broker.auth.revoke(issuer, { kind: 'client', clientId: 'd4711', atSeconds });
  await until(() => closed.has('d4711'));
  expect((closed.get('d4711') as number) - oneMs).toBeLessThan(1000);
  await delay(200);
  expect([...closed.keys()]).toEqual(['d4711']);

  const loop = monitorEventLoopDelay({ resolution: 5 });
  loop.enable();
  const allMs = performance.now();
  await broker.auth.revoke(issuer, { kind: 'issued_before', atSeconds: atSeconds + 1 });
  await until(() => closed.size === SESSIONS);
  loop.disable();
  const tookMs = Math.max(...closed.values()) - allMs;
  const p99Ms = loop.percentile(99) / 1e6;
  process.stdout.write(
    `all ${SESSIONS} closed in ${Math.round(tookMs)} ms, event loop p99 ${p99Ms.toFixed(1)} ms\n`,
  );
  expect(tookMs).toBeLessThan(5000);
  expect(p99Ms).toBeLessThan(100);
});
