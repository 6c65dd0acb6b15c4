import type { Command } from 'commander';
import type { ExplainSubject } from './policy.ts';
import { collect } from './registry-option.ts';
import { decodeToken, readToken } from './token.ts';

/** Whose token a policy is looked at for. */
export interface SubjectFlags {
  clientId?: string;
  group?: string;
  scope?: string;
  claim: string[];
  tokenFile?: string;
}

export function withSubject(command: Command): Command {
  return command
    .option('--client-id <id>', 'client of the token')
    .option('--scope <scope>', 'scopes of its token, separated by spaces')
    .option('--group <group>', 'group of the client')
    .option('--claim <name=value>', 'a claim of its token; may be given again', collect, [])
    .option('--token-file <file>', "a token instead of the above; '-' is standard input");
}

export async function subjectOf({
  clientId,
  group,
  scope,
  claim,
  tokenFile,
}: SubjectFlags): Promise<ExplainSubject> {
  return {
    claim,
    ...(clientId === undefined ? {} : { clientId }),
    ...(group === undefined ? {} : { group }),
    ...(scope === undefined ? {} : { scope }),
    ...(tokenFile === undefined ? {} : { claims: decodeToken(await readToken(tokenFile)).claims }),
  };
}
