import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  runCommand,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

// examples/order-inventory as it stands: a service on Express, and one that calls it with tokens of the agent.

const data = temporaryDirectory();
let fleetgate: RunningFleetgate;
let inventory: ReturnType<typeof spawn>;
let inventoryUrl: string;

const credentialsOf = (id: string) => join(dirname(data.path), `${id}.json`);

beforeAll(async () => {
  fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
  for (const [id, scope] of [
    ['order-service', 'stock.read stock.reserve'],
    ['reader', 'stock.read'],
  ] as const) {
    const { code, stderr } = await runFleetgate([
      ...['client', 'create', '--data', data.path, '--id', id, '--scope', scope],
      ...['--audience', 'inventory', '--out', credentialsOf(id)],
    ]);
    expect(code, stderr).toBe(0);
  }
  const args = ['--conditions=@fleetgate/source', 'examples/order-inventory/inventory-service.ts'];
  inventory = spawn(process.execPath, args, {
    env: { ...process.env, ISSUER_URL: fleetgate.ready['issuer'] as string, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const line = await new Promise<string>((got) => {
    createInterface({ input: inventory.stdout as NodeJS.ReadableStream }).once('line', got);
  });
  inventoryUrl = line.slice(line.indexOf('http'));
});

afterAll(async () => {
  inventory?.kill();
  await fleetgate?.stop();
  data.remove();
});

const order = (id: string, item: string, quantity: string) =>
  runCommand(
    process.execPath,
    ['--conditions=@fleetgate/source', 'examples/order-inventory/order-service.ts', item, quantity],
    { env: { CREDENTIALS_FILE: credentialsOf(id), INVENTORY_URL: inventoryUrl } },
  );

test('an order reserves what is in stock, as its README shows', async () => {
  const { code, stdout } = await order('order-service', 'bolt-m8', '4');
  expect(stdout.trim().split('\n')).toEqual([
    'stock: 200 {"item":"bolt-m8","quantity":40}',
    'reservation: 201 {"item":"bolt-m8","quantity":4,"reservedBy":"order-service"}',
  ]);
  expect(code).toBe(0);
});

test('what is not in stock is the service to say, not the guard', async () => {
  const { code, stdout } = await order('order-service', 'nut-m8', '4');
  expect(stdout).toContain('reservation: 409');
  expect(code).toBe(1);
});

test('who may read alone is told which scope is missing', async () => {
  const { code, stdout } = await order('reader', 'bolt-m8', '1');
  expect(stdout).toContain('stock: 200');
  expect(stdout).toContain('reservation: 403');
  expect(stdout).toMatch(/^Bearer realm="inventory", error="insufficient_scope", .*scope="stock.reserve"$/m);
  expect(code).toBe(1);
});
