/** `npm run bench -- broker|issuer|agent|coap|console|scale [options]`: measures against peers in one run. */
import { parseArgs } from 'node:util';
import { benchAgent } from './agent/bench.ts';
import { benchBroker } from './broker/bench.ts';
import { benchCoap } from './coap/bench.ts';
import { benchConsole } from './console/bench.ts';
import { benchIssuer } from './issuer/bench.ts';
import { benchScaleBrokers } from './scale/brokers.ts';
import { benchScaleIssuer } from './scale/issuer.ts';

const usage = `Usage: npm run bench -- broker|issuer|agent|coap|console|scale [options]

  --rounds N        measurements of each kind; the median counts (default 5)
  --seconds S       time of each connect, token or processor measurement (default 2)
  --only a,b        scale: of brokers, issuer
                    broker: of connect_first, connect_seen, qos0, qos1, fanout, memory
                    issuer: of basic_es256, basic_eddsa, private_key_jwt_es256, basic_es256_many
  --subjects a,b    broker: of bare, naive, fleetgate, mosquitto, rabbitmq
  --clients N       issuer, scale, console: how many clients are many (default 20000; the goals are set for 1000000)
  --sessions N      console: how many sessions there are (default 10000)

Prints a table of medians and ratios, with the goals beside them, and as its last line one JSON object of the ratios.
A missed goal is a figure, not a failure; exit 1 when a subject fails or loses a message.
console: needs Debian's package chromium; figures are milliseconds and hundredths of one core, by /proc.
scale: 1, 2 and 3 brokers on one Redis against one without, and an issuer on PostgreSQL against one on SQLite; needs
Debian's packages redis-server and postgresql.
mosquitto and rabbitmq are measured where Debian's packages mosquitto and rabbitmq-server are installed.
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    only: { type: 'string' },
    subjects: { type: 'string' },
    clients: { type: 'string', default: '20000' },
    sessions: { type: 'string', default: '10000' },
    help: { type: 'boolean', short: 'h' },
  },
});
const [subject] = positionals;
const common = {
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  only: values.only?.split(','),
};
if (values.help === true) {
  process.stdout.write(usage);
} else if (subject === 'broker' && positionals.length === 1) {
  await benchBroker({ ...common, subjects: values.subjects?.split(',') });
} else if (subject === 'issuer' && positionals.length === 1) {
  await benchIssuer({ ...common, clients: Number(values.clients) });
} else if (subject === 'agent' && positionals.length === 1) {
  await benchAgent({ rounds: common.rounds });
} else if (subject === 'coap' && positionals.length === 1) {
  await benchCoap({ rounds: common.rounds, seconds: common.seconds });
} else if (subject === 'console' && positionals.length === 1) {
  await benchConsole({ ...common, clients: Number(values.clients), sessions: Number(values.sessions) });
} else if (subject === 'scale' && positionals.length === 1) {
  const parts = common.only ?? ['brokers', 'issuer'];
  const ratios = {
    ...(parts.includes('brokers') ? await benchScaleBrokers(common) : {}),
    ...(parts.includes('issuer')
      ? await benchScaleIssuer({ ...common, clients: Number(values.clients) })
      : {}),
  };
  process.stdout.write(`${JSON.stringify(ratios)}\n`);
} else {
  process.stderr.write(
    `bench: name what to measure: broker, issuer, agent, coap, console or scale\n\n${usage}`,
  );
  process.exit(2);
}
