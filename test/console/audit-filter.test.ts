import { expect, test } from 'vitest';
import { auditHash, readAuditState } from '../../console/src/audit-filter.ts';

test('a link says what the trail is narrowed by, and by which page', () => {
  const state = readAuditState('target=press-1&result=&after=7&after=9');
  expect(state).toEqual({ filter: { target: 'press-1' }, cursors: ['7', '9'] });
  expect(readAuditState(auditHash(state).slice('#/audit?'.length))).toEqual(state);
});

test('a link that narrows by what is nothing of the trail says so', () => {
  expect(readAuditState('traget=press-1').problem).toBe(
    "the address asks for 'traget'; events are narrowed by actor, action, target, result, since, until",
  );
  expect(readAuditState('target=press-1').problem).toBeUndefined();
});
