import type * as tf from "@tensorflow/tfjs-core";
import { PeftError } from "../errors.ts";
import type { ParameterGroup } from "../method/contexts.ts";
import { didYouMean } from "../nearMisses.ts";
import type { HostTensor, Named } from "../tensors.ts";
import type { AdaptedLayer, Adapter } from "./adapter.ts";

/** Tensors after an optimizer step, by key. */
export interface TrackTensors {
  readonly frozen: Named<tf.Tensor>;
  /** Already updated. */
  readonly trainable: Named<tf.Tensor>;
  /** Of this step, clipped; a parameter that the loss does not depend on has none. */
  readonly gradients: Named<tf.Tensor>;
  readonly state: Named<tf.Tensor>;
}

/** Whether some adapter's state follows from the gradients of each step. */
export function tracks(adapters: readonly Adapter[]): boolean {
  return adapters.some(({ method, state }) => method.track !== undefined && state.size > 0);
}

/** The adapters' state by key, as live tensors. */
export function readState(adapters: readonly Adapter[]): Named<HostTensor> {
  return Object.fromEntries(slotsOf(adapters).map(({ key, adapter, local }) => [key, stateOf(adapter, local)]));
}

/**
 * Stores state under its keys; other keys keep theirs. The tensors are kept, not copied.
 * @throws PeftError `STATE_UNKNOWN`, `SHAPE_MISMATCH`.
 */
export function writeState(adapters: readonly Adapter[], values: Named<HostTensor>): void {
  const slots = new Map(slotsOf(adapters).map((slot) => [slot.key, slot]));
  for (const [key, value] of Object.entries(values)) {
    const slot = slots.get(key);
    if (slot === undefined) {
      const known = [...slots.keys()];
      throw new PeftError(
        "STATE_UNKNOWN",
        `"${key}" is no state of an adapter that learns.${didYouMean(key, known)} There are: ${known.slice(0, 8).join(", ") || "none"}.`,
      );
    }
    const { shape } = stateOf(slot.adapter, slot.local);
    if (shape.join() !== value.shape.join()) {
      throw new PeftError(
        "SHAPE_MISMATCH",
        `The state "${key}" has shape [${shape.join(", ")}], got [${value.shape.join(", ")}].`,
      );
    }
    slot.adapter.state.set(slot.local, value);
  }
}

/** Traceable: the state that an optimizer step changes, by key. */
export function trackState(adapters: readonly Adapter[], tensors: TrackTensors): Named<tf.Tensor> {
  const changed: Record<string, tf.Tensor> = {};
  for (const adapter of adapters) {
    for (const layer of adapter.layers) {
      for (const [short, tensor] of Object.entries(trackLayer(adapter, layer, tensors)))
        changed[keyOf(adapter, layer, short)] = tensor;
    }
  }
  return changed;
}

function trackLayer(adapter: Adapter, layer: AdaptedLayer, tensors: TrackTensors): Named<tf.Tensor> {
  const { method } = adapter;
  if (method.track === undefined) return {};
  const { frozen, trainable, gradients, state } = tensors;
  const pick = (shorts: readonly string[], ...groups: readonly Named<tf.Tensor>[]): Named<tf.Tensor> => {
    const entries = shorts.map((short) => {
      const key = keyOf(adapter, layer, short);
      return [short, groups.find((group) => key in group)?.[key]] as const;
    });
    return Object.fromEntries(entries.filter(([, tensor]) => tensor !== undefined)) as Named<tf.Tensor>;
  };
  const { site, config, names, stateNames } = layer;
  const changed = method.track({
    ...{ site, config },
    params: pick(names, trainable, frozen),
    gradients: pick(names, gradients),
    state: pick(stateNames, state),
  });
  const unknown = Object.keys(changed).find((short) => !stateNames.includes(short));
  if (unknown === undefined) return changed;
  throw new PeftError(
    "METHOD_INVALID",
    `Method "${method.name}" tracks "${unknown}", but init returned no such state. State of ${site.path}: ${stateNames.join(", ") || "none"}.`,
  );
}

/** How the method that owns a parameter wants it to learn; what is left out is as for the rest. */
export function parameterGroup(adapters: readonly Adapter[], key: string): ParameterGroup {
  for (const adapter of adapters) {
    for (const layer of adapter.layers) {
      const { site, config } = layer;
      const name = layer.names.find((short) => keyOf(adapter, layer, short) === key);
      const tensor = adapter.params.get(`${site.path}.${name}`);
      if (name === undefined || tensor === undefined) continue;
      return adapter.method.parameterGroup?.({ site, config, name, shape: tensor.shape }) ?? {};
    }
  }
  return {};
}

interface StateSlot {
  readonly key: string;
  readonly adapter: Adapter;
  readonly local: string;
}

function slotsOf(adapters: readonly Adapter[]): StateSlot[] {
  return adapters.flatMap((adapter) =>
    [...adapter.state.keys()].map((local) => ({ key: `${adapter.name}.${local}`, adapter, local })),
  );
}

function stateOf(adapter: Adapter, local: string): HostTensor {
  return adapter.state.get(local) as HostTensor;
}

function keyOf(adapter: Adapter, { site }: AdaptedLayer, short: string): string {
  return `${adapter.name}.${site.path}.${short}`;
}
