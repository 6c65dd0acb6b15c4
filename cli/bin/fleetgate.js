#!/usr/bin/env -S node --max-semi-space-size=16 --heap-growing-percent=30
// Node else lets the heap grow with the machine and with its load, which costs memory and gains nothing here: docs/operations.md.
// Plain JavaScript for any Node: looks at the version before anything newer is loaded.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 12)) {
  process.stderr.write(
    `fleetgate: Node ${process.versions.node} is too old, 22.12 or newer is needed (in a checkout of the repository use npx fleetgate)\n`,
  );
  process.exit(2);
}
await import('../dist/main.js');
