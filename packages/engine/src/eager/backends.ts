import { PeftError } from "@peftjs/core";
import { activateCpu } from "@peftjs/core/internal";
import * as tf from "@tensorflow/tfjs-core";
import type { Device } from "../devices.ts";
import { expectOneOf } from "../devices.ts";
import { fillGaps } from "./gaps.ts";
import { importIfInstalled } from "./packages.ts";

/** tfjs backends the eager engine can run on, the fastest first. */
const EAGER_BACKENDS = ["tensorflow", "wasm", "cpu"] as const;
export type EagerBackend = (typeof EAGER_BACKENDS)[number];

/** What the eager engine runs on. */
export interface EagerPlace {
  readonly backend: EagerBackend;
  readonly device: Device;
}

interface Candidate extends EagerPlace {
  readonly packageName: string;
  /** Says whether the package is installed; throws what it throws. */
  load(): Promise<boolean>;
}

/** The fastest first. TensorFlow's packages are the user's to install, the other two come with the engine. */
const CANDIDATES: readonly Candidate[] = [
  { backend: "tensorflow", device: "cuda", ...optional("@tensorflow/tfjs-node-gpu") },
  { backend: "tensorflow", device: "cpu", ...optional("@tensorflow/tfjs-node") },
  { backend: "wasm", device: "cpu", ...ours("tfjs-backend-wasm", () => import("@tensorflow/tfjs-backend-wasm")) },
  { backend: "cpu", device: "cpu", ...ours("tfjs-backend-cpu", () => import("@tensorflow/tfjs-backend-cpu")) },
];

function optional(packageName: string): Omit<Candidate, keyof EagerPlace> {
  return { packageName, load: () => importIfInstalled(packageName) };
}

function ours(name: string, load: () => Promise<unknown>): Omit<Candidate, keyof EagerPlace> {
  return { packageName: `@tensorflow/${name}`, load: async () => load().then(() => true) };
}

/**
 * Activates the fastest tfjs backend that fits `asked`. A package that is not installed is passed over in silence; one that
 * is installed and fails is passed over with a warning, and is the error when nothing else fits.
 *
 * @throws PeftError `BACKEND_UNKNOWN`, `BACKEND_MISSING`, `BACKEND_BROKEN`, `DEVICE_UNAVAILABLE`.
 */
export async function activateBackend(asked: Partial<EagerPlace>): Promise<EagerPlace> {
  if (asked.backend !== undefined) {
    expectOneOf(asked.backend, { what: "tfjs backend", code: "BACKEND_UNKNOWN", choices: EAGER_BACKENDS });
  }
  const candidates = CANDIDATES.filter(
    ({ backend, device }) => backend === (asked.backend ?? backend) && device === (asked.device ?? device),
  );
  if (candidates.length === 0) throw unfit(asked);
  const failures: PeftError[] = [];
  for (const candidate of candidates) {
    const outcome = await activate(candidate, asked.device);
    if (outcome instanceof PeftError) {
      failures.push(outcome);
    } else if (outcome !== undefined) {
      failures.forEach(warnOnce);
      return outcome;
    }
  }
  throw failures[0] ?? missing(candidates);
}

/** Where it computes now; why it does not although it is installed; or nothing when it is not installed. */
async function activate(candidate: Candidate, device: Device | undefined): Promise<EagerPlace | PeftError | undefined> {
  const { backend, packageName, load } = candidate;
  // The user may have imported the package already, from wherever it lies.
  if (tf.findBackendFactory(backend) === null) {
    try {
      if (!(await load())) return undefined;
    } catch (error) {
      return broken(packageName, shorten(error));
    }
    if (tf.findBackendFactory(backend) === null) return broken(packageName, DUPLICATED);
  }
  if (backend === "cpu") activateCpu();
  else await tf.setBackend(backend);
  await tf.ready();
  fillGaps(backend);
  const place: EagerPlace = { backend, device: usesGpu() ? "cuda" : "cpu" };
  return device === undefined || device === place.device ? place : elsewhere(packageName, place.device);
}

/** tfjs-node-gpu runs on the processor where TensorFlow finds no graphics card. */
function usesGpu(): boolean {
  return (tf.backend() as { isUsingGpuDevice?: boolean }).isUsingGpuDevice === true;
}

const warned = new Set<string>();

function warnOnce({ code, message }: PeftError): void {
  if (warned.has(message)) return;
  warned.add(message);
  process.emitWarning(message, { type: "PeftWarning", code });
}

const DUPLICATED = `it registered itself in another copy of @tensorflow/tfjs-core than the one in use (${tf.version_core}); give all @tensorflow packages one version`;

function broken(packageName: string, why: string): PeftError {
  return new PeftError(
    "BACKEND_BROKEN",
    `${packageName} is installed but does not load: ${why}. Its install script downloads TensorFlow: allow it to run ` +
      `(\`npm rebuild ${packageName}\`; pnpm: \`pnpm approve-builds\`), or choose backend "wasm".`,
  );
}

/** The beginning of a failure's message, in one line. */
function shorten(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/\s+/g, " ").slice(0, 300);
}

function elsewhere(packageName: string, device: Device): PeftError {
  const why =
    device === "cpu"
      ? "TensorFlow found no graphics card. It needs NVIDIA's driver, CUDA 11 and cuDNN 8 on the library path"
      : 'it computes on the graphics card. Leave `device` out, or choose backend "wasm"';
  return new PeftError("DEVICE_UNAVAILABLE", `${packageName} loads, but ${why}.`);
}

function unfit({ backend, device }: Partial<EagerPlace>): PeftError {
  const why =
    device === "webgpu"
      ? 'In Node no tfjs backend computes on WebGPU. Choose kind "onnx"'
      : `The tfjs backend "${backend}" computes on the processor. Choose backend "tensorflow", or device "cpu"`;
  return new PeftError("DEVICE_UNAVAILABLE", `The eager engine cannot use the device "${device}" here. ${why}.`);
}

function missing(candidates: readonly Candidate[]): PeftError {
  const names = candidates.map(({ packageName }) => packageName).join(" or ");
  return new PeftError(
    "BACKEND_MISSING",
    `The tfjs backend "${candidates[0]?.backend}" needs ${names}, which is not installed. Add it (version ${tf.version_core}, ` +
      `its install script allowed to run), or choose backend "wasm" or "cpu", which come with @peftjs/engine.`,
  );
}
