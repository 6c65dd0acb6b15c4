import type { Command } from 'commander';
import { readConfig } from '../config/read.ts';
import { registeredClients } from '../policy/registry-source.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';

/** Options by which a command finds a policy, and the clients it is looked at with. */
export interface RegistryFlags extends ConnectionOptions {
  policy?: string;
  clients?: string;
  selector?: string;
  tokenClaim?: string[];
}

export function withRegistry(command: Command): Command {
  return withClients(command).option('--policy <file>', 'policy file (default: the one in force)');
}

/** The same for a command that is told its policies otherwise. */
export function withClients(command: Command): Command {
  return withConnection(command)
    .option('--clients <file>', "clients of a file that 'fleet export' wrote (default: those registered)")
    .option('--selector <selector>', 'only these clients, as group=plant-7,hw!=rev-a')
    .option(
      '--token-claim <name>',
      'a field of metadata the issuer copies into tokens; may be given again (default: issuer.token_claims)',
      collect,
    );
}

/** The fields of metadata that tokens have as claims. */
export function tokenClaimsOf(flags: RegistryFlags): readonly string[] {
  return flags.tokenClaim ?? readConfig(flags).config.issuer.token_claims;
}

export function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

export const clientsOf = (flags: RegistryFlags) =>
  registeredClients(flags.clients, async () => (await connect(flags)).admin, flags.selector);
