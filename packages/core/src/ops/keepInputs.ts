import * as tf from "@tensorflow/tfjs-core";

/** What `tf.customGrad` hands to its function: keeps tensors for the backward pass. */
type Save = (tensors: tf.Tensor[]) => void;

export interface KeptFunction<Inputs extends readonly tf.Tensor[]> {
  readonly value: (...inputs: Inputs) => tf.Tensor;
  /** By each input, from ∂y, the inputs and the constants. */
  readonly gradients: (dy: tf.Tensor, kept: [...Inputs, ...tf.Tensor[]]) => tf.Tensor[];
  /** Kept as well. They have no gradient, but are made on the way: captured, they would outlive the forward pass. */
  readonly constants?: readonly tf.Tensor[];
}

/** y = f(inputs), of which the backward pass keeps the inputs alone, and computes everything else that it needs from them. */
export function keepInputs<T extends tf.Tensor, Inputs extends readonly tf.Tensor[]>(
  inputs: readonly [...Inputs],
  { value, gradients, constants = [] }: KeptFunction<Inputs>,
): T {
  const op = tf.customGrad((...args: (tf.Tensor | Save)[]) => {
    const given = args.slice(0, -1) as unknown as Inputs;
    (args.at(-1) as Save)([...given, ...constants]);
    // tfjs types the gradient of a function of several tensors as that of one.
    return { value: value(...given), gradFunc: gradients as unknown as () => tf.Tensor };
  });
  return op(...inputs) as T;
}
