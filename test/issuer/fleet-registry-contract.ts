import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Condition, ValueCondition } from '../../issuer/fleet/selector.ts';
import { isTimeField, type TimeCondition } from '../../issuer/fleet/time-condition.ts';
import type { JobRecord, JobRow } from '../../issuer/registry/fleet-registry.ts';
import type { ClientRecord, NewClientRecord, Registry } from '../../issuer/registry/registry.ts';
import { hashSecret, unusedSecret } from '../../issuer/secrets.ts';
import { client, event, NOW, type OpenedRegistry, ofClient } from './registry-contract.ts';

const DAY_MS = 86_400_000;
const nowMs = NOW * 1000;

/** A secret for each, by days from now; `undefined` has no end. */
const secretsThatEnd = (...days: (number | undefined)[]) =>
  days.map((day, i) =>
    unusedSecret(
      { hash: hashSecret(`secret ${i}`) },
      { createdAtMs: 1 + i, expiresAtMs: day === undefined ? undefined : nowMs + day * DAY_MS },
    ),
  );

const template = { name: 'sensor', version: 1, template: { id: 'sensor-{serial}' }, createdAtMs: 1 };

const job = (more: Partial<JobRecord> = {}): JobRecord => ({
  id: 'j1',
  template,
  keyHash: new Uint8Array(32).fill(3),
  source: undefined,
  total: 3,
  start: 1,
  state: 'running',
  nextRow: 1,
  created: 0,
  failed: 0,
  createdBy: 'default',
  createdAtMs: 1,
  updatedAtMs: 1,
  ...more,
});

