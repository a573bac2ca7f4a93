import { availableParallelism } from "node:os";
import { PeftError } from "@peftjs/core";
import { ensureTfjs } from "@peftjs/core/internal";
import type { EagerBackend } from "./eager/backends.ts";
import { activateBackend } from "./eager/backends.ts";
import { EagerEngine } from "./eager/engine.ts";
import type { Engine } from "./engine.ts";
import { OnnxEngine } from "./onnx/engine.ts";

export interface EngineOptions {
  /** `onnx` compiles (default); `eager` calls the function on a tfjs backend. */
  readonly kind?: "onnx" | "eager";
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
 * @throws PeftError `ENGINE_UNKNOWN` for another kind, `BACKEND_MISSING` for a tfjs backend that is not installed.
 */
export async function createEngine(options: EngineOptions = {}): Promise<Engine> {
  ensureTfjs();
  switch (options.kind ?? "onnx") {
    case "onnx":
      return new OnnxEngine({
        threads: options.threads ?? availableParallelism(),
        ...(options.profilePrefix === undefined ? {} : { profilePrefix: options.profilePrefix }),
      });
    case "eager":
      return new EagerEngine(await activateBackend(options.backend));
    default:
      throw new PeftError("ENGINE_UNKNOWN", `No engine "${String(options.kind)}". Choose "onnx" or "eager".`);
  }
}
