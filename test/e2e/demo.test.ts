import { test } from 'vitest';

test.todo(
  'npm run demo shows agents getting tokens, telemetry flowing, a refused publish, a renewal without loss, and a deleted client refused its next token',
);
test.todo('npm run demo ends non-zero when a step did not happen');
