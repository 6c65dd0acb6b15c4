import { test } from 'vitest';

// Issue 7, item 3: what brokers that share one Redis are to show.
test.todo('a session moves between brokers, and is judged again under the grants of the new token');
test.todo(
  'an acknowledgement is given only while Redis answers; new connections are refused while it does not',
);
test.todo('the will of a broker that was killed is published within the grants of its owner, once');
test.todo('fleetgate sessions lists and cuts across all brokers');
test.todo(
  'three brokers, killed, cut off and with a frozen Redis: nothing outside a grant, no QoS 2 message lost',
);
