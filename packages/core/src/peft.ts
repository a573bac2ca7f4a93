import type { CalibrationData } from "./adapter/calibrate.ts";
import { PeftError } from "./errors.ts";
import type { Method } from "./method/method.ts";
import type { BaseModel } from "./model/model.ts";
import type { AttachOptions } from "./modelOptions.ts";
import { PeftModel } from "./peftModel.ts";
import type { Warn } from "./warnings.ts";

export interface UseOptions {
  /** Default: "default", then the method's name. */
  readonly name?: string;
  readonly seed?: number;
  /** Receives what is worth knowing although nothing failed. Default: the console. */
  readonly onWarning?: Warn;
}

/** Collects methods for a base model; nothing happens before `apply`. */
export interface PeftBuilder {
  use<Config extends object>(method: Method<Config>, config?: Partial<Config>, options?: UseOptions): PeftBuilder;
  /**
   * Attaches the methods in the order of `use`; all of them are active. `batches` and the engine (`runner`) are for methods that look
   * at data before they start.
   */
  apply(calibration?: CalibrationData): Promise<PeftModel>;
}

/** `await peft(base).use(method, { rank: 4 }).apply()`. The base model is only read. */
export function peft(base: BaseModel): PeftBuilder {
  return builder(base, []);
}

function builder(base: BaseModel, uses: readonly AttachOptions<object>[]): PeftBuilder {
  return {
    use(method, config, options = {}) {
      if (typeof method !== "object" || method === null || typeof method.targets !== "function") {
        throw new PeftError(
          "METHOD_INVALID",
          `use() expects a method, got ${typeof method}. Import one and pass it as it is: peft(base).use(method, { … }).`,
        );
      }
      const name = options.name ?? (uses.length === 0 ? "default" : method.name);
      const use = {
        name,
        method: method as unknown as Method,
        config: config as object | undefined,
        seed: options.seed,
        onWarning: options.onWarning,
      };
      return builder(base, [...uses, use]);
    },
    async apply(calibration) {
      const model = new PeftModel(base);
      for (const use of uses) await model.attach({ ...use, calibration });
      model.setActive(uses.map((use) => use.name as string));
      return model;
    },
  };
}
