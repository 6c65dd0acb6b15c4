import { privateFileProblem } from '@fleetgate/shared';
import { expect, test } from 'vitest';

const root = 0;
const device = 1000;
const other = 1001;

test.each([
  ["its owner's alone", 0o600, device, device, true],
  ['read-only for its owner', 0o400, device, device, true],
  ['its group may read it', 0o640, device, device, false],
  ['its group may read it, and it is of another account than root', 0o640, other, device, false],
  ['of root, and its group may read it: a Kubernetes secret with fsGroup', 0o440, root, device, true],
  ['of root, and its group may read it: installed for a service', 0o640, root, device, true],
  ['of root, and its group may write it', 0o660, root, device, false],
  ['of root, and everybody may read it', 0o444, root, device, false],
  ['of root, everybody but its group', 0o404, root, device, false],
  ['of root for root, and a group may read it', 0o640, root, root, false],
  ['of root for root', 0o600, root, root, true],
])('%s', (_what, mode, uid, euid, isPrivate) => {
  const problem = privateFileProblem('/f', { mode: 0o100_000 | mode, uid }, euid);
  const mend = uid === root && euid !== root ? '640' : '600';
  const octal = mode.toString(8).padStart(4, '0');
  expect(problem).toBe(
    isPrivate ? undefined : `/f may be read by others (mode ${octal}); run: chmod ${mend} /f`,
  );
});
