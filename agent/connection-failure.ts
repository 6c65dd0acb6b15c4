/** What OpenSSL says of a certificate that no authority it knows has issued. */
const untrusted: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/**
 * Why a connection failed, in words that hold nothing of what was sent. `trustBy` names what makes an authority of one's
 * own known.
 */
export function connectionFailure(error: unknown, trustBy = 'NODE_EXTRA_CA_CERTS'): string {
  if (!(error instanceof Error)) return 'unknown reason';
  // Several addresses tried: Node gives an AggregateError without a message.
  const code = 'code' in error ? String(error.code) : '';
  const reason = error.message || code || error.name;
  return untrusted.has(code) ? `${reason}; an authority of your own is named by ${trustBy}` : reason;
}
