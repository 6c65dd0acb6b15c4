/** A client of one issuer as a key: of two issuers the clients of one name are two. A client id has no space. */
export function clientKey({
  clientId,
  issuer,
}: {
  readonly clientId: string;
  readonly issuer: string;
}): string {
  return `${clientId} ${issuer}`;
}
