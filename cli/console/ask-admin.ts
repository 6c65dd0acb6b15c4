import type { FastifyInstance } from 'fastify';

/** Asks the admin API with the key of whoever asks. */
export type AskAdmin = (path: string) => Promise<{ readonly status: number; readonly body: unknown }>;

/** The admin API on the same listener, asked as the holder of `apiKey` from `address`. */
export function askAdmin(root: FastifyInstance, apiKey: string, address: string): AskAdmin {
  return async (path) => {
    const { statusCode, payload } = await root.inject({
      method: 'GET',
      url: path,
      headers: { 'api-key': apiKey },
      remoteAddress: address,
    });
    return { status: statusCode, body: payload === '' ? undefined : JSON.parse(payload) };
  };
}
