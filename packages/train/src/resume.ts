import { PeftError } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import type { TrainingConfig } from "./config.ts";
import type { Optimizer } from "./optim/optimizer.ts";
import type { PluginRuns } from "./plugins/pluginRuns.ts";
import type { RunLength } from "./runLength.ts";

/** What decides a run's numbers; a resumed run must have the same. */
export type Fingerprint = Readonly<Record<string, unknown>>;

/** Options that decide a run's numbers, besides its length. */
const DECISIVE = [
  "accumulationSteps",
  "learningRate",
  "schedule",
  "weightDecay",
  "beta1",
  "beta2",
  "epsilon",
  "momentum",
  "maxGradNorm",
  "seed",
] as const satisfies readonly (keyof TrainingConfig)[];

export interface FingerprintOptions {
  readonly config: TrainingConfig;
  readonly length: RunLength;
  readonly batchesPerEpoch: number;
  readonly optimizer: Optimizer;
  readonly plugins: PluginRuns | null;
}

export function fingerprintOf({
  config,
  length,
  batchesPerEpoch,
  optimizer,
  plugins,
}: FingerprintOptions): Fingerprint {
  const { totalSteps, warmupSteps } = length;
  const options = Object.fromEntries(DECISIVE.map((name) => [name, config[name]]));
  const steered = plugins === null ? {} : { plugins: plugins.fingerprint };
  return { optimizer: optimizer.name, totalSteps, warmupSteps, batchesPerEpoch, ...options, ...steered };
}

/** Refuses to go on with a run under other options: its numbers would be neither run's. */
export function requireSameRun(saved: Fingerprint, current: Fingerprint): void {
  const names = new Set([...Object.keys(saved), ...Object.keys(current)]);
  const different = [...names].filter((name) => JSON.stringify(saved[name]) !== JSON.stringify(current[name]));
  if (different.length === 0) return;
  const list = different
    .map((name) => `${name} was ${JSON.stringify(saved[name])}, is ${JSON.stringify(current[name])}`)
    .join("; ");
  throw new PeftError(
    "RESUME_MISMATCH",
    `The run cannot go on with other options: ${list}. Give the options of the interrupted run, or choose another outputDir.`,
  );
}

/** Refuses tensors of another structure than the model has. */
export function requireSameTensors(what: string, expected: Named<HostTensor>, got: Named<HostTensor>): void {
  const describe = (tensors: Named<HostTensor>): string[] =>
    Object.entries(tensors).map(([name, tensor]) => `${name} [${tensor.shape.join(", ")}]`);
  const wanted = new Set(describe(expected));
  const found = new Set(describe(got));
  const missing = [...wanted].filter((entry) => !found.has(entry));
  const extra = [...found].filter((entry) => !wanted.has(entry));
  if (missing.length + extra.length === 0) return;
  throw new PeftError(
    "RESUME_MISMATCH",
    `The checkpoint's ${what} do not fit the model: missing ${missing.slice(0, 3).join(", ") || "none"}; unknown ${extra.slice(0, 3).join(", ") || "none"}. ` +
      "Resume with the model and adapter of the interrupted run: the same method, options and seed, and, where a method looks at data before it starts, the same rows in the same batches. Or choose another outputDir.",
  );
}
