/**
 * What an API key is for. `admin` may do all; `provisioner` registers machines, gives them secrets and ends their
 * tokens; `auditor` reads. Which route is open to whom is said at the route.
 */
export const roles = ['admin', 'provisioner', 'auditor'] as const;
export type Role = (typeof roles)[number];
