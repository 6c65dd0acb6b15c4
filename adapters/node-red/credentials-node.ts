import { resolve } from 'node:path';
import { createTokenSource, readCredentialsFile, type TokenSource } from '@fleetgate/agent';
import { type Credentials, checkCredentials } from '@fleetgate/shared';
import type { FlowNode, NodeRed } from './node-red.ts';

/** A configuration node: one client of an issuer, whose tokens the nodes that name it share. */
export interface CredentialsNode extends FlowNode {
  /** Rejects when the credentials cannot be used. */
  opened: Promise<OpenedCredentials>;
}

export interface OpenedCredentials {
  readonly clientId: string;
  readonly tokens: TokenSource;
}

interface Config {
  /** A credentials file, relative to the user directory of Node-RED; without one the other fields. */
  readonly file?: string;
  readonly issuer?: string;
  readonly clientId?: string;
  readonly scope?: string;
  readonly audience?: string;
}

/** Registers `fleetgate-credentials`. */
export function credentialsNode(RED: NodeRed): void {
  RED.nodes.registerType<CredentialsNode, Config>(
    'fleetgate-credentials',
    function (config) {
      RED.nodes.createNode(this, config);
      const stopping = new AbortController();
      this.opened = credentialsOf(config, this.credentials?.['clientSecret'], RED.settings.userDir).then(
        (credentials) => ({
          clientId: credentials.client_id,
          tokens: createTokenSource(credentials, { signal: stopping.signal }),
        }),
      );
      // Said by each node that needs it.
      this.opened.catch(() => undefined);
      this.on('close', (done) => {
        stopping.abort();
        done();
      });
    },
    { credentials: { clientSecret: { type: 'password' } } },
  );
}

async function credentialsOf(
  { file = '', issuer, clientId, scope = '', audience = '' }: Config,
  clientSecret: string | undefined,
  userDirectory = '.',
): Promise<Credentials> {
  if (file !== '') return readCredentialsFile(resolve(userDirectory, file));
  return checkCredentials({
    version: 1,
    client_id: clientId,
    issuer,
    auth: { method: 'client_secret_basic', client_secret: clientSecret },
    ...(scope === '' ? {} : { scope }),
    ...(audience === '' ? {} : { audience }),
  });
}
