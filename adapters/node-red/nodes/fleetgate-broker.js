export { brokerNode as default } from '../dist/index.js';
