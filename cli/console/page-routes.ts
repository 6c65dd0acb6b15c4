import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyPluginAsync } from 'fastify';
import { pageHeaders } from './page-headers.ts';

const types: ReadonlyMap<string, string> = new Map([
  ['html', 'text/html; charset=utf-8'],
  ['js', 'text/javascript; charset=utf-8'],
  ['css', 'text/css; charset=utf-8'],
  ['svg', 'image/svg+xml'],
]);

/**
 * The page and what it loads.
 *
 * @param folder where the built page is
 */
export function pageRoutes(folder: string): FastifyPluginAsync {
  return async (app) => {
    const index = readFileSync(join(folder, 'index.html'));
    // All in memory: some hundred kilobytes, and no name of a request ever comes to a path.
    const assets = new Map(
      readdirSync(join(folder, 'assets')).map((name) => [name, readFileSync(join(folder, 'assets', name))]),
    );
    app.addHook('onSend', async (_request, reply) => {
      reply.headers(pageHeaders);
    });
    app.get('/', { prefixTrailingSlash: 'slash' }, async (_request, reply) =>
      reply.type('text/html; charset=utf-8').header('cache-control', 'no-cache').send(index),
    );
    // Their names hold a hash of what is in them, so they are what they were.
    app.get<{ Params: { file: string } }>('/assets/:file', async (request, reply) => {
      const { file } = request.params;
      const content = assets.get(file);
      const type = types.get(file.slice(file.lastIndexOf('.') + 1));
      if (content === undefined || type === undefined) {
        return reply.code(404).type('text/plain').send('not found');
      }
      return reply.type(type).header('cache-control', 'public, max-age=31536000, immutable').send(content);
    });
  };
}
