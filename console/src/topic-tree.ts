/** Topics as a tree in one order, for columns under their common beginnings. */
export interface TopicTree {
  readonly leaves: readonly TopicLeaf[];
  readonly branches: readonly TopicBranch[];
  /** Branches above each other, at most. */
  readonly depth: number;
}

export interface TopicLeaf {
  readonly topic: string;
  /** What its branches do not say. */
  readonly label: string;
}

/** A beginning that two or more topics have in common: those of the leaves `from` to before `to`. */
export interface TopicBranch {
  readonly label: string;
  /** From the first level on. */
  readonly path: string;
  readonly depth: number;
  readonly from: number;
  readonly to: number;
}

interface Node {
  readonly children: Map<string, Node>;
  isTopic: boolean;
}

/** Levels with but one level below them are one branch with it. */
export function topicTree(topics: Iterable<string>): TopicTree {
  const root = newNode();
  for (const topic of topics) {
    let at = root;
    for (const level of levelsOf(topic)) {
      const next = at.children.get(level) ?? newNode();
      at.children.set(level, next);
      at = next;
    }
    at.isTopic = true;
  }
  const leaves: TopicLeaf[] = [];
  const branches: TopicBranch[] = [];
  const walk = (node: Node, label: string[], above: readonly string[], depth: number): void => {
    const [[level, child] = [], ...others] = node.children;
    // Not the root: of one that has a single level below nothing would be left.
    if (level !== undefined && child !== undefined && others.length === 0 && !node.isTopic) {
      walk(child, [...label, level], above, depth);
      return;
    }
    const path = [...above, ...label];
    if (node.children.size === 0) {
      if (node.isTopic) leaves.push({ topic: path.join('/'), label: label.join('/') });
      return;
    }
    const from = leaves.length;
    if (node.isTopic) leaves.push({ topic: path.join('/'), label: '(itself)' });
    const below = label.length === 0 ? depth : depth + 1;
    for (const [name, next] of node.children) walk(next, [name], path, below);
    if (label.length > 0) {
      branches.push({ label: label.join('/'), path: path.join('/'), depth, from, to: leaves.length });
    }
  };
  walk(root, [], [], 0);
  return { leaves, branches, depth: Math.max(0, ...branches.map(({ depth }) => depth + 1)) };
}

const newNode = (): Node => ({ children: new Map(), isTopic: false });

/** The name of a claim in a placeholder may hold slashes, which divide no levels. */
function levelsOf(topic: string): string[] {
  return topic.match(/(?:\{[^{}]*\}|[^/])+|(?<=\/|^)(?=\/|$)/g) ?? [];
}
