import { isInt8 } from "@peftjs/core";
import type { Method, StoredTensor } from "@peftjs/core";

/** A method that does the same as another one, and the names of its functions that have read the weight of a layer. */
export interface Watched {
  readonly method: Method;
  readonly reads: ReadonlySet<string>;
}

/** Watches the contexts in which a method is handed weights, and in calibration the model's tensors in eight bits. */
export function watched(method: Method): Watched {
  const reads = new Set<string>();
  const { init, forward, delta, restore, calibrate } = method;
  const watch = <T extends object>(hook: string, context: T, part = "weight"): T =>
    new Proxy(context, {
      get: (target, name) => {
        if (name === part) reads.add(hook);
        return Reflect.get(target, name) as unknown;
      },
    });
  const tensors = (parameters: ReadonlyMap<string, StoredTensor>): Map<string, StoredTensor> =>
    new Map(
      [...parameters].map(([name, tensor]) => [name, isInt8(tensor) ? watch("calibrate", tensor, "data") : tensor]),
    );
  return {
    reads,
    method: {
      ...method,
      ...(init && { init: (context) => init(watch("init", context)) }),
      ...(forward && { forward: (context) => forward(watch("forward", context)) }),
      ...(delta && { delta: (context) => delta(watch("delta", context)) }),
      ...(restore && { restore: (context) => restore(watch("restore", context)) }),
      ...(calibrate && {
        calibrate: (context) =>
          calibrate({ ...context, model: { ...context.model, parameters: tensors(context.model.parameters) } }),
      }),
    },
  };
}