/** What every implementation keeps of templates, jobs and selections. */
export function fleetContract(name: string, open: () => Promise<OpenedRegistry>): void {
  describe(`${name} keeps the contract of fleets`, () => {
    let opened: OpenedRegistry;
    let registry: Registry;
    beforeEach(async () => {
      opened = await open();
      registry = opened.registry;
    });
    afterEach(() => opened.dispose());

    const acts = async () => (await registry.listEvents({ limit: 1000 })).map(({ action }) => action);
    const register = (clientId: string, more: Partial<NewClientRecord> = {}) =>
      registry.createClient(client(clientId, more), event('client.create', clientId));
    const put = (name: string, id: string) =>
      registry.putTemplate({ name, template: { id }, createdAtMs: 1 }, 2, event('template.put', name));
    const made = (clientId: string, row: number, jobId = 'j1'): JobRow => ({
      client: client(clientId, {
        origin: { template: 'sensor', templateVersion: 1, job: { id: jobId, row } },
      }),
      event: event('client.create', clientId),
    });
    const failing = (code = 'invalid_request'): JobRow => ({
      failure: { code, description: 'the row is wrong' },
      event: event('client.create', 'j1'),
    });
    const run = (firstRow: number, ...rows: JobRow[]) =>
      registry.recordRows({ jobId: 'j1', firstRow, rows, atMs: 5 });

    test('a template that changed is a new version; the same again is none', async () => {
      expect(await put('a', '{n}')).toEqual({ outcome: 'created', version: 1 });
      expect(await put('a', '{n}')).toEqual({ outcome: 'unchanged', version: 1 });
      expect(await put('a', 'x-{n}')).toEqual({ outcome: 'created', version: 2 });
      expect(await registry.findTemplate('a')).toMatchObject({ version: 2, template: { id: 'x-{n}' } });
      expect(await registry.findTemplate('a', 1)).toMatchObject({ version: 1, template: { id: '{n}' } });
      expect(await registry.findTemplate('a', 3)).toBeUndefined();
      expect(await acts()).toEqual(['template.put', 'template.put']);
    });

    test('no more templates are kept than allowed, and versions of those there are go on', async () => {
      await put('b', '{n}');
      await put('a', '{n}');
      expect(await put('c', '{n}')).toEqual({ outcome: 'full' });
      expect(await put('a', 'a-{n}')).toMatchObject({ outcome: 'created' });
      expect((await registry.listTemplates()).map(({ name, version }) => [name, version])).toEqual([
        ['a', 2],
        ['b', 1],
      ]);
      expect(await registry.deleteTemplate('a', event('template.delete', 'a'))).toBe(true);
      expect(await registry.deleteTemplate('a', event('template.delete', 'a'))).toBe(false);
      expect(await put('c', '{n}')).toMatchObject({ outcome: 'created' });
    });

    test('a row makes one client however often it comes, and the answer names it', async () => {
      await registry.createJob(job(), event('job.create', 'j1'));
      expect(await run(1, made('a', 1), made('b', 2))).toMatchObject({
        job: { nextRow: 3, created: 2, failed: 0, state: 'running' },
        rows: [{ outcome: 'created' }, { outcome: 'created' }],
      });
      expect(await run(2, made('other', 2), made('c', 3))).toMatchObject({
        job: { nextRow: 4, created: 3, state: 'done', updatedAtMs: 5 },
        rows: [{ outcome: 'repeated', client: { clientId: 'b' } }, { outcome: 'created' }],
      });
      expect(await registry.findClient('other')).toBeUndefined();
      expect((await registry.findClient('c'))?.origin).toEqual({
        template: 'sensor',
        templateVersion: 1,
        job: { id: 'j1', row: 3 },
      });
      expect(await acts()).toEqual(['job.create', 'client.create', 'client.create', 'client.create']);
    });

    test('rows out of order, of no job and of a cancelled one are refused with nothing written', async () => {
      expect(await run(1, made('a', 1))).toEqual({ outcome: 'job_unknown' });
      await registry.createJob(job(), event('job.create', 'j1'));
      expect(await run(2, made('a', 2))).toMatchObject({ outcome: 'refused', job: { nextRow: 1 } });
      expect(await registry.cancelJob('j1', event('job.cancel', 'j1'))).toBe(true);
      expect(await registry.cancelJob('j1', event('job.cancel', 'j1'))).toBe(false);
      expect(await run(1, made('a', 1))).toMatchObject({ outcome: 'refused', job: { state: 'cancelled' } });
      expect(await registry.findClient('a')).toBeUndefined();
    });

    test('a row that fails holds up none, is listed, and is off the list when a later try makes it', async () => {
      await registry.createJob(job(), event('job.create', 'j1'));
      await register('taken');
      const first = await run(1, failing(), made('taken', 2), made('c', 3));
      expect(first).toMatchObject({
        job: { created: 1, failed: 2, state: 'done' },
        rows: [{ outcome: 'failed' }, { failure: { code: 'registry_conflict' } }, { outcome: 'created' }],
      });
      const failures = () => registry.listFailedRows('j1', { after: 0, limit: 9 });
      expect((await failures()).map(({ row, code }) => [row, code])).toEqual([
        [1, 'invalid_request'],
        [2, 'registry_conflict'],
      ]);
      expect(await registry.listFailedRows('j1', { after: 1, limit: 1 })).toMatchObject([{ row: 2 }]);
      await registry.deleteClient(ofClient('taken'), event('client.delete', 'taken'));
      expect(await run(1, failing('scope_malformed'), made('taken', 2))).toMatchObject({
        job: { created: 2, failed: 1 },
        rows: [{ outcome: 'failed' }, { outcome: 'created' }],
      });
      expect(await failures()).toMatchObject([{ row: 1, code: 'scope_malformed' }]);
      const results = (await registry.listEvents({ limit: 99 })).map(({ target, result }) => [
        target,
        result,
      ]);
      expect(results).toContainEqual(['taken', 'registry_conflict']);
      expect(results.filter(([target]) => target === 'j1')).toEqual([
        ['j1', 'ok'],
        ['j1', 'invalid_request'],
      ]);
    });

    test('jobs are listed from new to old, a page at a time', async () => {
      for (const id of ['j1', 'j2', 'j3']) await registry.createJob(job({ id }), event('job.create', id));
      const ids = async (before?: string) =>
        (await registry.listJobs({ before, limit: 2 })).map(({ id }) => id);
      expect(await ids()).toEqual(['j3', 'j2']);
      expect(await ids('j2')).toEqual(['j1']);
      expect(await ids('ghost')).toEqual([]);
      expect(await registry.findJob('j2')).toEqual({ ...job({ id: 'j2' }), keyHash: expect.anything() });
    });

    test('a selector selects what it says, page by page, whatever it is led by', async () => {
      const groups = [undefined, 'g1', 'g2'];
      const values = [undefined, 'a', 'b'];
      const ends = [
        secretsThatEnd(undefined),
        secretsThatEnd(3),
        secretsThatEnd(-1),
        secretsThatEnd(-1, undefined),
        secretsThatEnd(-2, -1),
        secretsThatEnd(2, 40),
        [],
      ];
      const uses = [undefined, 0, 5.5, 29.5, 33];
      const fleet: ClientRecord[] = [];
      for (let i = 0; i < 60; i += 1) {
        const clientId = `${i % 7 === 0 ? 'press' : 'box'}-${String(i).padStart(2, '0')}`;
        const hw = values[i % 3];
        const line = values[Math.floor(i / 3) % 3];
        const origin = i % 5 === 0 ? { template: 'sensor', templateVersion: 1 } : undefined;
        await register(clientId, {
          group: groups[Math.floor(i / 9) % 3],
          labels: { ...(hw && { hw }), ...(line && { line }) },
          authMethod: i % 4 === 0 ? 'oscore' : 'client_secret_basic',
          secrets: ends[i % ends.length] as NewClientRecord['secrets'],
          origin: origin && (i % 10 === 0 ? { ...origin, job: { id: 'j', row: i + 1 } } : origin),
        });
        if (i % 6 === 0) {
          const revocation = { ...ofClient(clientId), isQuarantined: true as const };
          await registry.quarantineClient(revocation, 'lost', event('client.quarantine', clientId));
        }
        const registered = (await registry.findClient(clientId)) as ClientRecord;
        const seenDaysAgo = uses[i % uses.length];
        if (seenDaysAgo !== undefined) {
          const issued = { ...event('token.issue', clientId), atMs: nowMs - seenDaysAgo * DAY_MS };
          await registry.recordIssuedToken(registered, { issuedAtSeconds: NOW + 10 }, issued);
        }
        fleet.push((await registry.findClient(clientId)) as ClientRecord);
      }
      expect(fleet.some(({ lastSeenAtMs }) => lastSeenAtMs !== undefined)).toBe(true);
      fleet.sort((a, b) => (a.clientId < b.clientId ? -1 : 1));
      const selectors = fc.array(anyCondition, { maxLength: 4 });
      await fc.assert(
        fc.asyncProperty(selectors, fc.integer({ min: 1, max: 70 }), async (selector, limit) => {
          const expected = fleet.filter((one) => selector.every((condition) => holds(condition, one)));
          const found: string[] = [];
          let after: string | undefined;
          do {
            const page = await registry.selectClients({ selector, nowMs, after, limit });
            expect(page.clients.length).toBeLessThanOrEqual(limit);
            found.push(...page.clients.map(({ clientId }) => clientId));
            after = page.reached;
          } while (after !== undefined);
          expect(found).toEqual(expected.map(({ clientId }) => clientId));
          expect(await registry.countClients({ selector, nowMs })).toEqual({
            count: expected.length,
            reached: undefined,
          });
        }),
        { numRuns: 300 },
      );
    });

    test('a token is seen once a day, on whichever connection', async () => {
      await register('a');
      const seen = async (days: number) => {
        const found = (await registry.findClient('a')) as ClientRecord;
        const issued = { ...event('token.issue', 'a'), atMs: nowMs + days * DAY_MS };
        await registry.recordIssuedToken(found, { issuedAtSeconds: NOW + days * 86_400 }, issued);
        return ((await registry.findClient('a'))?.lastSeenAtMs ?? 0) - nowMs;
      };
      expect((await registry.findClient('a'))?.lastSeenAtMs).toBeUndefined();
      expect(await seen(0)).toBe(0);
      expect(await seen(0.99)).toBe(0);
      expect(await seen(1)).toBe(DAY_MS);
      // A clock that was set back forgets nothing.
      expect(await seen(-3)).toBe(DAY_MS);
      expect((await registry.findClient('a'))?.revision).toBe(1);
    });

    test('times that more fulfil than one look reaches are found by a walk through the ids', {
      timeout: 60_000,
    }, async () => {
      const total = 10_400;
      const ids = Array.from({ length: total }, (_, i) => `d-${String(i).padStart(5, '0')}`);
      await Promise.all(
        ids.map((id, i) =>
          register(id, {
            secrets: secretsThatEnd(i === total - 1 ? -1 : 3),
            ...(i === total - 2 ? { labels: { spare: 'yes' } } : {}),
          }),
        ),
      );
      const found = async (...selector: Condition[]) => {
        const clients: string[] = [];
        let after: string | undefined;
        do {
          const page = await registry.selectClients({ selector, nowMs, after, limit: 5000 });
          clients.push(...page.clients.map(({ clientId }) => clientId));
          after = page.reached;
        } while (after !== undefined);
        return clients;
      };
      const never: Condition = { subject: 'last_seen', operator: 'absent', durationMs: 0 };
      const soon: Condition = { subject: 'expires', operator: 'less', durationMs: 4 * DAY_MS };
      const expired: Condition = { subject: 'expired', operator: 'present', durationMs: 0 };
      const spare: Condition = { subject: { label: 'spare' }, operator: 'present', values: [] };
      expect(await found(never)).toEqual(ids);
      expect(await found(soon)).toEqual(ids.slice(0, -1));
      expect(await found(soon, spare)).toEqual(ids.slice(-2, -1));
      expect(await found(soon, expired)).toEqual([]);
      expect(await found(never, expired)).toEqual(ids.slice(-1));
    });
  });
}

