import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createAuthority } from '../support/certificates.ts';
import { type TlsIssuer, tlsIssuer } from '../support/tls-issuer.ts';

async function connect(issuer: TlsIssuer, more: ConnectionOptions = {}): Promise<TLSSocket> {
  const { authority } = issuer;
  const socket = connectTls({ host: '127.0.0.1', port: issuer.issuer.port, ca: authority.cert, ...more });
  socket.on('error', () => {});
  onTestFinished(() => void socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

const nameOf = (socket: TLSSocket) => socket.getPeerCertificate().subject.CN;

/** What a request on this very connection is answered. */
async function ask(socket: Socket): Promise<string> {
  socket.write('GET /livez HTTP/1.1\r\nhost: x\r\n\r\n');
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  return bytes.toString();
}

async function renew({ folder, authority }: TlsIssuer, name: string, by = authority): Promise<void> {
  const { cert, key } = await by.issue(name);
  folder.write('server.pem', cert);
  folder.write('server.key', key);
}

describe('the listener', () => {
  test('speaks TLS 1.2 and 1.3, and neither older ones nor weak ciphers', async () => {
    const issuer = await tlsIssuer();
    expect((await connect(issuer)).getProtocol()).toBe('TLSv1.3');
    expect((await connect(issuer, { maxVersion: 'TLSv1.2' })).getProtocol()).toBe('TLSv1.2');
    for (const old of [
      { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
      { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' },
    ] as const) {
      await expect(connect(issuer, old)).rejects.toMatchObject({ code: expect.stringContaining('SSL') });
    }
  });

  test('closes a connection that speaks plain HTTP, and serves the next', async () => {
    const issuer = await tlsIssuer();
    const socket = connectTcp(issuer.issuer.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.resume();
    socket.write('GET /livez HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(socket, 'close');
    expect(await ask(await connect(issuer))).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('answers what is malformed behind the handshake as it does without TLS', async () => {
    const socket = await connect(await tlsIssuer());
    socket.write('NONSENSE\r\n\r\n');
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    expect(bytes.toString()).toMatch(/^HTTP\/1\.1 400 .*"error":"invalid_request"/s);
  });

  test('closes while connections wait, in the handshake and behind it', async () => {
    const issuer = await tlsIssuer();
    const raw = connectTcp(issuer.issuer.port, '127.0.0.1');
    raw.on('error', () => {});
    await once(raw, 'connect');
    const unused = await connect(issuer);
    const idle = await connect(issuer);
    expect(await ask(idle)).toMatch(/^HTTP\/1\.1 200 /);
    const closed = [raw, unused, idle].map((socket) => {
      socket.resume();
      return once(socket, 'close');
    });
    const beganMs = performance.now();
    await issuer.issuer.close();
    await Promise.all(closed);
    expect(performance.now() - beganMs).toBeLessThan(4000);
  });
});

describe('reloading the certificates', () => {
  test('new connections get the new one, those in use stay, and a session of before is not resumed', async () => {
    const issuer = await tlsIssuer();
    const old = await connect(issuer, { maxVersion: 'TLSv1.2' });
    const session = old.getSession() as Buffer;
    expect(nameOf(old)).toBe('issuer');
    await renew(issuer, 'second');
    expect(nameOf(await connect(issuer))).toBe('issuer');
    await issuer.issuer.reloadCertificates();
    expect(await ask(old)).toMatch(/^HTTP\/1\.1 200 /);
    const resuming = await connect(issuer, { maxVersion: 'TLSv1.2', session });
    expect([nameOf(resuming), resuming.isSessionReused()]).toEqual(['second', false]);
  });

  test('the authorities of clients change with it', async () => {
    const issuer = await tlsIssuer();
    const another = await createAuthority('another');
    const altNames = [{ type: 2, value: 'one.example' }] as const;
    await issuer.register({
      client_id: 'one',
      auth_method: 'tls_client_auth',
      tls_client_auth_san_dns: 'one.example',
    });
    const [before, after] = [
      await issuer.authority.issue('x', { altNames }),
      await another.issue('x', { altNames }),
    ];
    const statuses = async () => [
      (await issuer.tokenBy(before, 'one')).status,
      (await issuer.tokenBy(after, 'one')).status,
    ];
    expect(await statuses()).toEqual([200, 401]);
    issuer.folder.write('ca.pem', another.cert);
    await issuer.issuer.reloadCertificates();
    expect(await statuses()).toEqual([401, 200]);
  });

  test('of a file that is not good is refused, and the old one stays', async () => {
    const issuer = await tlsIssuer();
    issuer.folder.write('server.key', (await issuer.authority.issue('x')).key);
    await expect(issuer.issuer.reloadCertificates()).rejects.toMatchObject({ code: 'tls_file_invalid' });
    expect(nameOf(await connect(issuer))).toBe('issuer');
  });
});
