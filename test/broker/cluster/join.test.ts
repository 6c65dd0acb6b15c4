import { expect, test } from 'vitest';
import { admin, numbered, publishAtOnce, startTestCluster } from '../../support/cluster-fixture.ts';

test('a broker joins while others publish, at the first try', async () => {
  const cluster = await startTestCluster();
  const one = await cluster.start();
  const publisher = await admin(one, 'publisher');
  let isOver = false;
  const load = async () => {
    while (!isOver) await publishAtOnce(publisher, 'news', numbered(20));
  };
  const loaded = load();
  const logs: string[] = [];
  for (let n = 0; n < 5; n += 1) {
    const joining = await cluster.start();
    logs.push(joining.log());
    await joining.servesOthers();
  }
  isOver = true;
  await loaded;
  expect(logs.join('')).not.toContain('cluster_away');
});
