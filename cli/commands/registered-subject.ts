import type { Policy, ScopeFormat } from '@fleetgate/broker/policy';
import { FleetgateError } from '@fleetgate/shared';
import { readConfig } from '../config/read.ts';
import { UsageError } from '../exit.ts';
import { tokenOf } from '../policy/registered-token.ts';
import { type ConnectionOptions, connect } from './connection.ts';
import { claimPairs, type ExplainSubject } from './policy.ts';
import { type SubjectFlags, subjectOf } from './subject-option.ts';

/**
 * Whose token is looked at. Without scopes and without a token it is all that the client is registered for, where a
 * running issuer can be asked, else a token without scopes; stderr says which.
 * @throws whatever keeps an issuer that an option names from being asked
 */
export async function explainedSubject(
  policy: Policy,
  flags: SubjectFlags & ConnectionOptions & { readonly scopeFormat: ScopeFormat },
): Promise<ExplainSubject> {
  const { clientId, scope, tokenFile, scopeFormat } = flags;
  if (clientId === undefined || scope !== undefined || tokenFile !== undefined || scopeFormat !== 'named') {
    return subjectOf(flags);
  }
  try {
    return await registeredSubject(policy, clientId, flags);
  } catch (error) {
    const isExpected = error instanceof FleetgateError || error instanceof UsageError;
    const isNamed = [flags.adminUrl, flags.adminKeyFile, flags.app].some((value) => value !== undefined);
    if (!isExpected || isNamed) throw error;
    const isUnknown = error instanceof FleetgateError && error.code === 'client_unknown';
    const why = isUnknown ? `, and no client ${clientId} is registered` : '';
    process.stderr.write(`no --scope given${why}: a token without scopes\n`);
    return subjectOf(flags);
  }
}

async function registeredSubject(
  policy: Policy,
  clientId: string,
  flags: SubjectFlags & ConnectionOptions,
): Promise<ExplainSubject> {
  const client = await (await connect(flags)).admin.getClient(clientId);
  const { token_claims: tokenClaims } = readConfig(flags).config.issuer;
  const { scopes, claims, group } = tokenOf([policy], tokenClaims, client);
  process.stderr.write(`no --scope given: ${clientId} is registered for ${scopes.join(' ') || 'no scope'}\n`);
  return {
    claims: {
      ...claims,
      ...claimPairs(flags.claim),
      client_id: clientId,
      scp: scopes,
      ...((flags.group ?? group) !== undefined && { group: flags.group ?? group }),
    },
  };
}
