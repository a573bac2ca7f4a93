import {
  attention,
  PROMPT,
  widen,
  type BaseModel,
  type Forward,
  type LayerSite,
  type Named,
  type StoredTensor,
} from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";

/** A bare model's view of its parameters, with no adapters and no dropout. */
export function plainForward(
  parameters: Named<tf.Tensor>,
  sites: readonly LayerSite[],
): Forward & { readonly used: Set<string> } {
  const byPath = new Map(sites.map((site) => [site.path, site]));
  const used = new Set<string>();
  const parameter = (name: string): tf.Tensor => {
    const found = parameters[name];
    if (found === undefined) throw new Error(`no parameter ${name}`);
    return found;
  };
  const siteAt = (path: string): LayerSite => {
    const site = byPath.get(path);
    if (site === undefined) throw new Error(`no site ${path}`);
    used.add(path);
    return site;
  };
  return {
    used,
    training: false,
    everyPosition: false,
    parameter,
    linear: (path, x) => {
      const site = siteAt(path);
      const flat = tf.reshape(x, [-1, site.inFeatures]) as tf.Tensor2D;
      const product = tf.matMul(flat, parameter(site.weight) as tf.Tensor2D, false, site.layout === "out_in");
      const y = site.bias === null ? product : tf.add(product, parameter(site.bias));
      return tf.reshape(y, [...x.shape.slice(0, -1), site.outFeatures]);
    },
    embedding: (path, ids) => tf.gather(parameter(siteAt(path).weight), ids),
    virtualTokens: () => {
      siteAt(PROMPT);
      return { embeddings: null, keysValues: null };
    },
    dropout: (x) => x,
    attention: (inputs, { scale, bias }) => attention(inputs, { scale, bias }),
    block: (_path, inputs, run) => run(...inputs),
  };
}

/** Values of every output of a model for one batch. */
export function runModel(model: BaseModel, batch: Named<tf.Tensor>): Named<tf.Tensor> {
  return model.forward(plainForward(asTensors(model), model.sites), batch);
}

export function asTensors(model: BaseModel): Record<string, tf.Tensor> {
  const toTensor = (name: string): tf.Tensor => {
    const { data, shape, dtype } = widen(model.parameters.get(name) as StoredTensor);
    return tf.tensor(data, [...shape], dtype);
  };
  return withAliases(model, Object.fromEntries(ownNames(model).map((name) => [name, toTensor(name)])));
}

/** Names of the parameters, one of every tied group. */
export function ownNames(model: BaseModel): string[] {
  const seen = new Set<StoredTensor>();
  return [...model.parameters].filter(([, tensor]) => !seen.has(tensor) && seen.add(tensor)).map(([name]) => name);
}

/** Adds the names of tied parameters. */
export function withAliases<T>(model: BaseModel, own: Readonly<Record<string, T>>): Record<string, T> {
  const owner = new Map(ownNames(model).map((name) => [model.parameters.get(name), name]));
  return Object.fromEntries(
    [...model.parameters].map(([name, tensor]) => [name, own[owner.get(tensor) as string] as T]),
  );
}

/** Loss and its gradient in every parameter, as tensor code. */
export function lossAndGradientTensors(
  model: BaseModel,
  own: Named<tf.Tensor>,
  batch: Named<tf.Tensor>,
): { loss: tf.Scalar; gradients: Record<string, tf.Tensor> } {
  const names = ownNames(model);
  const run = (...values: tf.Tensor[]): tf.Scalar => {
    const parameters = withAliases(model, Object.fromEntries(names.map((name, i) => [name, values[i] as tf.Tensor])));
    return model.loss(model.forward(plainForward(parameters, model.sites), batch), batch);
  };
  const { value, grads } = tf.valueAndGrads(run)(names.map((name) => own[name] as tf.Tensor));
  return {
    loss: value as tf.Scalar,
    gradients: Object.fromEntries(names.map((name, i) => [name, grads[i] as tf.Tensor])),
  };
}

export function lossAndGradients(
  model: BaseModel,
  batch: Named<tf.Tensor>,
): { loss: number; gradients: Record<string, tf.Tensor> } {
  const { loss, gradients } = lossAndGradientTensors(model, asTensors(model), batch);
  return { loss: loss.dataSync()[0] as number, gradients };
}
