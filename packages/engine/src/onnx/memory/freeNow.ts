import type { HostTensor, Named } from "@peftjs/core";
import { MessageChannel, type MessagePort } from "node:worker_threads";

let closed: MessagePort | undefined;

/**
 * Gives an array buffer's memory back at once; the buffer is empty afterwards. The garbage collector, which sees little pressure from
 * buffers, would let those of many steps pile up.
 */
export function freeNow(buffer: ArrayBuffer): void {
  if (closed === undefined) {
    closed = new MessageChannel().port1;
    closed.close();
  }
  // What is handed over to a closed port is freed. (ArrayBuffer.prototype.transfer exists from Node 22 on.)
  closed.postMessage(null, [buffer]);
}

/** Gives the memory of results back at once instead of when the garbage collector comes by. They are empty afterwards. */
export function releaseTensors(tensors: Named<HostTensor>): void {
  for (const buffer of new Set(Object.values(tensors).map(({ data }) => data.buffer))) freeNow(buffer as ArrayBuffer);
}
