import type { HostTensor, Named } from "@peftjs/core";

export function first(tensor: HostTensor): number {
  return tensor.data[0] as number;
}

/** Writes values over what the tensors of `to` hold. */
export function copyAll(from: Named<HostTensor>, to: Named<HostTensor>): void {
  for (const [name, tensor] of Object.entries(to)) tensor.data.set((from[name] as HostTensor).data);
}
