import type { CalibrationData } from "./adapter/calibrate.ts";
import { PeftError } from "./errors.ts";
import type { Method } from "./method/method.ts";
import type { BaseModel } from "./model/model.ts";
import type { AttachOptions } from "./modelOptions.ts";
import { PeftModel } from "./peftModel.ts";
import type { AttachedPlugin, TrainingPlugin } from "./plugin/plugin.ts";
import { withPlugin } from "./plugin/plugins.ts";
import type { Warn } from "./warnings.ts";

export interface UseOptions {
  /** Default: "default", then the method's name. */
  readonly name?: string;
  readonly seed?: number;
  /** Receives what is worth knowing although nothing failed. Default: the console. */
  readonly onWarning?: Warn;
}

/** Collects methods and plug-ins for a base model; nothing happens before `apply`. */
export interface PeftBuilder {
  use<Config extends object>(method: Method<Config>, config?: Partial<Config>, options?: UseOptions): PeftBuilder;
  /** A plug-in steers training; its place among the methods makes no difference. */
  use<Config extends object>(plugin: TrainingPlugin<Config>, config?: Partial<Config>): PeftBuilder;
  /**
   * Attaches the methods in the order of `use`; all of them are active. `batches` and the engine (`runner`) are for methods that look
   * at data before they start.
   */
  apply(calibration?: CalibrationData): Promise<PeftModel>;
}

/** `await peft(base).use(method, { rank: 4 }).apply()`. The base model is only read. */
export function peft(base: BaseModel): PeftBuilder {
  return builder(base, { methods: [], plugins: [] });
}

interface Uses {
  readonly methods: readonly AttachOptions<object>[];
  readonly plugins: readonly AttachedPlugin[];
}

function builder(base: BaseModel, { methods, plugins }: Uses): PeftBuilder {
  return {
    use(used: Method | TrainingPlugin, config?: object, options: UseOptions = {}) {
      if (isPlugin(used)) return builder(base, { methods, plugins: withPlugin(plugins, { plugin: used, config }) });
      if (typeof used !== "object" || used === null || typeof used.targets !== "function") {
        throw new PeftError(
          "METHOD_INVALID",
          `use() expects a method or a plug-in, got ${typeof used}. Import one and pass it as it is: peft(base).use(method, { … }).`,
        );
      }
      const name = options.name ?? (methods.length === 0 ? "default" : used.name);
      const { seed, onWarning } = options;
      return builder(base, { methods: [...methods, { name, method: used, config, seed, onWarning }], plugins });
    },
    async apply(calibration) {
      const model = new PeftModel(base);
      for (const use of methods) await model.attach({ ...use, calibration });
      model.setActive(methods.map((use) => use.name as string));
      for (const use of plugins) model.plugins.attach(use);
      return model;
    },
  } as PeftBuilder;
}

/** Methods say what they target; what says how training goes is a plug-in. */
function isPlugin(used: Method | TrainingPlugin): used is TrainingPlugin {
  return (
    typeof used === "object" &&
    used !== null &&
    !("targets" in used) &&
    ["start", "parameterGroup", "parameterRule"].some((hook) => hook in used)
  );
}
