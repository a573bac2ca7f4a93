import * as tf from "@tensorflow/tfjs-core";
import { int32, float32, zeros, dropout, type Forward } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { fromConfig } from "@peftjs/models";

const [H, L, B, T, mode, threads, steps, M0] = process.argv.slice(2).map((x) => (isNaN(Number(x)) ? x : Number(x))) as any[];
const M = M0 ?? Math.round(B * T * 0.2);
const head = mode === "mlm" ? { kind: "maskedLM" } : { kind: "sequenceClassification" };
const V = mode === "mlm" ? 8192 : 30522;
const type = process.env.TYPE ?? "bert";
const model = fromConfig({ model_type: type, hidden_size: H, num_hidden_layers: L, num_attention_heads: H >= 384 ? H / 64 : 4, intermediate_size: 4 * H, vocab_size: V, max_position_embeddings: 512, hidden_dropout_prob: Number(process.env.DROP ?? 0), attention_probs_dropout_prob: Number(process.env.DROP ?? 0) , ...(type==='bert'?{}:{pad_token_id:0})}, (mode === "mlm" ? { head: { kind: "maskedLM" } , task: "maskedLM"} : { numLabels: 2 , labels: ["a","b"]}) as any);
console.log(model.head, [...model.parameters.keys()].length);
const frozen: any = {}, trainable: any = {};
for (const [n, p] of model.parameters) (mode === "mlm" ? trainable : frozen)[n] = p;
const r = 8;
if (mode === "lora") for (const s of model.sites) if (["query", "value"].includes(s.role)) { trainable[s.path + ".a"] = float32(Float32Array.from({ length: r * s.inFeatures }, () => Math.random() * 0.02), [r, s.inFeatures]); trainable[s.path + ".b"] = zeros([s.outFeatures, r]); }
const sites = new Map(model.sites.map((s) => [s.path, s]));
const names = Object.keys(trainable);
const fn = ({ frozen, trainable, m, v, batch, sc }: any) => {
  const loss = (...vals: tf.Tensor[]) => {
    const p = { ...frozen, ...Object.fromEntries(names.map((n, i) => [n, vals[i]])) };
    let stream = 0;
    const f: Forward = {
      training: true, parameter: (n) => p[n],
      linear: (path, x) => { const s = sites.get(path)!; const flat = tf.reshape(x, [-1, s.inFeatures]) as tf.Tensor2D; let y: tf.Tensor = tf.matMul(flat, p[s.weight], false, true); if (s.bias) y = tf.add(y, p[s.bias]); if (p[path + ".a"]) y = tf.add(y, tf.mul(tf.matMul(tf.matMul(flat, p[path + ".a"], false, true), p[path + ".b"], false, true), 2)); return tf.reshape(y, [...x.shape.slice(0, -1), s.outFeatures]); },
      embedding: (path, ids) => { const s = sites.get(path)!; return tf.gather(p[s.weight], ids as any); },
      dropout: (x, rate) => (rate === 0 ? x : dropout(x, rate, sc.key, ++stream)),
    };
    return model.loss(model.forward(f, batch), batch);
  };
  const { value, grads } = tf.valueAndGrads(loss)(names.map((n) => trainable[n]));
  const out: any = { metrics: { loss: value }, trainable: {}, m: {}, v: {} };
  names.forEach((n, i) => {
    const g = grads[i]!;
    const m1 = tf.add(tf.mul(m[n], 0.9), tf.mul(g, 0.1)); const v1 = tf.add(tf.mul(v[n], 0.98), tf.mul(tf.square(g), 0.02));
    out.m[n] = m1; out.v[n] = v1;
    out.trainable[n] = tf.sub(tf.mul(trainable[n], sc.decay), tf.mul(sc.lr, tf.div(m1, tf.add(tf.sqrt(v1), 1e-8))));
  });
  return out;
};
const engine = await createEngine({ kind: "onnx", threads, ...(process.env.PROF?{profilePrefix:process.env.PROF}:{}) });
const c = engine.compile(fn, { constant: ["frozen"] });
const like = () => Object.fromEntries(names.map((n) => [n, zeros(trainable[n].shape)]));
let state: any = { trainable, m: like(), v: like() }, spare: any = { trainable: like(), m: like(), v: like() };
const ids = () => int32(Int32Array.from({ length: B * T }, () => 5 + Math.floor(Math.random() * 8000)), [B, T]);
const batch: any = { input_ids: ids(), attention_mask: int32(new Int32Array(B * T).fill(1), [B, T]), token_type_ids: int32(new Int32Array(B * T), [B, T]) };
if (mode === "mlm") { batch.masked_positions = int32(Int32Array.from({ length: M }, (_, i) => i * 5), [M]); batch.masked_labels = int32(Int32Array.from({ length: M }, (_, i) => i * 3 + 5), [M]); batch.masked_weights = float32(new Float32Array(M).fill(1), [M]); }
else batch.labels = int32(Int32Array.from({ length: B }, (_, i) => i % 2), [B]);
const times: number[] = []; let l = 0;
for (let i = 0; i < steps; i++) {
  const t0 = performance.now();
  const o: any = await c.run({ frozen, ...state, batch, sc: { key: int32([1, i], [2]), lr: float32([1e-4], []), decay: float32([1], []) } }, spare);
  l = o.metrics.loss.data[0];
  [state, spare] = [{ trainable: spare.trainable, m: spare.m, v: spare.v }, state];
  times.push(performance.now() - t0);
}
times.splice(0, 2); times.sort((a, b) => a - b);
console.log({ H, L, B, T, threads, median: times[times.length >> 1], min: times[0], tokPerS: Math.round((B * T * 1000) / times[times.length >> 1]!), loss: l, rssMB: process.resourceUsage().maxRSS / 1024, ...c.counters });
await c.dispose();
