import { attention } from "@peftjs/core";
import type {
  AttentionInputs,
  AttentionSettings,
  BaseModel,
  Forward,
  HostTensor,
  LayerSite,
  Named,
} from "@peftjs/core";
import { gradientsOf } from "@peftjs/core/internal";
import type { Engine } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";

/** What goes into a layer, x [n, in], and the gradient of the loss by what comes out of it, dy [n, out]. */
export interface Captured {
  readonly site: LayerSite;
  readonly x: HostTensor;
  readonly dy: HostTensor;
}

/** Runs the model on a labelled batch, forward and backward, without dropout, and keeps what its layers in the blocks see. */
export async function capture(base: BaseModel, batch: Named<HostTensor>, engine: Engine): Promise<readonly Captured[]> {
  const sites = base.sites.filter(({ kind, block }) => kind === "linear" && block !== null);
  const program = engine.compile(({ parameters = {}, batch: inputs = {} }) => {
    const x: Record<string, tf.Tensor> = {};
    const shapes: Record<string, number[]> = {};
    const look: Probe = (path, input, y) => {
      x[path] = input;
      shapes[path] = y.shape;
      return y;
    };
    base.forward(new ProbedForward(parameters, base.sites, look), inputs);
    // ∂L/∂y is the gradient by zeros that are added to y.
    const probes = Object.fromEntries(sites.map(({ path }) => [path, tf.zeros(shapes[path] as number[])]));
    const add: Probe = (path, _, y) => (probes[path] === undefined ? y : tf.add(y, probes[path]));
    const loss = (): tf.Scalar =>
      base.loss(base.forward(new ProbedForward(parameters, base.sites, add), inputs), inputs);
    const gradients = gradientsOf(loss, Object.values(probes));
    return {
      x: Object.fromEntries(sites.map(({ path }) => [path, x[path] as tf.Tensor])),
      dy: Object.fromEntries(sites.map(({ path }, i) => [path, gradients[i] as tf.Tensor])),
    };
  });
  const { x = {}, dy = {} } = await program.run({ parameters: Object.fromEntries(base.parameters), batch });
  await program.dispose();
  return sites.map((site) => ({ site, x: x[site.path] as HostTensor, dy: dy[site.path] as HostTensor }));
}

type Probe = (path: string, x: tf.Tensor, y: tf.Tensor) => tf.Tensor;

/** The bare model in evaluation; `probe` sees every linear layer, and what it returns takes the place of y. */
class ProbedForward implements Forward {
  readonly training = false;
  readonly everyPosition = false;
  readonly #parameters: Named<tf.Tensor>;
  readonly #sites: ReadonlyMap<string, LayerSite>;
  readonly #probe: Probe;

  constructor(parameters: Named<tf.Tensor>, sites: readonly LayerSite[], probe: Probe) {
    this.#parameters = parameters;
    this.#sites = new Map(sites.map((site) => [site.path, site]));
    this.#probe = probe;
  }

  parameter(name: string): tf.Tensor {
    return this.#parameters[name] as tf.Tensor;
  }

  linear(path: string, x: tf.Tensor): tf.Tensor {
    const site = this.#sites.get(path) as LayerSite;
    const flat: tf.Tensor2D = tf.reshape(x, [-1, site.inFeatures]);
    const product = tf.matMul(flat, this.parameter(site.weight) as tf.Tensor2D, false, site.layout === "out_in");
    const y = site.bias === null ? product : tf.add(product, this.parameter(site.bias));
    return tf.reshape(this.#probe(path, flat, y), [...x.shape.slice(0, -1), site.outFeatures]);
  }

  embedding(path: string, ids: tf.Tensor): tf.Tensor {
    return tf.gather(this.parameter((this.#sites.get(path) as LayerSite).weight), ids as tf.Tensor1D);
  }

  virtualTokens(): { readonly embeddings: null; readonly keysValues: null } {
    return { embeddings: null, keysValues: null };
  }

  dropout(x: tf.Tensor): tf.Tensor {
    return x;
  }

  attention(inputs: AttentionInputs, { scale, bias }: AttentionSettings): tf.Tensor4D {
    return attention(inputs, { scale, bias, dropout: null });
  }

  block<T extends tf.Tensor>(_path: string, inputs: readonly tf.Tensor[], run: (...inputs: tf.Tensor[]) => T): T {
    return run(...inputs);
  }
}
