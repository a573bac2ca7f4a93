import { widen } from "../stored.ts";
import type { BaseModel } from "../model/model.ts";
import { hostSite, parameterOf, valuesOf, type Adapter } from "./adapter.ts";

/** Lets the method make of what a file held what it holds itself. */
export function restoreLayers(base: BaseModel, adapter: Adapter): void {
  const { method } = adapter;
  if (method.restore === undefined) return;
  for (const layer of adapter.layers) {
    const { path, weight } = layer.site;
    const restored = method.restore({
      ...hostSite(adapter, layer),
      // Widened when it is asked for.
      get weight() {
        return widen(parameterOf(base, weight));
      },
    });
    for (const [short, tensor] of Object.entries(restored)) {
      const local = `${path}.${short}`;
      valuesOf(adapter, local).set(local, tensor);
    }
  }
}
