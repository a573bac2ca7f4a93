import type { HostTensor, Named, TensorSpec } from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";
import type { GaloreConfig } from "./config.ts";
import { perAxis } from "./projection.ts";
import type { PerAxis, Projection } from "./projection.ts";
import { basis4Slots, dequantizeBasis, quantizeBasis, readBasis4 } from "./quantise/basis4.ts";
import type { Basis4 } from "./quantise/basis4.ts";
import { tensorOf } from "./rules/tensorOf.ts";

type Bits = GaloreConfig["basisBits"];

const PARTS = ["codes", "scales", "zeros"] as const;

/** Tensors that bases are kept in: `basis.<axis>`, of 4 bits `basis.<axis>.codes` and so on. */
export function basisSlots({ bases }: Projection, bits: Bits): Record<string, TensorSpec> {
  const slots: Record<string, TensorSpec> = {};
  perAxis(bases, (shape, axis) => {
    if (bits === 32) slots[`basis.${axis}`] = { shape, dtype: "float32" };
    else for (const part of PARTS) slots[`basis.${axis}.${part}`] = basis4Slots(shape)[part];
  });
  return slots;
}

/** Bases as the update uses them. Traceable. */
export function tracedBases(state: Named<tf.Tensor>, { bases }: Projection, bits: Bits): PerAxis<tf.Tensor2D> {
  return perAxis(bases, (shape, axis) =>
    bits === 32
      ? tensorOf<tf.Tensor2D>(state, `basis.${axis}`)
      : dequantizeBasis(partsOf(state, axis) as Named<tf.Tensor>, shape),
  );
}

/** The same numbers on the host. */
export function readBases(state: Named<HostTensor>, { bases }: Projection, bits: Bits): PerAxis<HostTensor> {
  return perAxis(bases, (shape, axis) =>
    bits === 32 ? (state[`basis.${axis}`] as HostTensor) : readBasis4(partsOf(state, axis), shape),
  );
}

/** Puts bases into the live state. */
export function writeBases(state: Named<HostTensor>, found: PerAxis<HostTensor>, bits: Bits): void {
  perAxis(found, (basis, axis) => {
    if (bits === 32) state[`basis.${axis}`]?.data.set(basis.data);
    else writeAll(partsOf(state, axis), quantizeBasis(basis));
  });
}

/** Copies values into live tensors of the same names. */
export function writeAll(live: Named<HostTensor>, values: Named<HostTensor>): void {
  for (const [name, { data }] of Object.entries(values)) live[name]?.data.set(data);
}

function partsOf(state: Named<HostTensor>, axis: string): Basis4;
function partsOf(state: Named<tf.Tensor>, axis: string): Named<tf.Tensor>;
function partsOf(state: Named<unknown>, axis: string): Named<unknown> {
  return Object.fromEntries(PARTS.map((part) => [part, state[`basis.${axis}.${part}`]]));
}
