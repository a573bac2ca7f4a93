import type { HostMatrix } from "@peftjs/core";

/** Σ aᵢ·bᵢ. */
export function dot(a: HostMatrix["data"], b: HostMatrix["data"]): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}
