import { availableParallelism } from "node:os";
import { ensureTfjs } from "@peftjs/core/internal";
import type { Device } from "./devices.ts";
import { DEVICES, expectOneOf } from "./devices.ts";
import type { EagerBackend } from "./eager/backends.ts";
import { activateBackend } from "./eager/backends.ts";
import { EagerEngine } from "./eager/engine.ts";
import type { Engine } from "./engine.ts";
import { registerGradients } from "./gradients/register.ts";
import { OnnxEngine } from "./onnx/engine.ts";
import { probeDevice } from "./onnx/probe.ts";

const KINDS = ["onnx", "eager"] as const;

export interface EngineOptions {
  /** `onnx` compiles (default); `eager` calls the function on a tfjs backend. */
  readonly kind?: (typeof KINDS)[number];
  /** Where a compiled program runs. Default: `cpu`. The eager engine takes the fastest tfjs backend when none is given. */
  readonly device?: Device;
  /** Threads of a compiled program. Default: the processors of this machine. */
  readonly threads?: number;
  /** Prefix of the files in which a compiled program's run times are written, node by node, when it is disposed of. */
  readonly profilePrefix?: string;
  /** tfjs backend of the eager engine. Default: the fastest that is installed. */
  readonly backend?: EagerBackend;
}

/**
 * Opens an engine.
 *
 * @throws PeftError `ENGINE_UNKNOWN`, `DEVICE_UNKNOWN`, `BACKEND_UNKNOWN` for another kind, device or tfjs backend;
 * `DEVICE_UNAVAILABLE` where this machine lacks the device; `BACKEND_MISSING` for a tfjs backend that is not installed,
 * `BACKEND_BROKEN` for one that is and fails to load.
 */
export async function createEngine(options: EngineOptions = {}): Promise<Engine> {
  ensureTfjs();
  registerGradients();
  const kind = expectOneOf(options.kind ?? "onnx", { what: "engine", code: "ENGINE_UNKNOWN", choices: KINDS });
  if (options.device !== undefined) {
    expectOneOf(options.device, { what: "device", code: "DEVICE_UNKNOWN", choices: DEVICES });
  }
  if (kind === "eager") return new EagerEngine(await activateBackend(options));
  const { device = "cpu", threads = availableParallelism(), profilePrefix } = options;
  await probeDevice(device);
  return new OnnxEngine({ device, threads, ...(profilePrefix === undefined ? {} : { profilePrefix }) });
}
