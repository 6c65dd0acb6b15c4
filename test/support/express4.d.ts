/** Express 4 beside 5; what is used of it here has the same types. */
declare module 'express4' {
  import type { Express } from 'express';

  export default function express(): Express;
}
