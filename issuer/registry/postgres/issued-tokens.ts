import type pg from 'pg';
import type { AuditEvent } from '../../audit.ts';
import { clients } from '../acts/clients.ts';
import { revocations } from '../acts/revocations.ts';
import type { UsedAssertions } from '../acts/used-assertions.ts';
import type { ClientRecord, IssuedToken, TokenRecorded } from '../registry.ts';
import type { AuditJournal } from './audit-journal.ts';
import { asRegistryError } from './connection.ts';
import type { Together } from './group-commit.ts';
import { runAct } from './run-act.ts';

/** What `recordIssuedToken` is asked for. */
export interface TokenToRecord {
  readonly client: ClientRecord;
  readonly token: IssuedToken;
  readonly event: AuditEvent;
}

interface State {
  /** NULL for a registration that has ended. */
  revision: number | null;
  active_kid: string | null;
  last_moment: number | null;
}

const states = `
  SELECT clients.revision, (SELECT kid FROM signing_keys WHERE state = 'active') AS active_kid,
    (SELECT max(at) FROM revocations WHERE at IS NOT NULL) AS last_moment
  FROM unnest($1::bigint[]) WITH ORDINALITY AS asked (registration, number)
  LEFT JOIN clients USING (registration) ORDER BY number`;

/** `recordIssuedToken` of many tokens, by one statement where none of them is out of the ordinary. */
export function issuedTokens(
  journal: AuditJournal,
  assertions: UsedAssertions,
): Together<TokenToRecord, TokenRecorded> {
  async function refusal(
    client: pg.ClientBase,
    { client: { revision, clientId }, token }: TokenToRecord,
    state: State,
  ): Promise<TokenRecorded | undefined> {
    if (state.revision === null) return { outcome: 'registration_ended' };
    if (state.revision !== revision) return { outcome: 'registration_changed' };
    if (token.keyId !== undefined && token.keyId !== state.active_kid) return { outcome: 'key_retired' };
    if (token.issuedAtSeconds > (state.last_moment ?? -1)) return undefined;
    const validFromSeconds = await runAct(client, revocations.validFrom(clientId, token.issuedAtSeconds));
    return validFromSeconds === undefined ? undefined : { outcome: 'revoked_already', validFromSeconds };
  }

  return async (client, tokens) => {
    const rows = await statesOf(client, tokens);
    const recorded: TokenRecorded[] = [];
    for (const [i, asked] of tokens.entries()) {
      const { registration } = asked.client;
      const { assertion, issuedAtSeconds } = asked.token;
      const { event } = asked;
      const refused = await refusal(client, asked, rows[i] as State);
      const [isUnused] =
        refused !== undefined || assertion === undefined
          ? [true]
          : await runAct(client, assertions.use([assertion], Math.floor(event.atMs / 1000)));
      if (refused !== undefined || !isUnused) {
        recorded.push(refused ?? { outcome: 'assertion_used' });
        continue;
      }
      if (issuedAtSeconds * 1000 > event.atMs) {
        await runAct(client, clients.setIssuedAhead(registration, issuedAtSeconds));
      }
      await runAct(client, clients.setLastSeen(asked.client, event.atMs));
      journal.add(event);
      recorded.push({ outcome: 'recorded' });
    }
    return recorded;
  };
}

async function statesOf(client: pg.ClientBase, tokens: readonly TokenToRecord[]): Promise<State[]> {
  const values = [tokens.map(({ client: { registration } }) => registration)];
  try {
    return (await client.query<State>({ name: 'fleetgate_token_states', text: states, values })).rows;
  } catch (error) {
    throw asRegistryError(error);
  }
}
