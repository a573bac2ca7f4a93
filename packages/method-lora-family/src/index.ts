export { lora } from "./lora/method.ts";
export { LoraConfig, loraScale } from "./lora/config.ts";
export { loraDelta, loraEmbeddingUpdate, loraUpdate } from "./lora/layer.ts";
export type { LoraTensors } from "./lora/layer.ts";
