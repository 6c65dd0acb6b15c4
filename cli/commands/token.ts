import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { MAX_TOKEN_LENGTH } from '@fleetgate/shared';
import { decodeProtectedHeader } from 'jose/decode/protected_header';
import { decodeJwt } from 'jose/jwt/decode';
import { UsageError } from '../exit.ts';
import { type Format, formatJson, formatRecord } from '../output.ts';

/** The token in a file, or on standard input for `-`. A token in argv could be read by every user of the machine. */
export async function readToken(file: string): Promise<string> {
  let text: string;
  try {
    // A pipe may be empty for a while: read it as a stream, a synchronous read fails with EAGAIN.
    text = (file === '-' ? await readAll(process.stdin) : await readFile(file, 'utf8')).trim();
  } catch (error) {
    throw new UsageError(
      `cannot read ${file} (${(error as NodeJS.ErrnoException).code}); name a file that holds a token, or - for standard input`,
    );
  }
  if (text.length === 0) throw new UsageError('no token was given; pipe one in, or name a file with --file');
  if (text.length > MAX_TOKEN_LENGTH)
    throw new UsageError(`that is longer than a token may be (${MAX_TOKEN_LENGTH} characters)`);
  return text;
}

export interface InspectedToken {
  header: Record<string, unknown>;
  claims: Record<string, unknown>;
}

/** Header and claims of a token; nothing is verified. A UsageError when it is no JWT. */
export function decodeToken(token: string): InspectedToken {
  try {
    return { header: { ...decodeProtectedHeader(token) }, claims: { ...decodeJwt(token) } };
  } catch {
    throw new UsageError(
      'that is no JSON Web Token: three base64url parts with dots between them are needed',
    );
  }
}

/** A decoded token for people or programs. `nowMs` tells what its times mean. */
export function formatToken({ header, claims }: InspectedToken, format: Format, nowMs = Date.now()): string {
  if (format === 'json') return formatJson({ header, claims, verified: false });
  const lines = Object.entries({ ...header, ...claims }).map(([key, value]) => [
    key,
    show(key, value, nowMs),
  ]);
  return formatRecord({ ...Object.fromEntries(lines), verified: 'no, only decoded' });
}

const timeClaims: ReadonlySet<string> = new Set(['iat', 'nbf', 'exp']);

function show(key: string, value: unknown, nowMs: number): string {
  if (timeClaims.has(key) && typeof value === 'number' && Number.isFinite(value)) {
    const seconds = Math.round(value - nowMs / 1000);
    const distance = seconds < 0 ? `${-seconds} s ago` : `in ${seconds} s`;
    const date = new Date(value * 1000);
    return `${value} (${Number.isNaN(date.getTime()) ? 'no date' : date.toISOString()}, ${distance})`;
  }
  if (Array.isArray(value)) return value.join(' ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
