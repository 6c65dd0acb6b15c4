import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const adapters = ['adapters/express', 'adapters/fastify', 'adapters/nestjs'] as const;
const rooms = [
  'shared',
  'verifier',
  'broker',
  'issuer',
  'agent',
  'cli',
  ...adapters,
  'adapters/node-red',
] as const;
type Room = (typeof rooms)[number];

interface Import {
  /** File that imports, relative to the root. */
  file: string;
  specifier: string;
  typeOnly: boolean;
}

const importPattern =
  /^\s*(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;

function sourceFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(ts|js)$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((file) => !/(^|\/)(dist|node_modules)\//.test(file));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  return Array.from(text.matchAll(importPattern), ([, type, from, dynamic]) => ({
    file,
    specifier: from ?? dynamic ?? '',
    typeOnly: type !== undefined,
  }));
}

interface Manifest {
  dependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
  peerDependenciesMeta?: Record<string, { optional?: boolean }>;
}

function manifestOf(room: Room): Manifest {
  return JSON.parse(readFileSync(join(root, room, 'package.json'), 'utf8')) as Manifest;
}

const imports: Import[] = rooms.flatMap((room) => sourceFiles(room).flatMap(importsOf));
const roomOf = (file: string) => /^(adapters\/)?[^/]+/.exec(file)?.[0] as Room;
const isRelative = ({ specifier }: Import) => specifier.startsWith('.');
const say = ({ file, specifier }: Import) => `${file} imports ${specifier}`;

test('every room has sources, so that no rule below holds for want of them', () => {
  for (const room of rooms) {
    expect(
      imports.some(({ file }) => roomOf(file) === room),
      room,
    ).toBe(true);
  }
});

test('shared imports nothing but its own files, node:crypto, and for signatures threads', () => {
  const allowed = new Set(['node:crypto', 'node:os', 'node:worker_threads']);
  const foreign = imports.filter(
    (one) => roomOf(one.file) === 'shared' && !isRelative(one) && !allowed.has(one.specifier),
  );
  expect(foreign.map(say)).toEqual([]);
});

test('a relative import never leaves its room', () => {
  const leaving = imports.filter((one) => {
    if (!isRelative(one)) return false;
    const target = relative(root, resolve(root, dirname(one.file), one.specifier));
    return roomOf(target) !== roomOf(one.file);
  });
  expect(leaving.map(say)).toEqual([]);
});

/** Packages of ours that a room may import, where it is not all. */
const knows = {
  verifier: ['shared'],
  broker: ['shared', 'verifier'],
  issuer: ['shared'],
  agent: ['shared'],
  ...Object.fromEntries(adapters.map((room) => [room, ['verifier']])),
  'adapters/node-red': ['shared', 'broker', 'agent'],
};

describe.each(Object.entries(knows))('%s', (room, known) => {
  test(`knows of the other rooms only ${known.join(' and ')}`, () => {
    const others = imports.filter(
      ({ file, specifier }) =>
        roomOf(file) === room &&
        /^(@fleetgate\/|fleetgate)/.test(specifier) &&
        !known.includes(specifier.replace('@fleetgate/', '')),
    );
    expect(others.map(say)).toEqual([]);
  });
});

