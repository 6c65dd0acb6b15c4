/** What of Node-RED's API these nodes use. */
export interface NodeRed {
  readonly settings: { readonly userDir?: string };
  readonly nodes: {
    createNode(node: FlowNode, config: object): void;
    getNode(id: string): unknown;
    registerType<Node extends FlowNode, Config extends object>(
      type: string,
      construct: (this: Node, config: Config) => void,
      options?: { readonly credentials: Readonly<Record<string, { readonly type: 'text' | 'password' }>> },
    ): void;
  };
}

export type Message = Record<string, unknown>;

export interface FlowNode {
  /** Kept by Node-RED apart from the flows, encrypted. */
  readonly credentials?: Readonly<Record<string, string | undefined>>;
  on(
    event: 'input',
    take: (message: Message, send: (messages: unknown) => void, done: (error?: unknown) => void) => void,
  ): void;
  on(event: 'close', close: (done: () => void) => void): void;
  /** To its outputs: a message, or one of each. */
  send(messages: unknown): void;
  status(status: {
    readonly fill: 'red' | 'green' | 'yellow';
    readonly shape: 'dot' | 'ring';
    readonly text: string;
  }): void;
  log(text: string): void;
  warn(text: string): void;
  error(text: string): void;
}

/** What went wrong, in words that hold no secret: errors of ours hold none. */
export function words(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown reason';
}
