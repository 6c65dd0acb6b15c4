/**
 * `npm run test:interop -- [coap-client] [coap-server]`: the issuer's CoAP against libcoap's client, and the agent's
 * against libcoap's server, 4.3.4 or newer with OSCORE: Debian 13's libcoap3-bin, or a build of
 * https://github.com/obgm/libcoap. Ends with 0 when both were seen.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { coapTransport, readCredentialsFile } from '@fleetgate/agent';
import { type CredentialsAuth, decodeAceResponse, encodeAceRequest } from '@fleetgate/shared';
import { decodeJwt } from 'jose';
import { freePorts, runFleetgate, startFleetgate, temporaryDirectory } from '../support/fleetgate-process.ts';

const [client = 'coap-client-openssl', server = 'coap-server-openssl'] = process.argv.slice(2);
for (const program of [client, server]) {
  if (spawnSync(program, ['-h'], { stdio: 'ignore' }).error !== undefined) {
    process.stderr.write(
      `${program} cannot be run; install Debian's libcoap3-bin, or name another program\n`,
    );
    process.exit(1);
  }
}

type Oscore = CredentialsAuth & { method: 'oscore' };

const data = temporaryDirectory();
const folder = dirname(data.path);
const fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
try {
  await ourIssuer();
  await ourAgent();
} finally {
  await fleetgate.stop();
  data.remove();
}

async function ourIssuer(): Promise<void> {
  const { auth, token_endpoint } = await register('by-libcoap');
  const conf = configure('client', auth.sender_id, auth.recipient_id, auth);
  const [request, answer] = [join(folder, 'request'), join(folder, 'answer')];
  writeFileSync(request, encodeAceRequest({}));
  const more = [
    '-E',
    `${conf},${conf}.seq`,
    '-m',
    'post',
    '-t',
    '19',
    '-f',
    request,
    '-o',
    answer,
    '-B',
    '10',
  ];
  const { error, stderr } = spawnSync(client, [...more, token_endpoint], { encoding: 'utf8' });
  if (error !== undefined) throw error;
  const token = decodeAceResponse(readFileSync(answer));
  if (token === undefined) throw new Error(`no token came: ${stderr}`);
  const { client_id: clientId, scope } = decodeJwt(token.access_token);
  say(`${client} got a token of ${clientId} with the scope ${scope}, for ${token.expires_in} s`);
}

async function ourAgent(): Promise<void> {
  const { auth, credentials } = await register('to-libcoap');
  const port = await freeUdpPort();
  const conf = configure('server', auth.recipient_id, auth.sender_id, auth);
  const child = spawn(server, ['-A', '127.0.0.1', '-p', String(port), '-E', `${conf},${conf}.seq`], {
    stdio: 'ignore',
  });
  try {
    await sleep(1000);
    const transport = coapTransport({ ...credentials, token_endpoint: `coap://127.0.0.1:${port}/token` });
    const refusal = await transport({}, AbortSignal.timeout(20_000)).catch((error: Error) => error.message);
    // It has no such resource; that it says so inside OSCORE shows that both read each other.
    if (typeof refusal !== 'string' || !/^the token endpoint answered 4\.\d\d$/.test(refusal)) {
      throw new Error(`not a protected answer of ${server}: ${JSON.stringify(refusal)}`);
    }
    say(`our agent asked ${server}, which read it: ${refusal}, protected`);
  } finally {
    child.kill();
  }
}

async function register(id: string) {
  const out = join(folder, `${id}.json`);
  const create = ['client', 'create', '--data', data.path, '--id', id, '--scope', 'telemetry.write'];
  const { code, stderr } = await runFleetgate([...create, '--auth', 'oscore', '--out', out]);
  if (code !== 0) throw new Error(stderr);
  const credentials = await readCredentialsFile(out);
  return {
    credentials,
    auth: credentials.auth as Oscore,
    token_endpoint: credentials.token_endpoint as string,
  };
}

function configure(name: string, senderId: string, recipientId: string, auth: Oscore): string {
  const file = join(folder, `${name}.conf`);
  const fields = {
    master_secret: auth.master_secret,
    master_salt: auth.master_salt,
    sender_id: senderId,
    recipient_id: recipientId,
  };
  const hex = Object.entries(fields).map(([key, value]) => `${key},hex,"${value}"\n`);
  writeFileSync(
    file,
    `${hex.join('')}replay_window,integer,32\naead_alg,integer,10\nhkdf_alg,integer,-10\n`,
    { mode: 0o600 },
  );
  return file;
}

async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}

function say(line: string): void {
  process.stdout.write(`ok   ${line}\n`);
}
