/**
 * Whether an RSA modulus has the form an Infineon library gave its primes (ROCA, CVE-2017-15361), which is factored in
 * affordable time. All of them are powers of 65537 to each small prime; another modulus is so by a chance of 2^-167.
 */
export function isRocaModulus(modulus: bigint): boolean {
  return rocaGroups.every(({ prime, powers }) => powers.has(Number(modulus % BigInt(prime))));
}

/** The largest prime in each such modulus' construction from 992 bits on is at least this one. */
const LARGEST_ROCA_PRIME = 701;

const rocaGroups = oddPrimesUpTo(LARGEST_ROCA_PRIME).map((prime) => ({
  prime,
  powers: powersOf(65_537, prime),
}));

function oddPrimesUpTo(last: number): number[] {
  const primes: number[] = [];
  for (let n = 3; n <= last; n += 2) if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  return primes;
}

function powersOf(base: number, modulus: number): ReadonlySet<number> {
  const powers = new Set<number>();
  for (let power = 1; !powers.has(power); power = (power * base) % modulus) powers.add(power);
  return powers;
}

/** p of Curve25519 (RFC 8032 §5.1). */
const FIELD = 2n ** 255n - 19n;

/** y of a point of order 8; that of the others is its negative. */
const Y_OF_ORDER_8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;

const smallOrderYs: ReadonlySet<bigint> = new Set([0n, 1n, FIELD - 1n, Y_OF_ORDER_8, FIELD - Y_OF_ORDER_8]);

/**
 * Whether an Ed25519 public key is a point of order 1, 2, 4 or 8: for one message in eight or more it takes a
 * signature that nobody made (RFC 8032 leaves such keys to the caller; OpenSSL 3.0, which Node 22 has, takes them).
 */
export function isSmallOrderPoint(publicKey: Uint8Array): boolean {
  // RFC 8032 §5.1.2: y, little-endian; the highest bit is the sign of x. y may be spelled with p added.
  const y = publicKey.reduceRight((number, byte) => (number << 8n) | BigInt(byte), 0n);
  return smallOrderYs.has((y & (2n ** 255n - 1n)) % FIELD);
}
