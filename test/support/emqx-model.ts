/**
 * EMQX's authorization by the claim `acl` of a JWT (format of 5.5 and later), as it is documented: the first rule that
 * matches decides; placeholders are filled in; `eq ` stands for the very text; wildcards of a requested filter are texts.
 * Shares no code with the translation.
 */
export interface EmqxAcl {
  permission: 'allow' | 'deny';
  action: 'publish' | 'subscribe' | 'all';
  topic: string;
  qos?: number[];
  retain?: boolean;
}

export type EmqxAttempt =
  | { action: 'publish'; topic: string; qos: number; retain: boolean }
  | { action: 'subscribe'; filter: string; qos: number };

/** `no_match`: the next authorizer is asked, and at last `authorization.no_match`. */
export function emqxDecides(
  acl: readonly EmqxAcl[],
  client: { clientid: string; username: string },
  attempt: EmqxAttempt,
): 'allow' | 'deny' | 'no_match' {
  // Of a shared subscription the filter in it is looked at.
  const asked =
    attempt.action === 'publish' ? attempt.topic : attempt.filter.replace(/^\$share\/[^/]+\//, '');
  for (const { permission, action, topic, qos, retain } of acl) {
    if (action !== 'all' && action !== attempt.action) continue;
    if (qos !== undefined && !qos.includes(attempt.qos)) continue;
    if (retain !== undefined && attempt.action === 'publish' && retain !== attempt.retain) continue;
    const isMatch = topic.startsWith('eq ')
      ? topic.slice('eq '.length) === asked
      : wordsMatch(asked, fillIn(topic, client));
    if (isMatch) return permission;
  }
  return 'no_match';
}

function fillIn(topic: string, client: { clientid: string; username: string }): string {
  const filled = topic
    .replaceAll(`\${clientid}`, client.clientid)
    .replaceAll(`\${username}`, client.username);
  return filled.replaceAll(`\${$}`, '$');
}

function wordsMatch(asked: string, rule: string): boolean {
  if (asked.startsWith('$') && /^[+#]/.test(rule)) return false;
  const words = asked.split('/');
  const pattern = rule.split('/');
  for (const [i, word] of pattern.entries()) {
    if (word === '#') return true;
    if (i >= words.length || (word !== '+' && word !== words[i])) return false;
  }
  return words.length === pattern.length;
}
