import type { AuditEvent } from '../../audit.ts';
import type { SecretRegistry, SecretRotated, SecretRotation } from '../secret-registry.ts';
import type { Acts } from './acts.ts';
import type { ClientRevoker } from './client-changes.ts';
import type { ClientSecretStatements } from './client-secrets.ts';
import type { ClientStatements } from './clients.ts';
import type { SequenceStatements } from './coap-sequence.ts';

/** The acts on secrets. One that may end a secret counts as a change of its client: see `recordIssuedToken`. */
export function secretActs(
  clients: ClientStatements,
  secrets: ClientSecretStatements,
  { revokeClient }: ClientRevoker,
  sequence: SequenceStatements,
  { read, write, record }: Acts,
): SecretRegistry {
  function rotate(rotation: SecretRotation, event: AuditEvent): SecretRotated {
    const registration = clients.registrationOf(rotation.clientId);
    if (registration === undefined) return { outcome: 'client_unknown' };
    const after = secrets.rotate(registration, rotation);
    if (after === undefined) return { outcome: 'too_many', secrets: secrets.ofClient(registration) };
    if (rotation.revocation !== undefined) revokeClient(rotation.revocation, event.atMs);
    clients.countChange(registration);
    record(event);
    return { outcome: 'rotated', secrets: after };
  }

  return {
    rotateSecret: (rotation, event) => write(() => rotate(rotation, event)),
    endSecret: (clientId, secretId, event) =>
      write(() => {
        const registration = clients.registrationOf(clientId);
        if (registration === undefined) return 'client_unknown';
        const outcome = secrets.end(registration, secretId, event.atMs);
        if (outcome !== 'ended') return outcome;
        clients.countChange(registration);
        record(event);
        return outcome;
      }),
    recordSecretUse: (use, event) =>
      write(() => {
        if (secrets.recordUse(use)) record(event);
      }),
    listSecrets: (query) => read(() => secrets.list(query)),
    findContext: (kid) => read(() => secrets.contextOf(kid)),
    listContexts: ({ after, limit }) => read(() => secrets.contextsAfter(after, limit)),
    replaceContexts: (contexts, event) =>
      write(() => {
        for (const context of contexts) secrets.setContext(context);
        record(event);
      }),
    reserveSequenceNumbers: (count, atLeast) => write(() => sequence.reserve(count, atLeast)),
  };
}
