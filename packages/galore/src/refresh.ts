import { matmul, transpose, zeros } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import { alignSigns } from "./basis.ts";
import type { BasisFinder, FindOptions } from "./basis.ts";
import type { GaloreConfig } from "./config.ts";
import { asMatrix, asTensor } from "./host.ts";
import { perAxis } from "./projection.ts";
import type { PerAxis } from "./projection.ts";
import type { InnerRule } from "./rules/rule.ts";

export interface RefreshOptions extends FindOptions {
  readonly finder: BasisFinder;
  /** The basis before; null at the first refresh. */
  readonly previous: PerAxis<HostTensor> | null;
  readonly config: Pick<GaloreConfig, "alignSigns">;
}

/** A new basis from the step's gradient, its signs aligned with the old one's unless that is switched off. */
export async function refreshBases(
  gradient: HostTensor,
  { finder, previous, config, ...options }: RefreshOptions,
): Promise<PerAxis<HostTensor>> {
  const found = await finder.find(gradient, options);
  return previous !== null && config.alignSigns ? alignSigns(found, previous) : found;
}

/** P′·Pᵀ [r, r] of each axis: what `InnerRule.carry` turns a state with. */
export function turnsBetween(previous: PerAxis<HostTensor>, bases: PerAxis<HostTensor>): PerAxis<HostTensor> {
  return perAxis(bases, (basis, axis) =>
    asTensor(matmul(asMatrix(basis), transpose(asMatrix(previous[axis] as HostTensor)))),
  );
}

/** The state before the first step, and after a refresh that resets it. */
export function emptyState(rule: InnerRule, reduced: readonly [number, number]): Named<HostTensor> {
  return Object.fromEntries(
    Object.entries(rule.slots(reduced)).map(([name, { shape, dtype }]) => [name, zeros(shape, dtype)]),
  );
}
