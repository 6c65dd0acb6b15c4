export { readOrCreateAdminKey } from './admin-key.ts';
export type { Caller } from './audit.ts';
export { type Checkpoint, formatCheckpoint, parseCheckpoint } from './audit-chain.ts';
export { type AuditPage, type AuditQuery, type ChainedEvent, MAX_PAGE_EVENTS } from './audit-trail.ts';
export { type ChainProblem, type ChainVerdict, verifyChain } from './audit-verify.ts';
export { type AuditEventView, fromAuditView, toAuditView } from './audit-wire.ts';
export type { ClientRegistration, RegisteredClient } from './client-registration.ts';
export type { Clients } from './clients.ts';
export type { KeyHolder } from './http/key-holder.ts';
export type { TlsMaterial } from './http/tls.ts';
export type { TokenIssuer } from './issue.ts';
export type { EncryptionKeySource } from './keys/key-encryption.ts';
export { type ReencryptOptions, reencryptSigningKeys } from './keys/reencrypt.ts';
export type { IssuerObserver, IssuerState, ObservedAct } from './observer.ts';
export { type Issuer, openIssuer } from './open-issuer.ts';
export type { HttpOptions, IssuerOptions, ResolvedOptions } from './options.ts';
export { type AuditReader, openAuditReader } from './registry/audit-reader.ts';
export { isPostgresUrl, parsePostgresUrl } from './registry/postgres/place.ts';
export type { Registry } from './registry/registry.ts';
export { type BackupProgress, type BackupReport, backupDatabase } from './registry/sqlite/backup.ts';
export { openSqliteRegistry } from './registry/sqlite/registry.ts';
export { type NamedClients, type RestoreReport, restoreDatabase } from './registry/sqlite/restore.ts';
export {
  type TransferProgress,
  type TransferReport,
  transferToPostgres,
} from './registry/transfer/to-postgres.ts';
export type { RecordedRevocation, RevocationTarget } from './revocation.ts';
export type { RevocationFeed, SubscriptionState } from './revocation-feed.ts';
export type { Role } from './roles.ts';
export { type RunningIssuer, startIssuer } from './start-issuer.ts';
export type { TokenRequest } from './token-request.ts';
export type { TargetValue, TokenTarget } from './token-targets.ts';
