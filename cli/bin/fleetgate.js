#!/usr/bin/env -S node --max-semi-space-size=16
// The young generation of the heap, which Node else lets grow with the machine, costs memory and gains nothing here.
// Plain JavaScript for any Node: looks at the version before anything newer is loaded.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 12)) {
  process.stderr.write(
    `fleetgate: Node ${process.versions.node} is too old, 22.12 or newer is needed (in a checkout of the repository use npx fleetgate)\n`,
  );
  process.exit(2);
}
await import('../dist/main.js');
