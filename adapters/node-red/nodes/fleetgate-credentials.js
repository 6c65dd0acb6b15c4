export { credentialsNode as default } from '../dist/index.js';