const anyOf = (...values: string[]) => fc.uniqueArray(fc.constantFrom(...values), { minLength: 1 });

const subjects: readonly [ValueCondition['subject'], fc.Arbitrary<string[]>][] = [
  ['client_id', anyOf('box-01', 'box-02', 'press-00', 'ghost')],
  ['group', anyOf('g1', 'g2', 'ghost')],
  ['state', anyOf('active', 'quarantined')],
  ['auth_method', anyOf('oscore', 'client_secret_basic')],
  ['template', anyOf('sensor', 'ghost')],
  ['job', anyOf('j', 'ghost')],
  [{ label: 'hw' }, anyOf('a', 'b', 'c')],
  [{ label: 'line' }, anyOf('a', 'b', 'c')],
];

const anyCondition: fc.Arbitrary<Condition> = fc.oneof(
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('box-', 'press-0', 'x')
      .map((prefix) => ({ subject: 'client_id' as const, operator: 'prefix' as const, values: [prefix] })),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({
        subject: fc.constantFrom('expires' as const, 'expired' as const, 'last_seen' as const),
        operator: fc.constantFrom('less' as const, 'more' as const, 'present' as const, 'absent' as const),
        durationMs: fc.constantFrom(0, 1, 4, 30, 50).map((days) => days * DAY_MS),
      })
      // As the parser gives them out.
      .filter(({ subject, operator }) => {
        if (subject === 'expires') return operator !== 'more';
        return subject === 'last_seen' || operator === 'present' || operator === 'absent';
      }),
  },
  {
    weight: 6,
    arbitrary: fc.constantFrom(...subjects).chain(([subject, values]) =>
      fc.oneof(
        fc.record({
          subject: fc.constant(subject),
          operator: fc.constantFrom('in' as const, 'not_in' as const),
          values,
        }),
        fc.record({
          subject: fc.constant(subject),
          operator: fc.constantFrom('present' as const, 'absent' as const),
          values: fc.constant([]),
        }),
      ),
    ),
  },
);

