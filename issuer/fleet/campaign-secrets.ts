import type { AuditEvent } from '../audit.ts';
import { makeCredential, type ShownCredential } from '../client-credential.ts';
import type { ContextVault } from '../oscore-context.ts';
import type { CampaignRecord, NewBatchSecret } from '../registry/campaign-registry.ts';
import type { ClientRecord, Registry } from '../registry/registry.ts';
import { unusedSecret } from '../secrets.ts';
import { MAX_BATCH_SIZE } from './campaign-plan.ts';
import { derivedRandom } from './derived-random.ts';

/** A client of a batch with its new secret. */
export interface RotatedDevice {
  readonly clientId: string;
  readonly authMethod: string;
  readonly audience: readonly string[];
  readonly secretId: string;
  readonly shown: ShownCredential;
}

/** Secrets of a campaign: derived from its key, so that whoever has that is shown them again while they are there. */
export function campaignSecrets(
  registry: Pick<Registry, 'listCampaignDevices' | 'findClient'>,
  contexts: ContextVault,
) {
  function credentialOf({ id }: CampaignRecord, { clientId, authMethod }: ClientRecord, key: Uint8Array) {
    return makeCredential(authMethod, contexts, { random: derivedRandom(key, `${id} ${clientId}`) });
  }

  function make(
    record: CampaignRecord,
    client: ClientRecord,
    key: Uint8Array,
    event: AuditEvent,
  ): NewBatchSecret {
    const made = credentialOf(record, client, key);
    if (made === undefined) throw new Error('a client without a secret was selected');
    const { secretLifetimeSeconds } = record;
    const { atMs } = event;
    const expiresAtMs = secretLifetimeSeconds === undefined ? undefined : atMs + secretLifetimeSeconds * 1000;
    return {
      client,
      secret: unusedSecret(made.kept, { createdAtMs: atMs, expiresAtMs }),
      event,
    };
  }

  /** The new secrets of the batch under way, as they were made. */
  async function shownAgain(record: CampaignRecord, key: Uint8Array): Promise<RotatedDevice[]> {
    const devices = await registry.listCampaignDevices(record.id, {
      batch: record.batch,
      limit: MAX_BATCH_SIZE,
    });
    const shown: RotatedDevice[] = [];
    for (const { clientId, registration, secretId } of devices) {
      const client = secretId === undefined ? undefined : await registry.findClient(clientId);
      if (secretId === undefined || client?.registration !== registration) continue;
      if (!client.secrets.some((one) => one.secretId === secretId)) continue;
      const made = credentialOf(record, client, key);
      if (made === undefined) continue;
      const { authMethod, audience } = client;
      shown.push({ clientId, authMethod, audience, secretId, shown: made.shown });
    }
    return shown;
  }

  return { make, shownAgain };
}
