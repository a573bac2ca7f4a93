import type { Method } from "@peftjs/core";
import type { Tolerance } from "../close.ts";
import type { architectures } from "./architectures.ts";

/** A config to run the suite with. */
export interface ConformanceCase {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
}

export interface ConformanceOptions {
  /** Configs under which every check runs. Default: the method's defaults. */
  readonly cases?: readonly ConformanceCase[];
  /**
   * Changes of the config under which the gradient is the derivative of the loss, for methods that hold a part of the formula fixed in
   * the backward pass. Default: none is needed.
   */
  readonly differentiable?: Readonly<Record<string, unknown>>;
  /** Parameters that the method adds with its default config, head and trained base parameters left out, from shapes alone. */
  readonly counts: Readonly<Partial<Record<keyof typeof architectures, number>>>;
  /** JSON file with the first losses of the seeded run, by case and family. PEFTJS_UPDATE_GOLDEN=1 writes it. */
  readonly golden: URL;
  /** Merged against unmerged, and a fresh adapter against the base model. Default: `tol.deep`. */
  readonly tolerance?: Tolerance;
}

export interface Suite extends ConformanceOptions {
  readonly method: Method;
  readonly cases: readonly ConformanceCase[];
}
