/** `npm run bench -- broker [options]`: measures against peers in one run. */
import { parseArgs } from 'node:util';
import { benchBroker } from './broker/bench.ts';

const usage = `Usage: npm run bench -- broker [options]

  --rounds N        measurements of each kind; the median counts (default 5)
  --seconds S       time of each connect measurement (default 2)
  --only a,b        of connect_first, connect_seen, qos0, qos1, fanout, memory
  --subjects a,b    of bare, naive, fleetgate, mosquitto, rabbitmq

Prints a table of medians and ratios to bare Aedes, with the goals beside them, and as its last line one JSON object of
the ratios. A missed goal is a figure, not a failure; exit 1 when a subject fails or loses a message.
mosquitto and rabbitmq are measured where Debian's packages mosquitto and rabbitmq-server are installed.
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    only: { type: 'string' },
    subjects: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  },
});
const [subject] = positionals;
if (values.help === true || subject !== 'broker' || positionals.length > 1) {
  const isHelp = values.help === true;
  (isHelp ? process.stdout : process.stderr).write(
    isHelp ? usage : `bench: 'broker' is what can be measured so far\n\n${usage}`,
  );
  process.exit(isHelp ? 0 : 2);
}
await benchBroker({
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  only: values.only?.split(','),
  subjects: values.subjects?.split(','),
});
