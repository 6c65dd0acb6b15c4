import { chmodSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Plugin, rolldown } from 'rolldown';

// As bin/fleetgate-agent.js has it: before anything that an older Node does not know. Deprecations are of libraries,
// of which Node does not tell where it finds them in node_modules.
const BANNER = `#!/usr/bin/env node
{ const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 12)) {
process.stderr.write(\`fleetgate-agent: Node \${process.versions.node} is too old, 22.12 or newer is needed\\n\`);
process.exit(2); } }
process.noDeprecation = true;`;

/** Writes the agent and all it needs but Node into one file, to be copied to a device; its path. */
export async function bundleAgent(directory: string): Promise<string> {
  const agent = resolve(import.meta.dirname, '../agent');
  const file = join(directory, 'fleetgate-agent.mjs');
  const { version } = JSON.parse(readFileSync(join(agent, 'package.json'), 'utf8'));
  await bundleProgram(join(agent, 'main.ts'), file, {
    name: 'version',
    load: (id) =>
      id === join(agent, 'version.ts') ? `export const version = ${JSON.stringify(version)};` : null,
  });
  chmodSync(file, 0o755);
  return file;
}

/** A program for Node as one file, minified. */
export async function bundleProgram(input: string, file: string, plugin?: Plugin): Promise<void> {
  const bundle = await rolldown({
    input,
    platform: 'node',
    resolve: { conditionNames: ['@fleetgate/source', 'node', 'import', 'require', 'default'] },
    transform: { target: 'node22' },
    // What is taken where it is installed, and done without otherwise: compiled code for ws, and traces.
    external: ['bufferutil', 'utf-8-validate', /^@opentelemetry\//],
    plugins: [plugin],
  });
  await bundle.write({ file, format: 'esm', minify: true, banner: BANNER });
  await bundle.close();
}

if (import.meta.main) {
  const file = await bundleAgent(resolve(import.meta.dirname, '../dist'));
  process.stdout.write(`${file}: ${Math.ceil(readFileSync(file).length / 1024)} KiB\n`);
}