/** What a condition says, by its words. */
function holds(condition: Condition, one: ClientRecord): boolean {
  const isOfTime = typeof condition.subject === 'string' && isTimeField(condition.subject);
  return isOfTime ? timeHolds(condition as TimeCondition, one) : valueHolds(condition as ValueCondition, one);
}

function timeHolds({ subject, operator, durationMs }: TimeCondition, one: ClientRecord): boolean {
  const live = one.secrets.filter(({ expiresAtMs = Infinity }) => expiresAtMs > nowMs);
  if (subject === 'expired') {
    return (one.secrets.length > 0 && live.length === 0) === (operator === 'present');
  }
  if (subject === 'expires') {
    const next = Math.min(...live.map(({ expiresAtMs = Infinity }) => expiresAtMs));
    if (operator === 'less') return next <= nowMs + durationMs;
    return next < Infinity === (operator === 'present');
  }
  const { lastSeenAtMs } = one;
  if (operator === 'present' || operator === 'absent') {
    return (lastSeenAtMs !== undefined) === (operator === 'present');
  }
  if (lastSeenAtMs === undefined) return false;
  return lastSeenAtMs + DAY_MS < nowMs - durationMs === (operator === 'more');
}

function valueHolds({ subject, operator, values }: ValueCondition, one: ClientRecord): boolean {
  const value = fieldOf(subject, one);
  switch (operator) {
    case 'in':
      return value !== undefined && values.includes(value);
    case 'not_in':
      return value === undefined || !values.includes(value);
    case 'present':
      return value !== undefined;
    case 'absent':
      return value === undefined;
    case 'prefix':
      return value?.startsWith(values[0] as string) === true;
  }
}

function fieldOf(subject: ValueCondition['subject'], one: ClientRecord): string | undefined {
  if (typeof subject !== 'string') return one.labels[subject.label];
  switch (subject) {
    case 'client_id':
      return one.clientId;
    case 'group':
      return one.group;
    case 'state':
      return one.quarantine === undefined ? 'active' : 'quarantined';
    case 'auth_method':
      return one.authMethod;
    case 'template':
      return one.origin?.template;
    case 'job':
      return one.origin?.job?.id;
    case 'enrollment':
      return one.origin?.enrollment;
  }
}
