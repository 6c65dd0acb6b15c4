import type { FailureKind } from './refresh-policy.ts';
import type { TokenTransport } from './transport/token-transport.ts';

/** What an agent is, at the moment it is asked. */
export interface AgentState {
  readonly isReady: boolean;
  /** Unset without a token. */
  readonly tokenExpiresInSeconds: number | undefined;
  readonly failureKind: FailureKind | undefined;
  /** Unset without an MQTT session to hold. */
  readonly isConnected: boolean | undefined;
}

/** Counts from the start of the process. */
export interface AgentCounters {
  tokenRequests: number;
  tokenFailures: number;
  connects: number;
}

const failureKinds: readonly FailureKind[] = ['transient', 'refused', 'dead'];

/** In the text format of Prometheus 0.0.4. No label holds what came from outside. */
export function formatMetrics(state: AgentState, counters: AgentCounters): string {
  const { isReady, tokenExpiresInSeconds, failureKind, isConnected } = state;
  const succeeded = counters.tokenRequests - counters.tokenFailures;
  const families = [
    gauge(
      'ready',
      'Whether every output holds a token that is valid and the session is up.',
      Number(isReady),
    ),
    gauge(
      'token_expires_in_seconds',
      'Seconds the token is valid for; 0 without one.',
      tokenExpiresInSeconds ?? 0,
    ),
    family('token_requests_total', 'counter', 'Token requests that have ended.', [
      ['{result="ok"}', succeeded],
      ['{result="failed"}', counters.tokenFailures],
    ]),
    family('token_failing', 'gauge', 'Whether the last token request failed, by kind of failure.', [
      ...failureKinds.map((kind) => [`{kind="${kind}"}`, Number(kind === failureKind)] as const),
    ]),
    ...(isConnected === undefined
      ? []
      : [
          gauge('connected', 'Whether the MQTT session is up.', Number(isConnected)),
          family('connects_total', 'counter', 'Connections to the broker that came up.', [
            ['', counters.connects],
          ]),
        ]),
  ];
  return families.join('');
}

/** The transport, each request counted when it ends. */
export function countRequests(transport: TokenTransport, counters: AgentCounters): TokenTransport {
  return async (request, signal) => {
    try {
      return await transport(request, signal);
    } catch (error) {
      counters.tokenFailures += 1;
      throw error;
    } finally {
      counters.tokenRequests += 1;
    }
  };
}

function gauge(name: string, help: string, value: number): string {
  return family(name, 'gauge', help, [['', value]]);
}

function family(
  name: string,
  type: 'counter' | 'gauge',
  help: string,
  samples: readonly (readonly [labels: string, value: number])[],
): string {
  const full = `fleetgate_agent_${name}`;
  const lines = samples.map(([labels, value]) => `${full}${labels} ${value}\n`);
  return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join('')}`;
}
