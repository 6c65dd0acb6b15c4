import { Duplex } from 'node:stream';
import type { Guard } from './guard.ts';

const held = Symbol('held');

interface Held extends Duplex {
  [held]?: boolean;
}

/**
 * What is written to one client in one turn of the event loop leaves in one system call. The host writes each packet
 * by itself, which is two thirds of its work with small messages.
 */
export const batchedWrites: Guard = {
  name: 'packets of one turn are written together',
  accept({ stream, socket }) {
    if (socket === undefined) stream.cork = hold;
  },
};

const toFlush: Held[] = [];

/** The host corks before each packet: the first of a turn does so once more, until the turn ends. */
function hold(this: Held): void {
  if (this[held] !== true) {
    this[held] = true;
    if (toFlush.push(this) === 1) setImmediate(flush);
    Duplex.prototype.cork.call(this);
  }
  Duplex.prototype.cork.call(this);
}

function flush(): void {
  for (const stream of toFlush.splice(0)) {
    stream[held] = false;
    stream.uncork();
  }
}
