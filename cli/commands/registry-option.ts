import type { Command } from 'commander';
import { registeredClients } from '../policy/registry-source.ts';
import { type ConnectionOptions, connect, withConnection } from './connection.ts';

/** Options by which a command finds a policy, and the clients it is looked at with. */
export interface RegistryFlags extends ConnectionOptions {
  policy?: string;
  clients?: string;
  selector?: string;
}

export function withRegistry(command: Command): Command {
  return withConnection(command)
    .option('--policy <file>', 'policy file (default: the one in force)')
    .option('--clients <file>', "clients of a file that 'fleet export' wrote (default: those registered)")
    .option('--selector <selector>', 'only these clients, as group=plant-7,hw!=rev-a');
}

export const clientsOf = (flags: RegistryFlags) =>
  registeredClients(flags.clients, () => connect(flags).admin, flags.selector);
