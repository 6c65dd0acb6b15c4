export { tokenNode as default } from '../dist/index.js';
