import { test } from 'vitest';

// Renewal without loss, a refused filter and delivery run against the real broker in test/e2e/agent.test.ts.
test.todo('CONNACK 4 drops the cached token; a fresh token refused again backs off');
test.todo('CONNACK 5 and 2 are told as permanent and tried again rarely; 3 backs off');
test.todo('the still-valid token and the session are kept while the issuer is away');
test.todo('a publish beyond the bounds of the offline queue is rejected with queue_full');
test.todo('a broker that is away at the start is found when it comes back');
test.todo('stop() while connecting or renewing leaves nothing that keeps the process alive');
test.todo('no token or secret shows in util.inspect of an agent');
test.todo(
  'fleetgate-agent run writes the sink file atomically with mode 0600, and serves /livez and /readyz',
);
test.todo('fleetgate-agent publish and subscribe');
test.todo('fleetgate-agent completion bash|zsh|fish');
