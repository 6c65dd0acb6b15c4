/** A client assertion that was used. */
export interface UsedAssertion {
  /** 32 bytes that stand for issuer, client and `jti`. */
  readonly id: Uint8Array;
  /** From then on nobody takes it. Seconds since 1970. */
  readonly expiresAtSeconds: number;
}

/** Remembers the client assertions that were used. */
export interface AssertionRegistry {
  /** Whether nobody has used it so far; of several at once, in any process, exactly one is told so. */
  useAssertion(assertion: UsedAssertion, nowSeconds: number): Promise<boolean>;
}
