export { brokerNode } from './broker-node.ts';
export { credentialsNode } from './credentials-node.ts';
export { tokenNode } from './token-node.ts';
