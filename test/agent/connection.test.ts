import { test } from 'vitest';

test.todo('the MQTT session is renewed by a reconnect with the new token, and no QoS 1 message is lost');
test.todo('CONNACK 4 is answered with a new token, and with back-off when that is refused too');
test.todo('CONNACK 5 and 2 back off as refusals and are reported');
test.todo('CONNACK 3 backs off as a transient failure');
test.todo('offline publishes wait in a bounded queue, and beyond it fail with queue_full');
test.todo('fleetgate-agent run keeps a token fresh for a sink until it is stopped');
test.todo('fleetgate-agent publish ends after the acknowledgement');
test.todo('fleetgate-agent subscribe prints messages until it is stopped');
test.todo('fleetgate-agent completion prints a script for the shell');
