/** Where the admin listener is unless the configuration says otherwise. */
export const DEFAULT_ADMIN: { readonly host: string; readonly port: number } = Object.freeze({
  host: '127.0.0.1',
  port: 8081,
});
