import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { RawBody } from './token-request.ts';

/**
 * Keeps bodies as they came: what is wrong with one is then refused, and recorded, as any other refused request. Only
 * one that could not be read as it was meant is 415 at once: another character set than UTF-8, or compressed.
 */
export function keepBodiesRaw(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  const keep = (type: RawBody['type']) => async (request: FastifyRequest, bytes: Buffer) => {
    if (!isPlainUtf8(request)) throw Object.assign(new Error('unsupported encoding'), { statusCode: 415 });
    return { type, bytes };
  };
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, keep('json'));
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'buffer' }, keep('form'));
}

const charsetPattern = /;\s*charset\s*=\s*"?([^";\s]*)/i;

function isPlainUtf8({ headers }: FastifyRequest): boolean {
  const [, charset = 'utf-8'] = charsetPattern.exec(headers['content-type'] ?? '') ?? [];
  const coding = headers['content-encoding'] ?? 'identity';
  return charset.toLowerCase() === 'utf-8' && coding.toLowerCase() === 'identity';
}
