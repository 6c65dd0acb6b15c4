import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  FleetgateError,
  formatCredentials,
  groupKeyProblem,
  isIdentifier,
  OAuthError,
} from '@fleetgate/shared';
import {
  askToEnroll,
  type DeviceSeed,
  deriveDeviceKey,
  type EnrollmentKey,
  type EnrollmentQuestion,
  makeSeed,
} from '../enrollment.ts';
import { openSequenceNumbers } from '../sequence-numbers.ts';
import { writeFileAtomically } from '../sinks/file.ts';
import { readPrivateFile } from '../store.ts';
import { note, UsageError, untilSignal } from './device.ts';

export interface EnrollFlags {
  issuer: string;
  claimCodeFile?: string;
  enrollment?: string;
  registrationId?: string;
  deviceKeyFile?: string;
  groupKeyFile?: string;
  device?: string[];
  ownKey?: boolean;
  broker?: string;
  out: string;
  wait?: boolean;
}

/** Between two tries while the issuer is away: from the first, doubling up to the longest, by chance. */
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 60_000;

/**
 * `fleetgate-agent enroll`: gets the device its identity and writes its credentials file. What the device is known by is
 * kept beside that until it is in, so that it is the same device after a crash.
 */
export async function enroll(flags: EnrollFlags): Promise<void> {
  if (existsSync(flags.out)) throw new UsageError(`${flags.out} is there already; this device is enrolled`);
  const key = await keyOf(flags);
  const seedFile = `${flags.out}.enrolling`;
  const seed = await seedOf(seedFile, flags.ownKey === true);
  const sequenceFile = `${seedFile}.sequence`;
  const isCoap = flags.issuer.startsWith('coap:');
  if (isCoap && flags.ownKey)
    throw new UsageError('--own-key is of no use over CoAP: the device gets a context');
  const question: EnrollmentQuestion = {
    issuer: flags.issuer,
    key,
    seed,
    device: deviceOf(flags.device ?? []),
    ...(isCoap && { sequenceNumbers: openSequenceNumbers(sequenceFile) }),
  };
  using signal = untilSignal();
  const credentials = await untilIn(question, flags.wait === true, signal);
  const broker = flags.broker === undefined ? {} : { broker: { url: flags.broker } };
  await writeFileAtomically(flags.out, formatCredentials({ ...credentials, ...broker }));
  await rm(seedFile, { force: true });
  await removeSequence(sequenceFile);
  note(`enrolled as ${credentials.client_id}; credentials written to ${flags.out}`);
}

/** Its numbers are kept in names of files beside it. */
async function removeSequence(file: string): Promise<void> {
  const folder = dirname(file);
  const names = (await readdir(folder)).filter((name) => name.startsWith(`${basename(file)}-`));
  for (const name of names) await rm(join(folder, name), { force: true });
}

async function untilIn(question: EnrollmentQuestion, mayWait: boolean, signal: AbortSignal) {
  let waitMs = FIRST_WAIT_MS;
  let isToldToWait = false;
  for (;;) {
    try {
      const answer = await askToEnroll(question, signal);
      if (answer.status === 'enrolled') return answer.credentials;
      if (!mayWait) {
        throw new FleetgateError(
          'enrollment_refused',
          `${answer.clientId} waits for approval; run this again when it is approved, or with --wait`,
        );
      }
      if (!isToldToWait) note(`${answer.clientId} waits for approval`);
      isToldToWait = true;
      waitMs = FIRST_WAIT_MS;
      await sleep(answer.retryAfterSeconds * 1000, undefined, { signal });
    } catch (error) {
      if (!mayWait || !isPassing(error) || signal.aborted) throw error;
      note(`${(error as Error).message}; trying again`);
      await sleep(waitMs * (0.5 + Math.random() / 2), undefined, { signal });
      waitMs = Math.min(LONGEST_WAIT_MS, waitMs * 2);
    }
  }
}

const isPassing = (error: unknown) =>
  error instanceof OAuthError || (error instanceof FleetgateError && error.code === 'token_request_failed');

/** What lets it in, from files: a secret is never an argument. */
async function keyOf(flags: EnrollFlags): Promise<EnrollmentKey> {
  const { claimCodeFile, enrollment, registrationId, deviceKeyFile, groupKeyFile } = flags;
  if (claimCodeFile !== undefined) {
    if (enrollment !== undefined)
      throw new UsageError('--claim-code-file and --enrollment exclude each other');
    return { claimCode: await secretIn(claimCodeFile) };
  }
  if (enrollment === undefined) {
    throw new UsageError(
      'name what lets the device in: --claim-code-file, or --enrollment with --device-key-file',
    );
  }
  if (!isIdentifier(registrationId)) {
    throw new UsageError('--enrollment needs --registration-id, [A-Za-z0-9._-]{1,64}');
  }
  if ((deviceKeyFile === undefined) === (groupKeyFile === undefined)) {
    throw new UsageError('--enrollment needs either --device-key-file or --group-key-file');
  }
  const deviceKey =
    deviceKeyFile === undefined
      ? deriveDeviceKey(await keyIn(groupKeyFile as string), registrationId)
      : await keyIn(deviceKeyFile);
  return { enrollmentId: enrollment, registrationId, deviceKey };
}

async function keyIn(file: string): Promise<string> {
  const key = await secretIn(file);
  const problem = groupKeyProblem(key);
  if (problem !== undefined) throw new UsageError(`${file}: ${problem}`);
  return key;
}

async function secretIn(file: string): Promise<string> {
  const bytes = file === '-' ? await standardInput() : await readPrivateFile(file);
  const text = bytes.toString('utf8').trim();
  if (text === '') throw new UsageError(`${file} is empty`);
  return text;
}

async function standardInput(): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of process.stdin as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

/** That of a try before, or a new one, which is on the disk before it is used. */
async function seedOf(file: string, isOwnKey: boolean): Promise<DeviceSeed> {
  if (existsSync(file)) {
    const seed = JSON.parse((await readPrivateFile(file)).toString('utf8')) as DeviceSeed;
    if ('private_jwk' in seed === isOwnKey) return seed;
    throw new UsageError(
      `${file} is of a try ${isOwnKey ? 'without' : 'with'} --own-key; go on so, or remove it`,
    );
  }
  const seed = makeSeed(isOwnKey);
  await writeFileAtomically(file, `${JSON.stringify(seed)}\n`);
  return seed;
}

function deviceOf(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const equals = pair.indexOf('=');
      if (equals < 1) throw new UsageError(`--device takes NAME=VALUE, not '${pair}'`);
      return [pair.slice(0, equals), pair.slice(equals + 1)];
    }),
  );
}
