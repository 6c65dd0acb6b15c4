const DOLLAR = 0x24;

/**
 * First levels no policy and no token can grant. `$SYS` tells of other clients, and in the host a publish there
 * disconnects them; `$share` is a literal topic in the host and a shared subscription elsewhere; `$fleetgate` is
 * the plugin's own, which it answers before it asks for a decision.
 */
export const reservedFirstLevels: readonly string[] = Object.freeze(['$SYS', '$share', '$fleetgate']);

/** Whether a topic name or filter lies under a reserved first level. */
export function isReservedTopic(topicOrFilter: string): boolean {
  if (topicOrFilter.charCodeAt(0) !== DOLLAR) return false;
  const slash = topicOrFilter.indexOf('/');
  const firstLevel = slash === -1 ? topicOrFilter : topicOrFilter.slice(0, slash);
  return reservedFirstLevels.includes(firstLevel);
}
