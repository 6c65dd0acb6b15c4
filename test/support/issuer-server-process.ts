import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { IssuerOptions } from '@fleetgate/issuer';
import { onTestFinished } from 'vitest';
import { adminKey } from './issuer-fixture.ts';

export interface IssuerProcess {
  /** `iss`. */
  readonly url: string;
  /** Of the public listener. */
  readonly address: string;
  readonly process: ChildProcess;
  /** An answer of the admin listener. */
  call(method: string, path: string, body?: unknown): Promise<Response>;
  /** A token by `client_secret_post`. */
  requestToken(clientId: string, clientSecret: string): Promise<Response>;
  kill(): Promise<void>;
}

/** An issuer in a process of its own on the files in `directory`; it is killed when the test ends. */
export async function startIssuerProcess(
  directory: string,
  options: Partial<IssuerOptions> = {},
): Promise<IssuerProcess> {
  const script = new URL('./issuer-server.ts', import.meta.url).pathname;
  const child = spawn(
    process.execPath,
    ['--conditions=@fleetgate/source', script, JSON.stringify({ directory, adminKey, ...options })],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit');
  const kill = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(kill);
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const ready = JSON.parse(line) as { issuer: string; address: string; admin: string };

  return {
    url: ready.issuer,
    address: ready.address,
    process: child,
    call: (method, path, body) =>
      fetch(`${ready.admin}${path}`, {
        method,
        headers: {
          'api-key': adminKey,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    requestToken: (clientId, clientSecret) =>
      fetch(`${ready.address}/oauth/token`, {
        method: 'POST',
        body: new URLSearchParams({
          grant_type: 'client_credentials',
          client_id: clientId,
          client_secret: clientSecret,
        }),
      }),
    kill,
  };
}
