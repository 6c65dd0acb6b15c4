import 'reflect-metadata';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { bearerAuth } from '@fleetgate/express';
import { bearerAuth as fastifyBearerAuth } from '@fleetgate/fastify';
import { AnyScope, Auth, FleetgateModule, Public, Scopes } from '@fleetgate/nestjs';
import {
  allScopes,
  anyScope,
  type HttpGuardOptions,
  httpGuard,
  type VerifiedToken,
} from '@fleetgate/verifier';
import { Controller, Get, type INestApplication, Module, Options, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import express from 'express';
import express4 from 'express4';
import { fastify } from 'fastify';
import { onTestFinished } from 'vitest';

/** Of a server that asks for client certificates. */
export interface TlsOptions {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly requestCert: true;
  readonly rejectUnauthorized: false;
}

/** Starts a service with the routes below and gives its port; it is closed when the test ends. */
export type StartService = (options: HttpGuardOptions, tls?: TlsOptions) => Promise<number>;

/**
 * The same service on each framework: `GET` and `OPTIONS /any` want a token, `POST /reservations` the scopes stock.read and
 * stock.reserve, `GET /either` stock.read or stock.audit, `GET /open` nothing. Each but the last answers the client id.
 */
export const services: Readonly<Record<string, StartService>> = {
  'node:http': startBare,
  'Express 5': (options, tls) => startExpress(express(), options, tls),
  'Express 4': (options, tls) => startExpress(express4(), options, tls),
  'Fastify 5': startFastify,
  'NestJS on Express': async (options, tls) => startNest(await createNest(options, tls)),
  'NestJS on Fastify': async (options, tls) => startNest(await createNestOnFastify(options, tls)),
};

const both = ['stock.read', 'stock.reserve'] as const;
const either = ['stock.read', 'stock.audit'] as const;
const sayClient = (token: VerifiedToken | null | undefined) => ({ clientId: token?.clientId });

async function startBare(options: HttpGuardOptions, tls?: TlsOptions): Promise<number> {
  const guard = httpGuard(options);
  const required = new Map([
    ['/reservations', allScopes(...both)],
    ['/either', anyScope(...either)],
  ]);
  return listen(async (request, response) => {
    const path = request.url?.split('?')[0] ?? '';
    if (path === '/open') return void response.writeHead(200, { 'content-length': 2 }).end('{}');
    try {
      const { token, refusal } = await guard.admit(request, required.get(path));
      const json = JSON.stringify(refusal?.body ?? sayClient(token));
      response.writeHead(refusal?.status ?? 200, {
        ...refusal?.headers,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(json),
      });
      response.end(json);
    } catch {
      response.writeHead(500, { 'content-length': 0 }).end();
    }
  }, tls);
}

async function startExpress(
  app: express.Express,
  options: HttpGuardOptions,
  tls?: TlsOptions,
): Promise<number> {
  const { requireToken, requireScopes, requireAnyScope } = bearerAuth(options);
  const answer: express.RequestHandler = (request, response) => void response.json(sayClient(request.auth));
  // Silent: Express writes what it answers 500 for to stderr.
  app.set('env', 'test');
  app.get('/open', (_, response) => void response.json({}));
  app.get('/any', requireToken, answer);
  app.options('/any', requireToken, answer);
  app.post('/reservations', requireScopes(...both), answer);
  app.get('/either', requireAnyScope(...either), answer);
  return listen(app, tls);
}

async function startFastify(options: HttpGuardOptions, tls?: TlsOptions): Promise<number> {
  const app = fastify({ https: tls ?? null });
  await app.register(fastifyBearerAuth, options);
  const answer = async ({ auth }: { auth: VerifiedToken | null }) => sayClient(auth);
  app.get('/open', async () => ({}));
  app.get('/any', { onRequest: app.requireToken }, answer);
  app.options('/any', { onRequest: app.requireToken }, answer);
  app.post('/reservations', { onRequest: app.requireScopes(...both) }, answer);
  app.get('/either', { onRequest: app.requireAnyScope(...either) }, answer);
  await app.listen({ host: '127.0.0.1', port: 0 });
  onTestFinished(() => app.close());
  return (app.server.address() as AddressInfo).port;
}

class Routes {
  open() {
    return {};
  }

  any(token: VerifiedToken) {
    return sayClient(token);
  }

  preflight(token: VerifiedToken) {
    return sayClient(token);
  }

  reservations(token: VerifiedToken) {
    return sayClient(token);
  }

  either(token: VerifiedToken) {
    return sayClient(token);
  }
}

// By hand what decorators are to a compiler: Node and vitest run these sources without one.
decorate('open', Get('open'), Public());
decorate('any', Get('any'));
decorate('preflight', Options('any'));
decorate('reservations', Post('reservations'), Scopes(...both));
decorate('either', Get('either'), AnyScope(...either));
for (const name of ['any', 'preflight', 'reservations', 'either']) Auth()(Routes.prototype, name, 0);
Controller()(Routes);

function decorate(name: keyof Routes, ...decorators: readonly MethodDecorator[]): void {
  const descriptor = Object.getOwnPropertyDescriptor(Routes.prototype, name) as PropertyDescriptor;
  for (const one of decorators) one(Routes.prototype, name, descriptor);
}

function appModule(options: HttpGuardOptions): new () => object {
  class AppModule {}
  Module({ imports: [FleetgateModule.forRoot(options)], controllers: [Routes] })(AppModule);
  return AppModule;
}

const createNest = (options: HttpGuardOptions, tls?: TlsOptions): Promise<INestApplication> =>
  NestFactory.create(appModule(options), {
    logger: false,
    ...(tls === undefined ? {} : { httpsOptions: tls }),
  });

const createNestOnFastify = (options: HttpGuardOptions, tls?: TlsOptions): Promise<INestApplication> =>
  NestFactory.create(appModule(options), new FastifyAdapter(tls === undefined ? {} : { https: tls }), {
    logger: false,
  });

async function startNest(app: INestApplication): Promise<number> {
  await app.listen(0, '127.0.0.1');
  onTestFinished(() => app.close());
  return (app.getHttpServer().address() as AddressInfo).port;
}

async function listen(handle: RequestListener, tls?: TlsOptions): Promise<number> {
  const server: Server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle);
  await new Promise<void>((listening) => {
    server.listen(0, '127.0.0.1', listening);
  });
  onTestFinished(
    () =>
      new Promise<void>((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  );
  return (server.address() as AddressInfo).port;
}
