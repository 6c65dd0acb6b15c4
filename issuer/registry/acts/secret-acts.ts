import type { AuditEvent } from '../../audit.ts';
import type { SecretRegistry, SecretRotated, SecretRotation } from '../secret-registry.ts';
import type { ClientRevoker } from './client-changes.ts';
import { clientSecrets } from './client-secrets.ts';
import { clients } from './clients.ts';
import { reserveSequenceNumbers } from './coap-sequence.ts';
import type { Act } from './statement.ts';
import type { Store } from './store.ts';

/** The acts on secrets. One that may end a secret counts as a change of its client: see `recordIssuedToken`. */
export function secretActs({ read, write, record }: Store, { revokeClient }: ClientRevoker): SecretRegistry {
  function* rotate(rotation: SecretRotation, event: AuditEvent): Act<SecretRotated> {
    const registration = yield* clients.registrationOf(rotation.clientId);
    if (registration === undefined) return { outcome: 'client_unknown' };
    const after = yield* clientSecrets.rotate(registration, rotation);
    if (after === undefined) {
      return { outcome: 'too_many', secrets: yield* clientSecrets.ofClient(registration) };
    }
    if (rotation.revocation !== undefined) yield* revokeClient(rotation.revocation, event.atMs);
    yield* clients.countChange(registration);
    yield* record(event);
    return { outcome: 'rotated', secrets: after };
  }

  return {
    rotateSecret: (rotation, event) => write(() => rotate(rotation, event)),
    endSecret: (clientId, secretId, event) =>
      write(function* () {
        const registration = yield* clients.registrationOf(clientId);
        if (registration === undefined) return 'client_unknown';
        const outcome = yield* clientSecrets.end(registration, secretId, event.atMs);
        if (outcome !== 'ended') return outcome;
        yield* clients.countChange(registration);
        yield* record(event);
        return outcome;
      }),
    recordSecretUse: (use, event) =>
      write(function* () {
        if (yield* clientSecrets.recordUse(use)) yield* record(event);
      }),
    listSecrets: (query) => read(() => clientSecrets.list(query)),
    findContext: (kid) => read(() => clientSecrets.contextOf(kid)),
    listContexts: ({ after, limit }) => read(() => clientSecrets.contextsAfter(after, limit)),
    replaceContexts: (contexts, event) =>
      write(function* () {
        yield* clientSecrets.setContexts(contexts);
        yield* record(event);
      }),
    reserveSequenceNumbers: (count, atLeast) => write(() => reserveSequenceNumbers(count, atLeast)),
  };
}
