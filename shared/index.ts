export * from './ace.ts';
export { addressKey } from './address-key.ts';
export { type AttemptRate, createAttemptRate } from './attempt-rate.ts';
export * from './bounded-map.ts';
export { CborError, type CborItem, type CborMap, decodeCbor, encodeCbor } from './cbor.ts';
export * from './completion.ts';
export * from './credentials.ts';
export {
  enrollmentContext,
  enrollmentKid,
  enrollmentOfKid,
  type GroupKeyName,
} from './enrollment-context.ts';
export * from './errors.ts';
export * from './group-key.ts';
export * from './identifier.ts';
export * from './nearest.ts';
export * from './option-names.ts';
export * from './oscore/index.ts';
export * from './own-turn.ts';
export * from './private-file.ts';
export * from './public-jwk.ts';
export * from './revocation.ts';
export * from './scope.ts';
export * from './secret-variable.ts';
export * from './secure-address.ts';
export * from './session-topics.ts';
export * from './signature/batches.ts';
export * from './signature/ecdsa.ts';
export * from './signature/jws.ts';
export * from './token.ts';
export * from './topic.ts';
export * from './weak-keys.ts';
