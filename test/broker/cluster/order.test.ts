import { expect, test } from 'vitest';
import { subscribe } from '../../support/broker-fixture.ts';
import {
  admin,
  messagesOf,
  numbered,
  publishAll,
  publishAtOnce,
  startTestCluster,
  take,
} from '../../support/cluster-fixture.ts';

/** What waits for the session when it comes back, and what is published meanwhile. */
const QUEUED = 300;
const MEANWHILE = 300;

test('a session that comes back gets what it missed, and then what is published meanwhile', async () => {
  const cluster = await startTestCluster();
  const [one, other] = [await cluster.start(), await cluster.start()];
  const away = await admin(one, 'board', false);
  await subscribe(away, ['news'], 1);
  await away.end();
  const publisher = await admin(one, 'publisher');
  await publishAtOnce(publisher, 'news', numbered(QUEUED));

  const publishing = publishAll(publisher, 'news', numbered(MEANWHILE, QUEUED));
  const back = await admin(other, 'board', false);
  const got = await take(back, QUEUED + MEANWHILE);
  await publishing;
  expect(got).toEqual(numbered(QUEUED + MEANWHILE));
  expect(messagesOf(back)).toHaveLength(QUEUED + MEANWHILE);
});
