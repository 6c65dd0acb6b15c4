import type { AddressRanges } from './address-ranges.ts';
import type { Step } from './arrival.ts';
import { parseProxyHeader } from './proxy-header.ts';

/**
 * Takes the PROXY header off a socket of a trusted proxy before anything else is read of it, TLS included. Anyone else
 * could say to be anyone, and is closed; so is a proxy that sends none.
 */
export function proxyStep(proxies: AddressRanges, next: Step): Step {
  return (socket, arrival) => {
    if (!proxies.includes(socket.remoteAddress)) {
      arrival.refuse('proxy_header_refused');
      return;
    }
    let bytes: Buffer = Buffer.alloc(0);
    const read = () => {
      for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
        bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
        const header = parseProxyHeader(bytes);
        if (header.status === 'incomplete') continue;
        socket.off('readable', read);
        if (header.status === 'malformed') return arrival.refuse('proxy_header_refused');
        if (header.address !== undefined && !arrival.comeFrom(header.address)) return;
        if (header.length < bytes.length) socket.unshift(bytes.subarray(header.length));
        // Node notices only then that nobody listens for `readable` any more.
        process.nextTick(() => {
          if (!socket.destroyed) next(socket, arrival);
        });
        return;
      }
    };
    socket.on('readable', read);
  };
}
