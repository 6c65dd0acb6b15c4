import { useEffect } from 'preact/hooks';
import { call, type Session, watching } from '../api.ts';
import { hashOf, noFilters } from '../client-filters.ts';
import { type Figures, type Refusal, useLive } from '../live.ts';
import { Failure, useLoaded } from '../parts.tsx';
import { refusalsHash } from '../refusal-filter.ts';

const WEEK_SECONDS = 7 * 86_400;

/** What the issuer is asked again for. */
const LOOK_MS = 30_000;

/** Refusals of so long ago are of now. */
const RECENT_MINUTES = 5;

/** What is counted of each kind; beyond it is "or more". The most of one page of the admin API. */
const MAX_SECRETS = 500;
const MAX_REQUESTS = 100;
const MAX_CAMPAIGNS = 100;

interface Note {
  readonly text: string;
  readonly href?: string;
}

interface Waiting {
  readonly secrets: number;
  readonly devices: number;
  readonly pausedCampaigns: number;
}

/** What wants a hand, each with the page where it is given. */
export function Attention({ session }: { session: Session }) {
  const { figures, refusals } = useLive();
  const hasIssuer = session.roles.includes('issuer');
  const waiting = useLoaded(`waiting ${hasIssuer}`, async () => (hasIssuer ? lookAtIssuer() : undefined));
  const { again } = waiting;
  useEffect(() => {
    const look = setInterval(() => again(), LOOK_MS);
    return () => clearInterval(look);
  }, []);
  const notes = [
    ...ofFigures(figures.at(-1)),
    ...(waiting.value === undefined ? [] : ofIssuer(waiting.value)),
    ...ofRefusals(refusals),
  ];
  const isKnown = figures.length > 0 && !waiting.isLoading && waiting.error === undefined;
  return (
    <section class="card" aria-label="Needs attention">
      <h2>Needs attention</h2>
      <Failure error={waiting.error} />
      {notes.length === 0 && isKnown ? <p class="who">Nothing.</p> : null}
      {notes.length === 0 ? null : (
        <ul class="attention">
          {notes.map(({ text, href }) => (
            <li key={href ?? text}>{href === undefined ? text : <a href={href}>{text}</a>}</li>
          ))}
        </ul>
      )}
    </section>
  );
}

async function lookAtIssuer(): Promise<Waiting> {
  const ask = async <Body,>(path: string) => (await call<Body>('GET', path, undefined, watching)).body;
  const [{ secrets }, { requests }, { campaigns }] = await Promise.all([
    ask<{ secrets: unknown[] }>(
      `/v1/secrets?state=expiring&within_seconds=${WEEK_SECONDS}&limit=${MAX_SECRETS}`,
    ),
    ask<{ requests: unknown[] }>(`/v1/enrollment-requests?state=pending&limit=${MAX_REQUESTS}`),
    ask<{ campaigns: { state: string }[] }>(`/v1/campaigns?limit=${MAX_CAMPAIGNS}`),
  ]);
  return {
    secrets: secrets.length,
    devices: requests.length,
    pausedCampaigns: campaigns.filter(({ state }) => state === 'paused').length,
  };
}

function ofFigures(figures: Figures | undefined): Note[] {
  const quarantined = figures?.['clients_quarantined'] ?? 0;
  return [
    ...((figures?.['feeds_away'] ?? 0) > 0 ? [{ text: 'The revocations of an issuer do not come in.' }] : []),
    ...((figures?.['cluster_away'] ?? 0) > 0
      ? [{ text: 'The Redis that the brokers share does not answer.' }]
      : []),
    ...(quarantined > 0
      ? [
          {
            text: `${counted(quarantined, 'client is', 'clients are')} in quarantine.`,
            href: hashOf({ filters: { ...noFilters, state: 'quarantined' }, cursors: [] }),
          },
        ]
      : []),
  ];
}

function ofIssuer({ secrets, devices, pausedCampaigns }: Waiting): Note[] {
  return [
    {
      count: secrets,
      text: `${counted(secrets, 'secret ends', 'secrets end', MAX_SECRETS)} within a week.`,
      href: hashOf({ filters: { ...noFilters, ends: 'expires<7d' }, cursors: [] }),
    },
    {
      count: devices,
      text: `${counted(devices, 'device waits', 'devices wait', MAX_REQUESTS)} for approval.`,
      href: '#/provisioning',
    },
    {
      count: pausedCampaigns,
      text: `${counted(pausedCampaigns, 'rotation campaign is', 'rotation campaigns are')} paused.`,
      href: '#/keys',
    },
  ].filter(({ count }) => count > 0);
}

function ofRefusals(refusals: readonly Refusal[]): Note[] {
  const fromMs = Date.now() - RECENT_MINUTES * 60_000;
  const counts = new Map<string, number>();
  for (const { at, reason } of refusals) {
    if (at >= fromMs) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  const [most] = [...counts].sort(([, one], [, other]) => other - one);
  if (most === undefined) return [];
  const [reason, count] = most;
  const all = [...counts.values()].reduce((sum, one) => sum + one, 0);
  const which = all === count ? `${reason}` : `most of them ${reason} (${count.toLocaleString('en')})`;
  return [
    {
      text: `${counted(all, 'refusal', 'refusals')} in the last ${RECENT_MINUTES} minutes: ${which}.`,
      href: refusalsHash(reason),
    },
  ];
}

/** @param most of which there may be more */
function counted(count: number, one: string, many: string, most = Number.POSITIVE_INFINITY): string {
  return `${count.toLocaleString('en')}${count >= most ? ' or more' : ''} ${count === 1 ? one : many}`;
}
