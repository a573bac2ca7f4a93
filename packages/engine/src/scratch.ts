import * as tf from "@tensorflow/tfjs-core";
import { gelu, layerNorm, dropout, crossEntropy, float32, int32 } from "@peftjs/core";
import { createEngine } from "./index.ts";
const H = 16, T = 5, B = 3, h = 4, V = 11;
let s = 1; const rnd = () => ((s = (Math.imul(s, 1664525) + 1013904223) | 0) / 2 ** 31);
const f = (...shape: number[]) => float32(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, rnd), shape);
const params = { emb: f(V, H), wq: f(H, H), bq: f(H), wk: f(H, H), wv: f(H, H), g: f(H), b: f(H), w1: f(32, H), b1: f(32), w2: f(H, 32), c: f(4, H) };
const lin = (x: tf.Tensor, w: tf.Tensor, b?: tf.Tensor) => { const y = tf.matMul(tf.reshape(x, [-1, x.shape.at(-1)!]), w as tf.Tensor2D, false, true); return tf.reshape(b ? tf.add(y, b) : y, [...x.shape.slice(0, -1), w.shape[0]!]); };
const fn = ({ p, batch, sc }: any) => {
  const names = Object.keys(p);
  const loss = (...vals: tf.Tensor[]) => {
    const q = Object.fromEntries(names.map((n, i) => [n, vals[i]!])) as any;
    let x = tf.gather(q.emb, batch.ids);
    x = dropout(x, 0.3, sc.key, 1);
    const split = (y: tf.Tensor) => tf.transpose(tf.reshape(y, [B, T, h, H / h]), [0, 2, 1, 3]);
    const Q = split(tf.mul(lin(x, q.wq, q.bq), 0.5)), K = split(lin(x, q.wk)), W = split(lin(x, q.wv));
    const A = tf.softmax(tf.add(tf.matMul(Q, K, false, true), batch.bias));
    const o = tf.reshape(tf.transpose(tf.matMul(A, W), [0, 2, 1, 3]), [B, T, H]);
    x = layerNorm(tf.add(x, o), q.g, q.b, 1e-5);
    x = tf.add(x, lin(gelu(lin(x, q.w1, q.b1)), q.w2));
    const cls = tf.reshape(tf.slice(x, [0, 0, 0], [B, 1, H]), [B, H]);
    return crossEntropy(lin(cls, q.c) as tf.Tensor2D, batch.labels);
  };
  const { value, grads } = tf.valueAndGrads(loss)(names.map((n) => p[n]));
  return { out: { loss: value }, grads: Object.fromEntries(names.map((n, i) => [n, grads[i]!])) };
};
const args = { p: params, batch: { ids: int32(Array.from({ length: B * T }, (_, i) => (i * 7) % V), [B, T]), bias: float32(Array.from({length: B*T},(_, i)=> i%4==3?-1e9:0), [B,1,1,T]), labels: int32([0, 3, 1], [3]) }, sc: { key: int32([5, 9], [2]) } };
const res: any = {};
for (const o of [{ kind: "eager", backend: "cpu" }, { kind: "eager", backend: "wasm" }, { kind: "onnx" }] as any) {
  const e = await createEngine(o);
  const c = e.compile(fn);
  const r: any = await c.run(args);
  res[o.backend ?? o.kind] = r;
  console.log(o, r.out.loss.data[0], c.counters);
}
for (const k of ["wasm", "onnx"]) for (const n of Object.keys(params)) { const a = res.cpu.grads[n].data, b = res[k].grads[n].data; let m = 0, t = 0; for (let i = 0; i < a.length; i++) { m = Math.max(m, Math.abs(a[i] - b[i])); t = Math.max(t, Math.abs(a[i])); } console.log(k, n, m / t); }
