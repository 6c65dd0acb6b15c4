import { spawn } from 'node:child_process';
import { OAuthError, uncheckedTls } from '@fleetgate/shared';
import type { Logger } from 'pino';
import type { JsonObject } from '../registry/registry.ts';

/** What decides beside us whether a device gets in: a command, or a webhook. */
export type EnrollmentHookOptions = (
  | { readonly command: readonly string[] }
  | /** https, or http on a loopback host. */ { readonly url: string }
) & {
  /** Default 5. */
  readonly timeoutSeconds?: number | undefined;
};

/** What the hook is told of a device. It holds no secret. */
export interface HookQuestion {
  readonly enrollment_id: string;
  readonly template: string;
  readonly client_id: string;
  readonly name?: string | undefined;
  readonly group?: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** What the device says of itself. */
  readonly device: JsonObject;
  readonly address?: string | undefined;
}

/** What it may say. */
export type HookAnswer =
  | {
      readonly allow: true;
      readonly name?: string;
      readonly group?: string;
      readonly labels?: Readonly<Record<string, string>>;
    }
  | { readonly allow: false; readonly reason?: string };

export type EnrollmentHook = (question: HookQuestion) => Promise<HookAnswer>;

const DEFAULT_TIMEOUT_SECONDS = 5;
const MAX_ANSWER_BYTES = 65_536;

/** Questions that are asked at once; devices beyond come back. */
const MAX_UNDER_WAY = 20;

/**
 * Asks the hook. Whatever it does but say clearly that the device may come in keeps it out.
 * @throws OAuthError `temporarily_unavailable` where it cannot be asked, takes too long or makes no sense
 */
export function enrollmentHook(options: EnrollmentHookOptions, log?: Logger): EnrollmentHook {
  const timeoutMs = (options.timeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS) * 1000;
  const ask = 'command' in options ? askCommand(options.command) : askUrl(options.url);
  let underWay = 0;
  return async (question) => {
    if (underWay >= MAX_UNDER_WAY) throw unavailable('too many devices ask at once');
    underWay += 1;
    try {
      return readAnswer(await ask(JSON.stringify(question), AbortSignal.timeout(timeoutMs)));
    } catch (error) {
      log?.error(
        { event: 'enrollment_hook_failed', err: error, client: question.client_id },
        'the enrollment hook did not answer',
      );
      throw unavailable('what decides on enrollments does not answer');
    } finally {
      underWay -= 1;
    }
  };
}

type Ask = (question: string, signal: AbortSignal) => Promise<string>;

/** The question on its standard input, the answer on its standard output; any exit code but 0 is none. */
function askCommand([command = '', ...args]: readonly string[]): Ask {
  return (question, signal) =>
    new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        stdio: ['pipe', 'pipe', 'inherit'],
        signal,
        killSignal: 'SIGKILL',
      });
      const parts: Buffer[] = [];
      let length = 0;
      child.stdout.on('data', (part: Buffer) => {
        length += part.length;
        if (length > MAX_ANSWER_BYTES) child.kill('SIGKILL');
        else parts.push(part);
      });
      child.once('error', reject);
      child.once('close', (code) => {
        if (code === 0) resolve(Buffer.concat(parts).toString('utf8'));
        else reject(new Error(`it ended with ${code}`));
      });
      // One that reads nothing answers all the same.
      child.stdin.on('error', () => undefined).end(question);
    });
}

function askUrl(url: string): Ask {
  return async (question, signal) => {
    const unchecked = uncheckedTls(url);
    if (unchecked !== undefined) throw new Error(unchecked);
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: question,
      redirect: 'error',
      signal,
    });
    if (!answer.ok) throw new Error(`it answered with ${answer.status}`);
    return readBounded(answer);
  };
}

async function readBounded(answer: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of answer.body ?? []) {
    length += part.length;
    if (length > MAX_ANSWER_BYTES) throw new Error('its answer is too long');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function readAnswer(text: string): HookAnswer {
  const value = JSON.parse(text) as Record<string, unknown>;
  if (value['allow'] === false) {
    return typeof value['reason'] === 'string' ? { allow: false, reason: value['reason'] } : { allow: false };
  }
  if (value['allow'] !== true) throw new Error('its answer has no allow');
  const { name, group, labels, ...more } = value;
  const isText = (one: unknown) => one === undefined || typeof one === 'string';
  const isLabels =
    labels === undefined ||
    (typeof labels === 'object' &&
      labels !== null &&
      Object.values(labels).every((one) => typeof one === 'string'));
  const unknown = Object.keys(more).filter((field) => field !== 'allow');
  if (!isText(name) || !isText(group) || !isLabels || unknown.length > 0) {
    throw new Error('its answer amends what it may not, or not in the way it may');
  }
  return {
    allow: true,
    ...(name !== undefined && { name: name as string }),
    ...(group !== undefined && { group: group as string }),
    ...(labels !== undefined && { labels: labels as Record<string, string> }),
  };
}

const unavailable = (message: string) => new OAuthError('temporarily_unavailable', message);