test('no source imports a test', () => {
  expect(imports.filter(({ specifier }) => /(^|\/)test\//.test(specifier)).map(say)).toEqual([]);
});

/** Where each outside library may be named; a type import is free where `types` says so. */
const homes: readonly {
  library: string;
  files: readonly (string | RegExp)[];
  types?: readonly (string | RegExp)[];
}[] = [
  {
    library: 'jose',
    files: [
      'issuer/keys/key-pair.ts',
      /^issuer\/client-auth\//,
      'cli/commands/token.ts',
      'cli/fleet/encryption.ts',
    ],
  },
  { library: 'openid-client', files: ['cli/console/oidc/provider.ts'] },
  { library: 'csv-parse', files: ['cli/fleet/device-rows.ts'] },
  { library: 'cli-progress', files: ['cli/fleet/progress.ts'] },
  { library: 'aedes', files: ['broker/server.ts'], types: [/^broker\//] },
  { library: 'ioredis', files: ['broker/cluster/redis.ts'] },
  { library: 'mqemitter', files: ['broker/cluster/emitter.ts'] },
  { library: 'mqtt', files: ['agent/connection.ts'] },
  { library: 'coap', files: [/^issuer\/coap\//, 'agent/transport/coap.ts'] },
  { library: 'better-sqlite3', files: [/^issuer\/registry\/sqlite\//] },
  { library: 'pg', files: [/^issuer\/registry\/(postgres|transfer)\//] },
  {
    library: 'fastify',
    files: [/^issuer\/http\//, 'cli/admin-listener.ts'],
    types: [/^issuer\//, /^cli\/console\//, /^adapters\/fastify\//],
  },
  { library: '@nestjs/common', files: [/^adapters\/nestjs\//] },
  { library: 'ws', files: ['broker/listener/websocket.ts'], types: [/^broker\//] },
  { library: 'yaml', files: ['broker/document.ts', /^cli\/config\//] },
  { library: 'ajv', files: ['broker/schema-problems.ts'] },
  {
    library: 'commander',
    files: ['agent/cli.ts', 'agent/cli-options.ts', 'cli/main.ts', 'cli/program.ts', /^cli\/commands\//],
  },
  { library: 'pino', files: ['cli/log.ts', 'cli/audit-file.ts'], types: [/^(broker|issuer|cli)\//] },
  {
    library: 'prom-client',
    files: ['broker/metrics.ts', 'issuer/metrics.ts', 'cli/metrics.ts', 'cli/admin-listener.ts'],
    types: [/^cli\//],
  },
  { library: '@opentelemetry/api', files: ['broker/spans.ts', 'issuer/spans.ts', 'agent/tracing.ts'] },
  { library: '@opentelemetry/sdk-trace-node', files: ['agent/tracing.ts'] },
];

test.each(homes)('$library is named only where it belongs', ({ library, files, types = [] }) => {
  const isHome = (file: string, places: readonly (string | RegExp)[]) =>
    places.some((place) => (typeof place === 'string' ? place === file : place.test(file)));
  const strays = imports.filter(
    (one) =>
      (one.specifier === library || one.specifier.startsWith(`${library}/`)) &&
      !isHome(one.file, files) &&
      !(one.typeOnly && isHome(one.file, types)),
  );
  expect(strays.map(say)).toEqual([]);
});

test('every outside library a room imports is in its package.json, and nothing else is', () => {
  for (const room of rooms) {
    const { dependencies = {}, peerDependencies = {} } = manifestOf(room);
    const named = new Set(
      imports
        .filter((one) => roomOf(one.file) === room && !isRelative(one) && !one.specifier.startsWith('node:'))
        .map(({ specifier }) =>
          specifier
            .split('/')
            .slice(0, specifier.startsWith('@') ? 2 : 1)
            .join('/'),
        ),
    );
    // Its middleware is in Node's terms.
    if (room === 'adapters/express') named.add('express');
    expect([...named].sort(), room).toEqual(Object.keys({ ...dependencies, ...peerDependencies }).sort());
  }
});

test('what a package may be installed without is not reached from its index.ts', () => {
  for (const room of rooms) {
    const { peerDependenciesMeta = {} } = manifestOf(room);
    const optional = Object.keys(peerDependenciesMeta);
    const reached = new Set<string>();
    const reach = (file: string) => {
      if (reached.has(file)) return;
      reached.add(file);
      for (const one of imports) {
        if (one.file === file && isRelative(one) && !one.typeOnly)
          reach(relative(root, resolve(root, dirname(file), one.specifier)));
      }
    };
    reach(`${room}/index.ts`);
    const strays = imports.filter(({ file, specifier }) => reached.has(file) && optional.includes(specifier));
    expect(strays.map(say)).toEqual([]);
  }
});

test('index.ts files only re-export', () => {
  for (const room of rooms.filter((name) => name !== 'cli')) {
    const text = readFileSync(join(root, room, 'index.ts'), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
    const statements = text
      .split(';')
      .map((statement) => statement.trim())
      .filter((statement) => statement !== '');
    expect(
      statements.filter((statement) => !/^export\s+(type\s+)?(\*|\{)[\s\S]* from /.test(statement)),
    ).toEqual([]);
  }
});

test('no folder or file is named for nothing in particular', () => {
  const files = rooms.flatMap(sourceFiles);
  expect(files.filter((file) => /(^|\/)(utils?|helpers?|common|misc|models?)(\/|\.)/.test(file))).toEqual([]);
});
